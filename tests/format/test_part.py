"""Segments in parts: each is there when it arrives, and what is lost costs the rest of its segment."""

from __future__ import annotations

import io
import os

import numpy as np
import pytest
from fev.format import AudioConfig, AudioPacket, Limits, Reader, Segment, Track, Writer, verify
from fev.format.chunk import PART_SYNC, make_part
from fev.format.errors import DamagedError, FevError, LimitError, TruncatedError, UsageError
from fev.format.part import cut
from streams import Dribble, header, motion, read, repair, same
from test_stage import actor

FRAMES = 12


def segment(index: int = 0, actors: int = 1, seed: int = 0, camera: bool = True, audio: bool = True) -> Segment:
    """Twelve frames with something of everything."""
    held = np.zeros(FRAMES, bool)
    held[5:8] = True
    tracks = []
    for k in range(actors):
        walk, spot = motion(FRAMES, 5, 1.5, seed + k), motion(FRAMES, 4, 3, seed + 9 + k) + 500
        walk[5:8], spot[5:8] = walk[4], spot[4]
        walk[10] = walk[9]
        tracks.append(Track(walk, spot, held if k == 0 else None, k))
    moves = motion(FRAMES, 4, 2, seed + 30) if camera else None
    if moves is not None:
        moves[:4] = 0
    first = FRAMES * index
    packets = [AudioPacket(1600 * first + 960 * k, 960, bytes([k, index])) for k in range(20)] if audio else []
    return Segment(index, first, np.arange(first, first + FRAMES), tracks, packets, None, moves)


def streamed(
    segments: list[Segment], lengths: tuple[int, ...] = (3, 3, 2, 4), **changes
) -> tuple[bytes, list[Segment]]:
    """A stream in parts, and the parts."""
    out, parts = io.BytesIO(), []
    head = header(segment_frames=FRAMES, **changes)
    with Writer(out, head, actors=[actor(), actor(1, seed=1)], audio=AudioConfig()) as writer:
        for each in segments:
            for part in cut(each, lengths, head):
                writer.write_segment(part)
                parts.append(part)
    return out.getvalue(), parts


def tracked(data: bytes) -> list[tuple[int, int]]:
    """Where the parts after the first of each segment stand in a stream: begin and end."""
    found, at = [], data.find(PART_SYNC)
    while at >= 0:
        size = data[at + 2]
        found.append((at, at + 5 + size))
        at = data.find(PART_SYNC, at + 5 + size)
    return found


@pytest.mark.parametrize("lengths", [(3, 3, 2, 4), (12,), (1,) * 12, (11, 1)])
def test_parts_come_back_and_make_their_segment(lengths):
    given = [segment(k, 2, k) for k in range(3)]
    data, parts = streamed(given, lengths)
    reader, got = read(data)
    assert all(same(a, b) for a, b in zip(given, got, strict=True)) and verify(io.BytesIO(data)).ok
    assert sum(reader.sections().values()) == len(data)
    arrived = list(Reader(io.BytesIO(data)).arriving())
    assert all(same(a, b) and a.part == b.part for a, b in zip(parts, arrived, strict=True))
    dribbled = Reader(Dribble(data), salvage=True)
    assert all(same(a, b) for a, b in zip(given, dribbled.segments(), strict=True)) and not dribbled.damage


def test_a_part_can_be_read_before_the_next_one_is_written():
    given = segment(0)
    head = header(segment_frames=FRAMES)
    source, sink = os.pipe()
    with os.fdopen(sink, "wb", buffering=0) as out, os.fdopen(source, "rb", buffering=0) as stream:
        writer = Writer(out, head, actors=[actor()], audio=AudioConfig())
        parts = cut(given, (3, 3, 3, 3), head)
        writer.write_segment(parts[0])
        arriving = Reader(stream).arriving()
        assert same(next(arriving), parts[0])
        for part in parts[1:]:
            writer.write_segment(part)
            assert same(next(arriving), part)
        writer.close()
        out.close()  # the reader asks whether anything follows the end
        assert next(arriving, None) is None


def test_a_resting_part_of_three_frames_takes_one_byte_of_framing_and_one_of_code():
    still = Segment.single(0, 0, np.arange(12), np.zeros((12, 5), np.int32), np.full((12, 4), 500, np.int32))
    head = header(segment_frames=FRAMES)
    out = io.BytesIO()
    writer = Writer(out, head, actors=[actor()])
    sizes = [writer.write_segment(part) for part in cut(still, (3, 3, 3, 3), head)]
    assert max(sizes[1:]) <= 5 + 2, "the frame on a stream of bytes has 5 bytes"


def test_seeking():
    given = [segment(k, 1, k) for k in range(20)]
    data, _ = streamed(given)
    for salvage in (False, True):
        reader = Reader(io.BytesIO(data), salvage=salvage)
        for index in (19, 0, 7, 8):
            reader.seek(index)
            following = reader.segments()
            assert all(same(next(following), want) for want in given[index : index + 2])
        assert reader.seek_frame(12 * 6 + 11) == 6 and reader.seek_frame(239) == 19
        with pytest.raises(UsageError):
            reader.seek_frame(240)
        assert not reader.damage


def test_a_lost_part_costs_the_rest_of_its_segment():
    given = [segment(k, 1, k) for k in range(3)]
    data, parts = streamed(given)
    for which, (begin, end) in enumerate(tracked(data)):
        lost, own = data[:begin] + data[end:], which // 3
        with pytest.raises(FevError):
            read(lost)
        reader = Reader(io.BytesIO(lost), salvage=True)
        got = list(reader.arriving())
        want = [p for p in parts if p.index != own or p.part <= which % 3]
        assert all(same(a, b) for a, b in zip(want, got, strict=True))
        assert [d.segment for d in reader.damage] == [own]
        whole = list(Reader(io.BytesIO(lost), salvage=True).segments())
        assert [s.frames for s in whole] == [FRAMES if s.index != own else (3, 6, 8)[which % 3] for s in whole]


def test_every_flip_is_noticed_and_costs_no_other_segment():
    given = [segment(k, 1, k) for k in range(3)]
    data, parts = streamed(given)
    first = tracked(data)[0][0]
    last = tracked(data)[5][1]
    for bit in range(8 * first, 8 * last, 5):
        broken = bytearray(data)
        broken[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FevError):
            read(bytes(broken))
        reader = Reader(io.BytesIO(bytes(broken)), salvage=True)
        got = list(reader.arriving())
        assert reader.damage and same(got[0], parts[0]) and same(got[-1], parts[-1])
        for part in got:
            assert any(same(part, want) for want in parts)


def test_every_truncation_gives_the_parts_before_it():
    data, parts = streamed([segment(0), segment(1, 1, 1)])
    ends = [end for _, end in tracked(data)]
    for length in range(tracked(data)[0][0], len(data), 3):
        strict = []
        with pytest.raises(TruncatedError):
            for whole in Reader(io.BytesIO(data[:length])).segments():
                strict.append(whole)
        salvaged = list(Reader(io.BytesIO(data[:length]), salvage=True).segments())
        assert all(same(a, b) for a, b in zip(strict, salvaged, strict=True))
        got = list(Reader(io.BytesIO(data[:length]), salvage=True).arriving())
        assert all(same(a, b) for a, b in zip(parts, got, strict=False))
        assert len(got) >= 1 + sum(end <= length for end in ends[:3])


def test_parts_of_another_segment_are_refused():
    data, _ = streamed([segment(0, audio=False), segment(1, 1, 1, audio=False)], (4, 8))
    (a, b), (c, d) = tracked(data)
    swapped = data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]
    with pytest.raises(DamagedError, match="was expected"):
        read(swapped)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "1 bytes early"),
        (b"\x02", "part 2 where 1 was expected"),
        (b"\x81\x00", "there are none"),
        (b"\x81\x10", "unknown flags"),
        (b"\x81\x01\x00", "no frames"),
        (b"\x81\x01\x03", "says how long it is"),
        (b"\x81\x02\x01\x01\x00", "short form"),
        (b"\x81\x04\x03", "there are none"),
        (b"\x01\x00", "not the one its content has"),
    ],
)
def test_refusals(content, message):
    still = Segment.single(0, 0, np.arange(6), np.zeros((6, 5), np.int32), np.full((6, 4), 500, np.int32))
    out, head = io.BytesIO(), header(segment_frames=6)
    writer = Writer(out, head, actors=[actor()])
    writer.write_segment(cut(still, (3, 3), head)[0])
    data = out.getvalue() + make_part(content)
    with pytest.raises(FevError, match=message):
        read(data)


def test_limits_count_all_parts():
    data, _ = streamed([segment(0)])
    with pytest.raises(LimitError):
        read(data, limits=Limits(max_segment_frames=FRAMES - 1))
    with pytest.raises(LimitError):
        read(data, limits=Limits(max_track_frames=FRAMES - 1))
    with pytest.raises(LimitError):
        read(data, limits=Limits(max_audio_packets_per_segment=19))


def test_the_writer_refuses_what_does_not_follow():
    head = header(segment_frames=FRAMES)
    parts = cut(segment(0), (4, 4, 4), head)
    for given in (parts[1:], [parts[0], parts[2]], [parts[0], parts[1], parts[1]]):
        writer = Writer(io.BytesIO(), head, actors=[actor()], audio=AudioConfig())
        with pytest.raises(UsageError):
            for part in given:
                writer.write_segment(part)
    writer = Writer(io.BytesIO(), head, actors=[actor()], audio=AudioConfig())
    writer.write_segment(parts[0])
    writer.write_actor(actor(1, seed=1))
    with pytest.raises(UsageError, match="follows no other"):
        writer.write_segment(parts[1])
    with pytest.raises(UsageError):
        cut(segment(0), (4, 4), head)


def test_a_message_is_a_content_and_begins_below_any_chunk():
    """Where the transport frames: what the writer gave in one piece, without sync, size and check."""
    data, parts = streamed([segment(k, 1, k) for k in range(30)])
    contents = [data[begin + 3 : end - 2] for begin, end in tracked(data)]
    assert len(contents) == 90 and max(content[0] for content in contents) < 0xF5
    assert [content[0] & 127 for content in contents] == [n % 100 for n in range(120) if n % 4]
    assert all(make_part(content) == data[b:e] for content, (b, e) in zip(contents, tracked(data), strict=True))


def test_a_fuzzer_gets_past_the_checks():
    data, _ = streamed([segment(0)])
    begin, end = tracked(data)[0]
    broken = bytearray(data)
    broken[end - 1] ^= 1
    assert repair(bytes(broken)) == data
    with pytest.raises(DamagedError):
        read(bytes(broken))
