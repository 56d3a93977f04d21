"""The vectors that every reader must refuse: segments in parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ...format.chunk import PART, PART_SYNC, make_part
from ...format.taken import HAS_PARTS, HAS_PATCHES, HAS_VIDEO
from ...format.wire import Pack, crc16
from .bent import bent, joined, replaced, taken_apart
from .made import Play

Row = tuple[str, str, str, bytes]


def faulty_part() -> Iterator[Row]:
    """Parts, and the segments that they follow."""
    play = Play(sets=True)
    play.actor(0)
    play.segment((0, 0))
    play.segment((0, 0), parts=(2, 1, 1, 1))
    data, bad = play.data(), "DamagedError"
    own = [payload for name, payload in taken_apart(data) if name == PART]

    def first(content: bytes) -> bytes:
        """Another part in the place of the first one after the segment's beginning."""
        return bent(data, PART, 0, lambda _: content)

    yield "part_lost", "the second part of a segment is missing", bad, joined(replaced(data, PART, 0, []))
    yield "part_twice", "a part comes twice", bad, joined(replaced(data, PART, 0, [(PART, own[0])] * 2))
    yield "parts_swapped", "the third part before the second", bad, joined(
        replaced(joined(replaced(data, PART, 1, [])), PART, 0, [(PART, own[1]), (PART, own[0])])
    )  # fmt: skip
    whole = taken_apart(data)
    place = [name for name, _ in whole].index("SEGM") + 1
    yield "part_alone", "a part behind a whole segment", bad, joined([*whole[:place], (PART, own[0]), *whole[place:]])
    apart = joined(replaced(data, PART, 0, [(PART, own[0]), ("note", b"")]))
    yield "parts_apart", "a chunk between the parts of a segment", bad, apart
    at = data.index(PART_SYNC)
    yield "part_check", "a part's check is wrong", bad, data[: at + 5] + bytes([data[at + 5] ^ 1]) + data[at + 6 :]
    bomb = PART_SYNC + Pack().varint(1 << 40).bytes()
    yield "part_size_bomb", "a part of 2**40 bytes", "LimitError", data[:at] + bomb + data[at:]
    yield "part_endless_size", "a size of ten bytes", bad, data[:at] + PART_SYNC + b"\xff" * 12 + data[at:]
    yield "part_long_size", "a size not in its shortest form", bad, _long_size(data, own[0])
    for name, text, error, content in (
        ("part_empty", "a part of no bytes", bad, b""),
        ("part_no_flags", "flags of a part are announced and there are none", bad, b"\x81\0" + own[0][2:]),
        ("part_flag", "a part's flag that means nothing", bad, b"\x81\x10" + own[0][2:]),
        ("part_no_frames", "a part of no frames", bad, b"\x81\1\0" + own[0][3:]),
        ("part_long_form", "a part as long as the one before says so", bad, b"\x81\1\2" + own[0][3:]),
        ("part_frames_bomb", "a part of 2**40 frames", "LimitError", b"\x81\1" + Pack().varint(1 << 40).bytes()),
        ("part_many_frames", "parts of 1025 frames together", "LimitError", b"\x81\1" + Pack().varint(1023).bytes()),
        ("part_times", "a part writes regular times", bad, b"\x81\3\1\1" + own[0][3:]),
        ("part_no_time", "a part at the time of the frame before", bad, b"\x81\3\1\0" + own[0][3:]),
        ("part_no_held", "a part announces held frames and there are none", bad, b"\x81\5\1\1" + own[0][3:]),
        ("part_audio", "a part has audio, but there is no AUDH", bad, b"\x81\x09\1\1\0\x80\x07\1x" + own[0][3:]),
        ("part_camera_rests", "a part has a camera that rests", bad, b"\x81\x21\1\0\0" + own[0][3:]),
        ("part_tail", "a byte hides behind a part's code", bad, own[0] + b"\1"),
        ("part_zero", "a part's code ends with a zero byte", bad, own[0] + b"\0"),
    ):
        yield name, text, error, first(content)
    number = 3  # flags, of two bytes, and index

    def begin(make: Callable[[bytes], bytes]) -> bytes:
        return bent(data, "SEGM", 1, make)

    for name, text, error, make in (
        ("parts_number", "the first part has number 100", bad, _put(number, 100)),
        ("parts_no_frames", "the first part has no frames", bad, _put(number + 1, 0)),
        ("parts_final_check", "the final check of the first part is wrong", bad, lambda p: p[:-1] + bytes([p[-1] ^ 1])),
        ("parts_patched", "a segment in parts with patches", bad, _flagged(HAS_PATCHES)),
        ("parts_filmed", "a segment in parts with video", bad, _flagged(HAS_VIDEO)),
    ):
        yield name, text, error, begin(make)


def _put(at: int, value: int) -> Callable[[bytes], bytes]:
    return lambda payload: payload[:at] + bytes([value]) + payload[at + 1 :]


def _flagged(flag: int) -> Callable[[bytes], bytes]:
    return lambda payload: Pack().varint(HAS_PARTS | flag).raw(payload[2:]).bytes()


def _long_size(data: bytes, content: bytes) -> bytes:
    part = make_part(content)
    at = data.index(part)
    body = bytes([part[2] | 128, 0]) + content
    return data[: at + 2] + body + Pack().fixed("H", crc16(body)).bytes() + data[at + len(part) :]
