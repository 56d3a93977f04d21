"""Streams come back whole: from files, pipes and single bytes, in order and out of order."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import threading
from dataclasses import replace

import numpy as np
import pytest
from fev.format import AudioPacket, FevError, Limits, Reader, Segment, Writer, tables
from fev.format.errors import (
    DamagedError,
    LimitError,
    ModelMismatchError,
    NotFevError,
    TruncatedError,
    UnsupportedError,
    UsageError,
)
from streams import Dribble, Made, header, make, read, same

KINDS = {
    "full": dict(),
    "bare": dict(audio=False, delta=False, background=False, meta=False, placement=False, index=False),
    "irregular": dict(irregular=True),
    "repeated": dict(segments=7, repeat=2),
    "indexed": dict(segments=20, frames=2),
    "wide": dict(params=35, frames=12, fps=(30000, 1001), time_base=(1, 30000)),
    "modes": dict(modes=True),
    "pivot": dict(modes=True, pivot=True),
    "crop": dict(placement=False, crop=True, synthetic=True),
    "fractional": dict(fps=(25, 1)),  # 30 ticks a second do not divide: every time is written
}


@pytest.fixture(params=KINDS)
def made(request) -> Made:
    return make(**KINDS[request.param])


def check(made: Made, reader: Reader, segments: list[Segment]) -> None:
    assert len(segments) == len(made.segments)
    assert all(same(a, b) for a, b in zip(made.segments, segments, strict=True))
    assert reader.header == made.header
    who = reader.who()
    assert np.array_equal(who.values, made.who["identity"])
    assert [*reader.cast.sets.values()] == made.given["sets"] and reader.audio == made.given["audio"]
    assert (reader.meta or None) == made.given["meta"]
    if made.who["delta"]:
        assert np.array_equal(who.delta[0].values, made.who["delta"][0].values)
    assert who.pivot == made.who["pivot"]
    assert (who.modes is None) == (made.who["modes"] is None)
    assert not reader.damage


def test_round_trip(made):
    reader, segments = read(made.data)
    check(made, reader, segments)
    assert reader.end.segments == len(segments)


def test_sections_add_up(made):
    reader, _ = read(made.data)
    assert sum(reader.sections().values()) == len(made.data) == made.writer.bytes_written
    assert reader.sections() == made.writer.sections()
    quick = Reader(io.BytesIO(made.data))
    assert len(list(quick.parts())) == len(made.segments) and quick.sections() == reader.sections()


@pytest.mark.parametrize("salvage", [False, True])
def test_single_bytes(made, salvage):
    reader = Reader(Dribble(made.data), salvage=salvage)
    check(made, reader, list(reader.segments()))
    assert sum(reader.sections().values()) == len(made.data)


def test_segments_arrive_as_soon_as_they_are_written():
    """Through a pipe: a segment can be read before the next one is written."""
    made = make(segments=3)
    source, sink = os.pipe()
    read_one = threading.Event()

    def write() -> None:
        with os.fdopen(sink, "wb", buffering=0) as out:
            writer = Writer(out, header(), **made.given)
            for segment in made.segments:
                writer.write_segment(segment)
                assert read_one.wait(20)
                read_one.clear()
            writer.close()

    thread = threading.Thread(target=write)
    thread.start()
    with os.fdopen(source, "rb") as stream:
        reader = Reader(stream)
        got = []
        for segment in reader.segments():
            got.append(segment)
            read_one.set()
    thread.join()
    check(made, reader, got)


def test_writer_never_seeks_and_survives_short_writes():
    class Raw:
        def __init__(self) -> None:
            self.data = b""

        def write(self, data) -> int:
            self.data += bytes(data[:3])
            return min(3, len(data))

    made = make()
    out = Raw()
    with Writer(out, header(), **made.given) as writer:
        for segment in made.segments:
            writer.write_segment(segment)
    assert out.data == made.data


def test_an_interrupted_writer_leaves_a_truncated_stream():
    made = make()
    out = io.BytesIO()
    with pytest.raises(RuntimeError), Writer(out, header(), **made.given) as writer:
        writer.write_segment(made.segments[0])
        raise RuntimeError
    with pytest.raises(TruncatedError):
        read(out.getvalue())
    reader, segments = read(out.getvalue(), salvage=True)
    assert len(segments) == 1 and "end chunk" in reader.damage[0].reason


@pytest.mark.parametrize("index", ["present", "absent", "lying"])
def test_random_seeks_equal_linear_reading(index):
    made = make(segments=40, frames=2, index=index != "absent")
    data = made.data
    if index == "lying":
        from fev.format.index import pack_index, unpack_index
        from streams import chunks, rebuild

        parts = chunks(data)
        place = next(at for name, at, _ in parts if name == "indx")
        stride, offsets = unpack_index(next(p for name, _, p in parts if name == "indx"), place)
        third = [at for name, at, _ in parts if name == "SEGM"][3]
        lie = pack_index(stride, [offsets[0], third, *offsets[2:]])
        data = rebuild([(name, lie if name == "indx" else payload) for name, _, payload in parts])
    reader = Reader(io.BytesIO(data))
    rng = np.random.default_rng(0)
    for k in [39, 0, *rng.integers(0, 40, 30).tolist()]:
        reader.seek(k)
        got = reader.segments()
        for want in made.segments[k : k + 3]:
            assert same(next(got), want)
        frame = 2 * k + (k < 39)
        frame = min(frame, reader_frames(made) - 1)
        assert reader.seek_frame(frame) == frame // 2
        assert same(next(reader.segments()), made.segments[frame // 2])
        assert reader.seek_pts(frame) == frame // 2
    assert reader.seek_pts(-5) == 0
    for wrong in (lambda: reader.seek(40), lambda: reader.seek_frame(10_000), lambda: reader.seek_frame(-1)):
        with pytest.raises(UsageError):
            wrong()
    assert reader.seek_pts(10**9) == 39


def reader_frames(made: Made) -> int:
    return sum(segment.frames for segment in made.segments)


def test_seeking_reads_little():
    made = make(segments=200, frames=4)
    stream = io.BytesIO(made.data)
    taken = 0
    plain = stream.read

    class Counting(io.BytesIO):
        def read(self, count=-1):
            nonlocal taken
            data = super().read(count)
            taken += len(data)
            return data

    del plain
    reader = Reader(Counting(made.data))
    taken = 0
    reader.seek(150)
    next(reader.segments())
    assert taken < len(made.data) / 4


def test_seek_needs_a_seekable_stream():
    with pytest.raises(UsageError):
        Reader(Dribble(make().data)).seek(1)


def test_a_stream_may_begin_inside_a_file():
    made = make(segments=20, frames=2)
    stream = io.BytesIO(b"junk" + made.data)
    stream.seek(4)
    reader = Reader(stream)
    reader.seek(17)
    assert same(next(reader.segments()), made.segments[17])


def test_joining_late():
    """From any byte on, once the set-up was repeated, every segment is there and identical."""
    made = make(segments=8, repeat=3)
    starts = [at for name, at, _ in __import__("streams").chunks(made.data) if name == "HEAD"]
    for cut in range(9, starts[1], 37):
        for stream in (io.BytesIO(made.data[cut:]), Dribble(made.data[cut:])):
            reader = Reader(stream, salvage=True)
            got = list(reader.segments())
            assert got[-1].index == 7 and all(same(s, made.segments[s.index]) for s in got)
            assert len(got) >= 5
            assert np.array_equal(reader.who().values, made.who["identity"])
            assert reader.damage


def test_writer_refusals():
    made = make()
    first = made.segments[0]

    def fresh() -> Writer:
        return Writer(io.BytesIO(), header(), **made.given)

    def but(**changes) -> Segment:
        own = {name: changes.pop(name) for name in ("motion", "placement", "held") if name in changes}
        return replace(first.with_alone(**own), **changes)

    for wrong in (
        made.segments[1],
        but(first_frame=1),
        but(placement=None),
        but(motion=first.motion[:, :4]),
        but(pts=first.pts[::-1].copy()),
        but(held=np.arange(6) == 3),
        but(motion=first.motion[:0], placement=first.placement[:0], pts=first.pts[:0], held=None),
        but(audio=[AudioPacket(0, 960, b"x"), AudioPacket(960, 0, b"x")]),
        but(audio=[AudioPacket(0, 960, bytes(2 << 20))]),
    ):
        with pytest.raises(UsageError):
            fresh().write_segment(wrong)
    writer = fresh()
    writer.write_segment(first)
    writer.close()
    writer.close()
    with pytest.raises(UsageError):
        writer.write_segment(made.segments[1])
    with pytest.raises(UsageError):
        Writer(io.BytesIO(), header(), meta={"path": "/etc"})
    for wrong in (
        dict(width=0),
        dict(time_base=(0, 1)),
        dict(model_sha256=b"short"),
        dict(params=0),
        dict(width=70000),
    ):
        with pytest.raises(UsageError):
            Writer(io.BytesIO(), header(**wrong))


def test_reader_refusals():
    data = make().data
    for start, cause in ((b"", NotFevError), (b"RIFF....AVI ", NotFevError), (data[:5], TruncatedError)):
        with pytest.raises(cause):
            read(start)
    with pytest.raises(LimitError):
        read(data, limits=Limits(max_width=255))
    with pytest.raises(LimitError):
        read(data, limits=Limits(max_segment_frames=5))
    with pytest.raises(UsageError):
        Reader(io.StringIO(data.decode("latin-1")))
    with pytest.raises(UsageError):
        Reader("a path")

    class Broken:
        def read(self, count):
            raise OSError("unplugged")

    with pytest.raises(FevError):
        Reader(Broken())


def test_versions_and_tables_gate():
    from streams import chunks, rebuild

    parts = [(name, payload) for name, _, payload in chunks(make().data)]
    head = parts[0][1]
    for version in (2, 3, 1 << 16):  # a later one may be longer
        newer = rebuild([("HEAD", struct.pack("<I", version) + head[4:] + b"more"), *parts[1:]])
        with pytest.raises(UnsupportedError, match=f"format version {version},"):
            read(newer)
        with pytest.raises(UnsupportedError):
            read(newer, salvage=True)
    with pytest.raises(DamagedError, match="version 0"):
        read(rebuild([("HEAD", bytes(4) + head[4:]), *parts[1:]]))
    at = head.index(bytes.fromhex(tables.SHA256))
    other = rebuild([("HEAD", head[:at] + bytes(32) + head[at + 32 :]), *parts[1:]])
    for salvage in (False, True):
        with pytest.raises(ModelMismatchError, match="tables"):
            read(other, salvage=salvage)


def test_one_symbol_hash():
    """The symbols of a fixed stream, hashed: the same for any chunking, thread count and Python."""
    made = make(segments=4, params=35, frames=10)
    digest = hashlib.sha256()
    for segment in read(made.data)[1]:
        digest.update(segment.motion.astype("<i4").tobytes() + segment.placement.astype("<i4").tobytes())
    given = hashlib.sha256()
    for segment in made.segments:
        given.update(segment.motion.astype("<i4").tobytes() + segment.placement.astype("<i4").tobytes())
    assert digest.hexdigest() == given.hexdigest()


@pytest.mark.parametrize(
    ("pts", "most"),
    [
        (512 * np.arange(75) + np.arange(75) % 2, 12),  # a clock that rounds: 513 511 513 511
        ((np.arange(75) * 100 + 1) // 3, 12),  # 30 Hz in milliseconds: 33 33 34
        (3000 * np.arange(75) + np.array([0, 1, -1, 0, 2] * 15), 40),
        (np.cumsum(np.where(np.arange(75) == 40, 1 << 45, 1)), 90),  # too far apart for the short way
        (np.cumsum(np.where(np.arange(75) == 40, 1 << 29, 1)), 40),
        (np.array([-(1 << 52), (1 << 52) - 5, 1 << 52]), 24),
        (np.array([5, 7, 8]), 12),
    ],
    ids=["rounding", "milliseconds", "wandering", "gap", "near gap", "far", "three"],
)
def test_irregular_times_come_back_and_cost_little(pts, most):
    head = header(segment_frames=len(pts), placement=False, time_base=(1, 90000))
    still = np.zeros((len(pts), head.params), np.int32)
    segment = Segment.single(0, 0, pts.astype(np.int64), still)
    data = segment.pack(head)
    assert np.array_equal(Segment.unpack(data, head).pts, pts)
    regular = Segment.single(0, 0, np.arange(len(pts)) * head.pts_step, still)
    assert len(data) - len(regular.pack(head)) <= most
