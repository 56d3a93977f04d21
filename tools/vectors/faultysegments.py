"""The vectors that every reader must refuse: segments, and what counts them. `faulty.py` has the rest."""

from __future__ import annotations

from collections.abc import Iterator

from ...format.index import End
from ...format.taken import HAS_HELD, HAS_PLACE, HAS_PTS
from ...format.wire import Pack
from .bent import base, changed, coded_steps, joined, segment, taken_apart, with_audio
from .made import stream


def faulty_segments() -> Iterator[tuple[str, str, str, bytes]]:
    """Segments, index and end."""
    parts = base()
    names = [name for name, _ in parts]
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
        changed("SEGM", segment(256, Pack().varint(0))),
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
