"""Makes the conformance streams in `spec/vectors/` and the list that describes them; `tests/format/` reads them.

All content comes from a small integer generator, so that every machine makes the same bytes.
Run with --check to see that the code still writes them. Without it, files whose vector is gone go too.
"""

from __future__ import annotations

import argparse
import io
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..format import (
    AudioConfig,
    AudioPacket,
    DeltaTensor,
    Excerpt,
    Header,
    Modes,
    Pivot,
    Reader,
    Segment,
    Still,
    Writer,
)
from ..format.chunk import SIGNATURE, make_chunk
from ..format.entropy import RangeEncoder
from ..format.index import End, pack_index
from ..format.motion import encode_motion
from ..format.segment import HAS_HELD, HAS_PLACE, HAS_PTS
from ..format.values import encode_values
from ..format.wire import Pack

FOLDER = Path(__file__).resolve().parent.parent / "spec" / "vectors"
MODEL = bytes(range(32))
STILL = Still(1, 64, 64, 1, False, bytes(8)).pack()
Chunks = list[tuple[str, bytes]]


class Dice:
    """A 64-bit linear congruential generator; the upper bits are good enough to throw with."""

    def __init__(self, seed: int) -> None:
        self._state = seed

    def below(self, count: int) -> int:
        self._state = (self._state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        return (self._state >> 33) % count

    def bytes(self, count: int) -> bytes:
        return bytes(self.below(256) for _ in range(count))

    def step(self, size: int) -> int:
        """Around zero, mostly small: the difference of two throws, often zero."""
        return 0 if self.below(3) == 0 else self.below(size + 1) - self.below(size + 1)

    def walk(self, frames: int, start: list[int], size: int) -> np.ndarray:
        """(frames, len(start)) int32."""
        rows, at = [], start
        for _ in range(frames):
            at = [value + self.step(size) for value in at]
            rows.append(at)
        return np.array(rows, np.int32)


def header(**changes: Any) -> Header:
    facts: dict[str, Any] = dict(
        width=256, height=256, time_base=(1, 30), fps=(30, 1), model_sha256=MODEL, params=35, motion_qp=24,
        identity_qp=30, placement=True, segment_frames=15,
    )  # fmt: skip
    return Header(**{**facts, **changes})


def some_modes(dice: Dice) -> Modes:
    """Three planes; the second has no light, the third no finest bands."""
    luma, chroma, flow = (
        np.zeros((3, 16, 16), np.int32),
        np.zeros((3, 2, 8, 8), np.int32),
        np.zeros((3, 2, 8, 8), np.int32),
    )
    for k, side in ((0, 16), (2, 8)):
        for y, x in np.ndindex(side, side):
            luma[k, y, x] = dice.step(2 + 30 // (1 + y + x))
    for k, y, x in np.ndindex(3, 8, 8):
        chroma[k, :, y, x] = dice.step(1), dice.step(1)
        flow[k, :, y, x] = dice.step(1 + 6 // (1 + y + x)), dice.step(1)
    mix = np.array([[dice.step(20) for _ in range(2)] for _ in range(35)], np.int32)
    return Modes(mix, 21, luma, chroma, flow, np.array([49, 40, 41]), np.array([33, 28, 29]))


def stream(
    lengths: list[int],
    *,
    seed: int = 1,
    size: int = 2,
    audio: bool = False,
    delta: bool = False,
    modes: bool = False,
    pivot: bool = False,
    background: bool = False,
    meta: dict[str, Any] | None = None,
    repeat: int = 0,
    index: bool = True,
    held: tuple[int, ...] = (),
    still: int = 0,
    times: Callable[[int], int] | None = None,
    identity: int = 24,
    elsewhere: bool = False,
    **changes: Any,
) -> bytes:
    """A whole stream with segments of the given lengths. `held` frames and `times` count over all frames.

    still: every so manyth frame has the motion of the one before it; 0 = none.
    elsewhere: the stream refers to the identity that it would hold without.
    """
    dice, head, out = Dice(seed), header(**changes), io.BytesIO()
    who: dict[str, Any] = dict(
        identity=np.array([dice.step(12) for _ in range(identity)], np.int32),
        delta=[DeltaTensor(k, 1, 2, 3, np.array([dice.step(2) for _ in range(60)], np.int32)) for k in (2, 5)]
        if delta
        else None,
        modes=some_modes(Dice(seed + 100)) if modes else None,
        pivot=Pivot((3, -1, 0, 70), Still(1, 256, 256, 1, False, dice.bytes(50))) if pivot else None,
    )
    if elsewhere:
        holder = Writer(io.BytesIO(), head, **who)
        who = dict(reference=Excerpt(holder.header, holder.identity_chunks).sha256)
    writer = Writer(
        out,
        head,
        **who,
        background=Still(1, 64, 64, 1, False, dice.bytes(40)) if background else None,
        audio=AudioConfig(bitrate=12000) if audio else None,
        meta=meta,
        repeat_header_every=repeat,
    )
    total = sum(lengths)
    motion = dice.walk(total, [0] * head.params, size)
    places = dice.walk(total, [1024, 1000, 610, 0], 3)
    for frame in held:
        motion[frame], places[frame] = motion[frame - 1], places[frame - 1]
    for frame in range(still, total, still) if still else ():
        motion[frame] = motion[frame - 1]
    first = 0
    for number, length in enumerate(lengths):
        frames = range(first, first + length)
        packets = [AudioPacket(1600 * first + 960 * k, 960, dice.bytes(10 + k % 3)) for k in range(length * 5 // 3)]
        writer.write_segment(
            Segment(
                number,
                first,
                np.array([times(f) if times else f * head.pts_step for f in frames], np.int64),
                motion[first : first + length],
                places[first : first + length] if head.placement else None,
                np.isin(np.array(frames), held),
                packets if audio else [],
            )
        )
        first += length
    writer.close(index=index)
    return out.getvalue()


def taken_apart(data: bytes) -> Chunks:
    at, parts = len(SIGNATURE), []
    while at < len(data):
        size = int.from_bytes(data[at + 6 : at + 9], "little")
        parts.append((data[at + 2 : at + 6].decode("ascii"), data[at + 11 : at + 11 + size]))
        at += 15 + size
    return parts


def joined(parts: Chunks) -> bytes:
    return SIGNATURE + b"".join(make_chunk(name, payload) for name, payload in parts)


def base() -> Chunks:
    """The stream the faulty ones are made from: two short segments, no index."""
    return taken_apart(
        stream([4, 3], params=3, placement=False, segment_frames=4, meta={"writer": "fev vectors"}, index=False)
    )


def changed(name: str, make: Callable[[bytes], bytes], which: int = 0) -> bytes:
    """The base stream with the payload of one chunk (the `which`th of its type) replaced; all checks are right."""
    parts, count = base(), 0
    for place, (kind, payload) in enumerate(parts):
        if kind == name:
            if count == which:
                parts[place] = (kind, make(payload))
            count += 1
    return joined(parts)


def patched(at: int, data: bytes) -> Callable[[bytes], bytes]:
    return lambda payload: payload[:at] + data + payload[at + len(data) :]


def added(name: str, payload: bytes, before: str) -> bytes:
    parts = base()
    place = next(i for i, (kind, _) in enumerate(parts) if kind == before)
    return joined([*parts[:place], (name, payload), *parts[place:]])


def segment(flags: int, fields: Pack, count: int = 4) -> Callable[[bytes], bytes]:
    """A segment payload with fields of one's own and a sound entropy block of `count` frames."""
    head = header()
    block = encode_motion(np.zeros((count, 3), np.int32), seed=head.check_seed)
    return lambda _: Pack().fixed("B", flags).raw(fields.bytes()).raw(block).bytes()


def subset() -> Iterator[tuple[str, str, bytes]]:
    """What any encoder may write and every reader must read."""
    yield (
        "minimal",
        "four frames of two parameters, nothing else: the hex dump of the spec",
        stream([4], params=2, placement=False, crop=True, segment_frames=4, identity=4, width=64, height=64, seed=7),
    )
    yield (
        "plain",
        "everything: delta, background, audio, placement, metadata",
        stream(
            [15, 15, 9], audio=True, delta=True, background=True, meta={"writer": "fev vectors", "synthetic": False}
        ),
    )
    yield "modes", "texture and flow modes", stream([15, 9], modes=True, placement=False, crop=True)
    yield "pivot", "a pivot before modes", stream([15, 9], modes=True, pivot=True, placement=False, crop=True)
    yield "jitter", "times a tick off the beat", stream([15, 9], times=lambda f: 3000 * f + f % 3, params=6)
    yield "cropped", "the aligned square itself: no placement", stream([15, 15], placement=False, crop=True)
    yield "held", "frames without a face repeat the one before", stream([15, 15], held=(4, 5, 6, 20, 29))
    yield "still", "nothing moves for two segments", stream([15, 15], size=0)
    yield (
        "ntsc",
        "30000/1001 frames a second, times in units of 1/30000 s",
        stream([15, 8], fps=(30000, 1001), time_base=(1, 30000)),
    )
    yield "indexed", "20 segments and an index", stream([5] * 20, segment_frames=5, params=6)
    yield (
        "elsewhere",
        "refers to the identity that `pivot` holds",
        stream([15, 9], seed=1, modes=True, pivot=True, placement=False, crop=True, elsewhere=True),
    )
    yield "lively", "motion that reaches every group's shapes", stream([15, 15], size=4)
    yield (
        "lively_held",
        "motion goes on from the frame before the held ones",
        stream([15, 15], size=4, held=(1, 4, 5, 6, 20, 29)),
    )
    yield "repeats", "frames that stand still, in a pattern", stream([15, 15], size=3, still=3)


def uncommon() -> Iterator[tuple[str, str, bytes]]:
    """Legal, but rarely met."""
    yield (
        "repeated",
        "the set-up comes again before every second segment",
        stream([5] * 6, segment_frames=5, params=6, repeat=2, delta=True, audio=True),
    )
    yield (
        "uneven_times",
        "variable frame rate, from before zero",
        stream([7, 7, 1], segment_frames=7, params=6, times=lambda f: 5 * f + f * f % 5 - 4),
    )
    yield (
        "long_gap",
        "a frame that lasts 2**40 ticks",
        stream([7, 1], segment_frames=7, params=6, times=lambda f: 5 * f + (1 << 40) * (f > 3)),
    )
    yield "uneven_segments", "segments of 1, 9, 2 and 4 frames", stream([1, 9, 2, 4], segment_frames=4, params=6)
    yield "no_regular_length", "the header names no segment length", stream([4, 4], segment_frames=0, params=6)
    yield (
        "large_values",
        "escapes, and levels beyond the last row, seen from either side",
        stream([9, 9], size=90000, segment_frames=9),
    )
    yield (
        "three_parameters",
        "groups of one parameter, and others that are empty",
        stream([9], size=3, params=3, segment_frames=9),
    )
    yield "one_parameter", "groups of parameters that are empty", stream([9], params=1, segment_frames=9)
    yield "held_first", "a held frame begins a segment and is coded all the same", stream([5, 5], held=(5,), params=4)
    yield "nothing", "no segments at all", stream([])
    yield (
        "private_metadata",
        "keys that begin with x-",
        stream([4], params=3, meta={"x-lens": "85 mm", "x-take": -3, "title": "Überprüfung"}),
    )
    parts = base()
    yield (
        "unknown_ancillary",
        "lower-case chunk types that nobody knows are skipped",
        joined([*parts[:2], ("thum", b"picture"), *parts[2:-1], ("zzZZ", b""), parts[-1]]),
    )
    whole = taken_apart(stream([5] * 20, segment_frames=5, params=6))
    place = next(i for i, (name, _) in enumerate(whole) if name == "indx")
    lie = pack_index(8, [200, 201, 202])
    lying = [*whole[:place], ("indx", lie), ("FEND", End(20, 100, 15 + len(lie)).pack())]
    yield "lying_index", "the index points into the middle of chunks; it is only a hint", joined(lying)


def faulty() -> Iterator[tuple[str, str, str, bytes]]:
    """What a reader must refuse: name, what is wrong, the error, the bytes."""
    good = joined(base())
    parts = base()
    names = [name for name, _ in parts]
    second = joined(parts[: names.index("SEGM") + 1])
    yield "empty", "no bytes", "NotFevError", b""
    yield "zip_in_front", "another file's signature comes first", "NotFevError", b"PK\3\4" + good
    yield "text_mode", "line ends were translated", "NotFevError", good.replace(b"\r\n", b"\n")
    yield "cut_off", "ends inside the second segment", "TruncatedError", good[: len(second) + 20]
    yield "no_end", "the end chunk is missing", "TruncatedError", joined(parts[:-1])
    yield "header_only", "ends after HEAD", "TruncatedError", joined(parts[:1])
    yield "bit_flip", "one bit of a segment", "DamagedError", flip(good, len(second) - 12)
    yield "length_flip", "one bit of a length", "DamagedError", flip(good, len(SIGNATURE) + 7)
    yield "trailing_bytes", "a byte follows the end", "DamagedError", good + b"\0"
    yield "two_streams", "another stream follows the end", "DamagedError", good + good
    bomb = b"SEGM\xff\xff\xff"
    yield (
        "length_bomb",
        "a chunk of 16 MiB that is not there",
        "LimitError",
        second + b"\xf5\xed" + bomb + struct.pack("<H", crc(bomb)) + b"....",
    )
    yield (
        "wrong_sync",
        "a chunk without its sync",
        "DamagedError",
        good[: len(second)] + b"\0\0" + good[len(second) + 2 :],
    )
    yield "digit_in_type", "a chunk type with a digit", "DamagedError", added("a1bc", b"", "FEND")
    yield (
        "unknown_critical",
        "an upper-case chunk type that nobody knows",
        "UnsupportedError",
        added("Warp", b"", "SEGM"),
    )
    yield "future", "of version 2", "UnsupportedError", changed("HEAD", patched(0, b"\2\0\0\0"))
    yield (
        "far_future",
        "of version 65536, longer",
        "UnsupportedError",
        changed("HEAD", lambda p: patched(0, b"\0\0\1\0")(p) + b"more"),
    )
    yield "version_zero", "of version 0", "DamagedError", changed("HEAD", patched(0, b"\0\0\0\0"))
    yield "other_tables", "made with other tables", "ModelMismatchError", changed("HEAD", patched(60, bytes(32)))
    yield "long_header", "a header with a byte too many", "DamagedError", changed("HEAD", lambda p: p + b"\0")
    yield "huge_picture", "65535 x 65535 pixels", "LimitError", changed("HEAD", patched(4, b"\xff" * 4))
    yield "flat_picture", "no pixels", "DamagedError", changed("HEAD", patched(4, bytes(4)))
    yield "zero_time_base", "ticks of no length", "DamagedError", changed("HEAD", patched(8, bytes(4)))
    yield "many_parameters", "255 parameters a frame", "LimitError", changed("HEAD", patched(92, b"\xff"))
    yield "reserved_flag", "a header flag that means nothing", "DamagedError", changed("HEAD", patched(96, b"\x80"))
    yield (
        "promised_frames",
        "the header promises 8 frames of 7",
        "DamagedError",
        changed("HEAD", patched(24, b"\x08\0\0\0")),
    )
    yield "no_identity", "IDEN is missing", "DamagedError", joined([p for p in parts if p[0] != "IDEN"])
    yield "no_header", "HEAD is missing", "DamagedError", joined(parts[1:])
    yield "two_identities", "IDEN twice", "DamagedError", joined([*parts[:2], *parts[1:]])
    yield "late_delta", "DELT after the segments", "DamagedError", added("DELT", b"\1", "FEND")
    yield (
        "unannounced_audio",
        "AUDH without its header flag",
        "DamagedError",
        added("AUDH", AudioConfig().pack(), "meta"),
    )
    changed_head = (parts[0][0], parts[0][1][:93] + b"\1" + parts[0][1][94:])
    yield (
        "header_changes",
        "the repeated header differs from the first",
        "DamagedError",
        joined([*parts[:4], changed_head, *parts[1:3], *parts[4:]]),
    )
    yield from faulty_references()
    yield (
        "identity_bomb",
        "2**40 coefficients",
        "LimitError",
        changed("IDEN", lambda p: Pack().varint(1 << 40).raw(p[1:]).bytes()),
    )
    yield "identity_level", "a level that does not exist", "DamagedError", changed("IDEN", patched(1, b"\x64"))
    yield (
        "identity_tail",
        "a byte hides behind the identity's code",
        "DamagedError",
        changed("IDEN", lambda p: p[:-2] + b"\1" + p[-2:]),
    )
    yield (
        "identity_check",
        "the identity's final check is wrong",
        "DamagedError",
        changed("IDEN", lambda p: p[:-1] + bytes([p[-1] ^ 1])),
    )
    yield (
        "delta_bomb",
        "2**62 values",
        "LimitError",
        with_delta(Pack().varint(1).fixed("HBBBB", 1, 0, 1, 1, 0).varint(1 << 62)),
    )
    yield "delta_tensors", "2**20 tensors", "LimitError", with_delta(Pack().varint(1 << 20))
    yield (
        "delta_carry",
        "the first tensor carries on",
        "DamagedError",
        with_delta(Pack().varint(1).fixed("HBBBB", 1, 0, 1, 1, 255).varint(1).fixed("H", 0)),
    )
    yield (
        "modes_bomb",
        "255 planes of 65536 x 65536",
        "LimitError",
        with_modes(Pack().raw(b"\xff\x23\x01\x10\x10\x15\x00")),
    )
    yield "modes_size", "a texture of side 4", "DamagedError", with_modes(Pack().raw(b"\x01\x23\x01\x02\x03\x15\x00"))
    yield (
        "modes_columns",
        "a mix wider than there are planes",
        "DamagedError",
        with_modes(Pack().raw(b"\1\x23\2\3\3\x15\0")),
    )
    yield (
        "pivot_zero",
        "a pivot's parameters end with a zero",
        "DamagedError",
        with_pivot(Pack().raw(b"\2\2\0" + STILL)),
    )
    yield "pivot_count_bomb", "a pivot of 2**40 parameters", "LimitError", with_pivot(Pack().varint(1 << 40).raw(STILL))
    yield (
        "huge_still",
        "a pivot of 65535 x 65535 pixels",
        "LimitError",
        with_pivot(Pack().raw(b"\0\1\xff\xff\xff\xff\1\0\0")),
    )
    yield (
        "pivot_missing",
        "the header announces a pivot that does not come",
        "DamagedError",
        changed("HEAD", patched(95, b"\x80")),
    )
    for name, text, fields in bad_metadata():
        yield name, text, "DamagedError", changed("meta", lambda _, fields=fields: fields)
    place = HAS_PLACE
    yield (
        "frame_bomb",
        "a segment of 2**40 frames",
        "LimitError",
        changed("SEGM", segment(place, Pack().varint(0).varint(0).varint(1 << 40))),
    )
    yield (
        "frame_number_bomb",
        "a segment that begins at frame 2**60",
        "LimitError",
        changed("SEGM", segment(place, Pack().varint(0).varint(1 << 60).varint(2))),
    )
    yield "index_bomb", "segment number 2**61", "LimitError", changed("SEGM", segment(0, Pack().varint(1 << 61)))
    yield (
        "no_frames",
        "a segment without frames",
        "DamagedError",
        changed("SEGM", segment(place, Pack().varint(0).varint(0).varint(0))),
    )
    yield (
        "long_form",
        "a regular segment says where it begins",
        "DamagedError",
        changed("SEGM", segment(place, Pack().varint(0).varint(0).varint(4))),
    )
    yield (
        "long_varint",
        "an integer not in its shortest form",
        "DamagedError",
        changed("SEGM", segment(0, Pack().raw(b"\x80\0"))),
    )
    yield (
        "endless_varint",
        "an integer of ten bytes",
        "DamagedError",
        changed("SEGM", segment(0, Pack().raw(b"\xff" * 10 + b"\1"))),
    )
    yield (
        "segment_flag",
        "a segment flag that means nothing",
        "DamagedError",
        changed("SEGM", segment(16, Pack().varint(0))),
    )
    yield (
        "regular_times",
        "regular times are written out",
        "DamagedError",
        changed("SEGM", segment(HAS_PTS, Pack().varint(0).signed(0).varint(1))),
    )
    yield (
        "still_times",
        "two frames at the same time",
        "DamagedError",
        changed(
            "SEGM", segment(HAS_PTS, Pack().varint(0).signed(0).varint(0).varint(0).varint(1 << 40).varint(0).varint(1))
        ),
    )
    yield (
        "near_times",
        "steady enough times in their long form",
        "DamagedError",
        changed("SEGM", segment(HAS_PTS, Pack().varint(0).signed(0).varint(0).varint(0).raw(b"\1\2\3"))),
    )
    yield (
        "base_of_times",
        "the base of the times is not their middle step",
        "DamagedError",
        changed("SEGM", segment(HAS_PTS, Pack().varint(0).signed(0).varint(0).varint(9).raw(coded_steps([-1, -1, 2])))),
    )
    yield (
        "far_times",
        "a time beyond 2**53",
        "DamagedError",
        changed("SEGM", segment(HAS_PTS, Pack().varint(0).signed(1 << 60).varint(2))),
    )
    yield (
        "no_held",
        "held frames are announced and there are none",
        "DamagedError",
        changed("SEGM", segment(HAS_HELD, Pack().varint(0).varint(4))),
    )
    yield (
        "empty_run",
        "a run of no frames",
        "DamagedError",
        changed("SEGM", segment(HAS_HELD, Pack().varint(0).raw(b"\1\0\1\2"))),
    )
    yield (
        "long_run",
        "a run beyond the segment's end",
        "LimitError",
        changed("SEGM", segment(HAS_HELD, Pack().varint(0).raw(b"\1\x09"))),
    )
    yield "short_segment", "no room for the final check", "DamagedError", changed("SEGM", lambda p: p[:3])
    yield (
        "code_tail",
        "a byte hides behind the motion's code",
        "DamagedError",
        changed("SEGM", lambda p: p[:-2] + b"\1" + p[-2:]),
    )
    yield (
        "code_zero",
        "the motion's code ends with a zero byte",
        "DamagedError",
        changed("SEGM", lambda p: p[:-2] + b"\0" + p[-2:]),
    )
    yield (
        "final_check",
        "the final check is wrong",
        "DamagedError",
        changed("SEGM", lambda p: p[:-1] + bytes([p[-1] ^ 128])),
    )
    other = taken_apart(
        stream([4, 3], params=3, placement=False, segment_frames=4, model_sha256=bytes(32), index=False)
    )
    foreign = next(payload for name, payload in other if name == "SEGM")
    yield (
        "another_model",
        "a segment made for another model, all CRCs right",
        "DamagedError",
        changed("SEGM", lambda _: foreign),
    )
    audio = taken_apart(stream([4], params=3, placement=False, segment_frames=4, audio=True))
    payload = next(payload for name, payload in audio if name == "SEGM")
    yield "audio_without_header", "audio, but no AUDH", "DamagedError", changed("SEGM", lambda _: payload)
    yield (
        "audio_bomb",
        "more packets than bytes",
        "DamagedError",
        with_audio(Pack().varint(16000).signed(0).varint(960)),
    )
    yield (
        "audio_size_bomb",
        "a packet of 2**50 bytes",
        "LimitError",
        with_audio(Pack().varint(1).signed(0).varint(960).varint(1 << 50)),
    )
    segments = [p for p in parts if p[0] == "SEGM"]
    setup = [p for p in parts if names.index(p[0]) < names.index("SEGM")]
    yield "missing_segment", "segment 0 is gone", "DamagedError", joined([*setup, segments[1], parts[-1]])
    yield "segment_twice", "segment 0 comes twice", "DamagedError", joined([*setup, segments[0], *segments, parts[-1]])
    yield (
        "wrong_totals",
        "the end counts one frame too many",
        "DamagedError",
        changed("FEND", lambda _: End(2, 8, 0).pack()),
    )
    yield (
        "wrong_distance",
        "the end points to an index that is not there",
        "DamagedError",
        changed("FEND", lambda _: End(2, 7, 20).pack()),
    )
    for name, text, entries in (
        ("index_loop", "an index that stands still", Pack().varint(8).varint(2).varint(100).varint(0)),
        ("index_beyond", "an index that points behind itself", Pack().varint(8).varint(2).varint(100).varint(1 << 40)),
        ("index_count_bomb", "more entries than bytes", Pack().varint(8).varint(1 << 19)),
        ("index_huge_count", "2**40 entries", Pack().varint(8).varint(1 << 40)),
        ("index_no_stride", "a stride of 0", Pack().varint(0).varint(1).varint(100)),
    ):
        data = entries.bytes()
        tail = [("indx", data), ("FEND", End(2, 7, 15 + len(data)).pack())]
        yield name, text, "LimitError" if "huge" in name else "DamagedError", joined([*parts[:-1], *tail])


def faulty_references() -> Iterator[tuple[str, str, str, bytes]]:
    """Ways in which a stream cannot refer to an identity."""
    parts = base()
    rest = parts[2:]
    head = ("HEAD", patched(95, b"\0\1")(parts[0][1]))
    name = ("IREF", bytes(range(32)))
    yield "reference_short", "a hash of 31 bytes", "DamagedError", joined([head, ("IREF", bytes(31)), *rest])
    yield "reference_long", "a hash of 33 bytes", "DamagedError", joined([head, ("IREF", bytes(33)), *rest])
    yield "reference_missing", "the header announces an IREF that does not come", "DamagedError", joined([head, *rest])
    yield "reference_replaced", "the header announces an IREF, IDEN comes", "DamagedError", joined([head, *parts[1:]])
    yield "reference_unannounced", "IREF without its header flag", "DamagedError", joined([parts[0], name, *rest])
    yield "reference_and_identity", "IREF, and IDEN too", "DamagedError", joined([head, name, *parts[1:]])
    yield "identity_and_reference", "IDEN, and IREF too", "DamagedError", joined([*parts[:2], name, *rest])
    both = ("HEAD", patched(95, b"\x80\1")(head[1]))
    yield "reference_and_pivot", "the header announces IREF and a pivot", "DamagedError", joined([both, name, *rest])


def crc(data: bytes) -> int:
    """CRC-16/CCITT-FALSE, by its definition."""
    value = 0xFFFF
    for byte in data:
        value ^= byte << 8
        for _ in range(8):
            value = (value << 1 ^ 0x1021) & 0xFFFF if value & 0x8000 else value << 1
    return value


def flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]


def with_delta(fields: Pack) -> bytes:
    parts = base()
    head = patched(95, b"\x08")(parts[0][1])
    return joined([("HEAD", head), parts[1], ("DELT", fields.raw(b"\0" * 8).bytes()), *parts[2:]])


def with_modes(fields: Pack) -> bytes:
    parts = base()
    head = patched(95, b"\x40")(parts[0][1])
    return joined([("HEAD", head), parts[1], ("MODE", fields.raw(b"\0" * 600).bytes()), *parts[2:]])


def coded_steps(jitter: list[int]) -> bytes:
    """Period, level, size and code of the deviations of times from their base."""
    values, encoder = np.array(jitter), RangeEncoder()
    level = 20
    encode_values(encoder, values, np.full(len(values), level))
    code = encoder.finish()
    return Pack().fixed("BB", 0, level).varint(len(code)).raw(code).bytes()


def with_pivot(fields: Pack) -> bytes:
    parts = base()
    head = patched(95, b"\x80")(parts[0][1])
    return joined([("HEAD", head), parts[1], ("PIVT", fields.bytes()), *parts[2:]])


def with_audio(fields: Pack) -> bytes:
    parts = base()
    head = patched(95, b"\x20")(parts[0][1])
    bad = Pack().fixed("B", 8).varint(0).raw(fields.bytes()).raw(b"\0" * 8).bytes()
    place = next(i for i, (name, _) in enumerate(parts) if name == "SEGM")
    return joined(
        [("HEAD", head), parts[1], ("AUDH", AudioConfig().pack()), *parts[2:place], ("SEGM", bad), *parts[place + 1 :]]
    )


def bad_metadata() -> Iterator[tuple[str, str, bytes]]:
    key = b"\xa6writer"
    yield "meta_twice", "a metadata key twice", b"\x82" + key + b"\xa1a" + key + b"\xa1b"
    yield "meta_unknown", "a metadata key nobody knows", b"\x81\xa4path\xa4/etc"
    yield "meta_nan", "a metadata value that is not a number, literally", b"\x81" + key + b"\xcb\x7f\xf8" + bytes(6)
    yield "meta_nested", "metadata 60000 lists deep", b"\x81" + key + b"\x91" * 60000 + b"\xc0"
    yield "meta_extension", "a metadata value of an extension type", b"\x81" + key + b"\xd6\xff" + bytes(4)
    yield "meta_long_int", "a metadata integer not in its shortest form", b"\x81\xa8rotation\xcd\0\x5a"
    yield "meta_unsorted", "metadata keys out of order", b"\x82" + key + b"\xa1a\xa5title\xa1b"
    yield "meta_count_bomb", "a metadata map of 2**32 - 1 entries", b"\xdf\xff\xff\xff\xff"
    yield "meta_not_utf8", "metadata text that is not UTF-8", b"\x81" + key + b"\xa1\xff"
    yield "meta_tail", "bytes behind the metadata", b"\x81" + key + b"\xa1a\xc0"
    yield "meta_path", "a source name with a path in it", b"\x81\xabsource_name\xa9/etc/fstab"
    yield "meta_steps", "key frames that do not rise", b"\x81\xaakey_frames\xa53,0,5"


def symbols_sha256(data: bytes) -> str:
    """Hash of all motion and placement, as the spec defines it."""
    import hashlib

    digest = hashlib.sha256()
    for part in Reader(io.BytesIO(data)).segments():
        digest.update(part.motion.astype("<i4").tobytes())
        if part.placement is not None:
            digest.update(part.placement.astype("<i4").tobytes())
    return digest.hexdigest()


def render() -> dict[str, bytes]:
    """All files of the folder by name, the list included."""
    files: dict[str, bytes] = {}
    lines = [
        "# Conformance streams",
        "",
        "Made by `python -m fev.tools.make_vectors`; `--check` compares. Every reader must decode `subset` and",
        "`uncommon` to the symbols hashed here (`spec/fev-1.md`, Conformance), and refuse every stream in `faulty`.",
    ]
    for folder, about, made in (("subset", subset.__doc__, subset()), ("uncommon", uncommon.__doc__, uncommon())):
        lines += [
            "",
            f"## {folder}",
            "",
            f"{about}",
            "",
            "| file | what | sha256 of the symbols |",
            "| --- | --- | --- |",
        ]
        for name, text, data in made:
            files[f"{folder}/{name}.fev"] = data
            lines.append(f"| {name} | {text} | {symbols_sha256(data)} |")
    lines += ["", "## faulty", "", "What a reader must refuse.", "", "| file | what | error |", "| --- | --- | --- |"]
    for name, text, error, data in faulty():
        files[f"faulty/{name}.fev"] = data
        lines.append(f"| {name} | {text} | {error} |")
    files["README.md"] = ("\n".join(lines) + "\n").encode()
    return files


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make_vectors", description="Regenerate the conformance streams.")
    parser.add_argument("--check", action="store_true", help="only compare, exit 1 if a file differs")
    check = parser.parse_args(arguments).check
    differs = []
    made = render()
    for path in FOLDER.glob("*/*.fev"):
        if str(path.relative_to(FOLDER)) not in made:
            differs.append(str(path.relative_to(FOLDER)))
            if not check:
                path.unlink()
    for name, data in made.items():
        path = FOLDER / name
        if path.is_file() and path.read_bytes() == data:
            continue
        differs.append(name)
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    print(f"{len(differs)} files differ" if differs else "all the same", *differs, sep="\n  ", file=sys.stderr)
    return 1 if check and differs else 0


if __name__ == "__main__":
    sys.exit(main())
