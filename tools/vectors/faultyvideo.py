"""The vectors that every reader must refuse: video. `faultystage.py` has what else stands behind actors."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from ...format.motion import encode_track
from ...format.taken import HAS_CAMERA, HAS_STAGE, HAS_VIDEO
from ...format.wire import Pack
from .bent import bent, joined, patched, taken_apart, without
from .good import filmed, filmed_squares

Row = tuple[str, str, str, bytes]


def faulty_video() -> Iterator[Row]:
    """VIDH, and the video of segments."""
    yield from _headers()
    yield from _packets()
    yield from _stages()


def _headers() -> Iterator[Row]:
    bad = "DamagedError"
    for name, text, error, make in (
        ("video_codec", "video in a codec that nobody knows", "UnsupportedError", patched(0, b"\2")),
        ("video_flat", "video of no rows", bad, patched(3, b"\0\0")),
        ("video_huge", "video of 65535 x 65535 pixels", "LimitError", patched(1, b"\xff" * 4)),
        ("video_short", "a header that ends in the video's height", bad, lambda p: p[:4]),
        ("video_no_sequence", "video without a sequence header", bad, lambda p: p[:5]),
        ("sequence_bomb", "a sequence header of 2000 bytes", "LimitError", lambda p: p[:5] + bytes(2000)),
    ):
        yield name, text, error, bent(filmed(), "VIDH", 0, make)
    yield "video_unknown", "video, but no VIDH", bad, without(filmed(), "VIDH", 0)
    parts = taken_apart(filmed())
    again = next((name, payload + b"\0") for name, payload in parts if name == "VIDH")
    yield "video_differs", "VIDH comes again and differs", bad, joined([*parts[:-1], again, parts[-1]])


def _packets() -> Iterator[Row]:
    bad = "DamagedError"

    def filled(data: bytes) -> Callable[[bytes], bytes]:
        """Five frames of nobody, with video of one's own."""
        return lambda p: Pack().varint(HAS_STAGE | HAS_VIDEO).varint(0).raw(b"\0\0" + data).raw(p[-2:]).bytes()

    for name, text, error, data in (
        ("video_no_step", "all pictures of the video in one frame", bad, b"\0\1\1"),
        ("video_long_step", "from picture to picture more frames than there are", "LimitError", b"\6\1\1"),
        ("video_step_bomb", "2**40 frames from picture to picture", "LimitError", Pack().varint(1 << 40).bytes()),
        ("video_packet_empty", "a packet of no bytes", bad, b"\3\1\0\1"),
        ("video_packet_missing", "one packet less than pictures", bad, b"\3\2\1\1"),
        ("video_packet_long", "a packet longer than its segment", bad, b"\5\x7f\1"),
        ("video_size_bomb", "a packet of 2**50 bytes", "LimitError", Pack().raw(b"\5").varint(1 << 50).bytes()),
        ("video_tail", "a byte behind the last packet", bad, b"\5\1\1\1"),
    ):
        yield name, text, error, bent(filmed(), "SEGM", 0, filled(data))
    yield "video_check", "the final check beside video is wrong", bad, bent(filmed(), "SEGM", 1, _wrong_check)


def _stages() -> Iterator[Row]:
    bad, one = "DamagedError", b"\5\1\1"
    moves = encode_track(np.arange(20, dtype=np.int32).reshape(5, 4), np.zeros(5, bool))

    def stage(flags: int, fields: Pack) -> Callable[[bytes], bytes]:
        """A segment with a stage of one's own, and one picture of video."""
        return lambda p: Pack().varint(HAS_VIDEO | flags).varint(0).raw(fields.bytes()).raw(one).raw(p[-2:]).bytes()

    for name, text, flags, fields in (
        ("video_and_set", "video and set 0", HAS_STAGE, Pack().raw(b"\1\0")),
        ("video_short_form", "the stage of no flag is written", HAS_STAGE, Pack().raw(b"\0\1\0\0")),
        (
            "video_and_camera",
            "video that a camera moves",
            HAS_STAGE | HAS_CAMERA,
            Pack().raw(b"\0\0").varint(len(moves)).raw(moves),
        ),
    ):
        yield name, text, bad, bent(filmed(), "SEGM", 0, stage(flags, fields))
    yield (
        "video_behind_square",
        "video behind the aligned square",
        bad,
        bent(filmed_squares(), "SEGM", 1, stage(0, Pack())),
    )


def _wrong_check(payload: bytes) -> bytes:
    return payload[:-1] + bytes([payload[-1] ^ 1])
