"""Streams whose checks are right and whose counts and times are not: right output or one clean line, never a bug."""

from __future__ import annotations

import io
from dataclasses import replace

import av
import fev
import numpy as np
import pytest
from fev.codec import decoder
from fev.codec.draw import frames
from fev.codec.draw.options import DecodeOptions
from fev.codec.media.video import open_video
from fev.format import Reader, Segment, Writer
from fev.format.chunk import make_chunk
from fev.format.errors import FevError
from fev.format.index import End
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


@pytest.fixture(scope="module")
def parts(film):
    reader = Reader(io.BytesIO(film))
    return list(reader.segments()), reader.header, reader.cast.newest(0), reader.audio


def stream_of(parts, segments: list[Segment], end: End, **header) -> bytes:
    """Sound chunks, whatever they say."""
    _, head, actor, audio = parts
    out, head = io.BytesIO(), replace(head, **header)
    Writer(out, head, actors=[actor], audio=audio)
    chunks = [make_chunk("SEGM", s.pack(head)) for s in segments]
    return out.getvalue() + b"".join(chunks) + make_chunk("FEND", end.pack())


def times(out: io.BytesIO) -> list[float]:
    out.seek(0)
    with open_video(out) as video:
        return [float(frame.pts * video.info.time_base) for frame in video]


@pytest.mark.parametrize("leap", [3, 12, 1000, 1 << 23])
def test_a_first_frame_that_leaps_beyond_its_time(parts, tiny_model_file, leap):
    """Twenty ticks between the segments, and `leap` frames: no more than there is time for, all in order."""
    segments = [parts[0][0], replace(parts[0][2], first_frame=10 + leap, pts=parts[0][2].pts)]
    data = stream_of(parts, segments, End(3, 20 + leap, 0))
    out = io.BytesIO()
    report = fev.decode(io.BytesIO(data), out, salvage=True, model=tiny_model_file)
    assert report.repeated == min(leap, 10)
    seen = times(out)
    assert len(seen) == report.frames == 20 + report.repeated and seen == sorted(set(seen))
    assert seen[-1] == pytest.approx(29 / 25)


def test_claims_of_years_are_not_drawn(parts, tiny_model_file, monkeypatch):
    monkeypatch.setattr(frames, "MOST_HELD", 50)
    late = replace(parts[0][2], first_frame=1 << 23, pts=parts[0][2].pts + (1 << 23))
    data = stream_of(parts, [parts[0][0], late], End(3, 1 << 24, 0))
    report = fev.decode(io.BytesIO(data), io.BytesIO(), salvage=True, model=tiny_model_file, container="y4m")
    assert (report.frames, report.repeated) == (70, 50)


@pytest.mark.parametrize("container", ["mp4", "fmp4", "mkv", "webm"])
def test_times_that_no_container_holds_are_one_line(parts, tiny_model_file, container):
    far = replace(parts[0][1], pts=parts[0][1].pts + (1 << 52))
    data = stream_of(parts, [parts[0][0], far], End(2, 20, 0), time_base=((1 << 31) - 1, 1))
    with pytest.raises(FevError, match="cannot be written: time stamps that its container cannot hold"):
        fev.decode(io.BytesIO(data), io.BytesIO(), model=tiny_model_file, container=container)


def test_sound_that_goes_back_is_left_out_and_counted(parts, tiny_model_file):
    first = parts[0][0]
    packets = [replace(p, pts=p.pts - 4800) if i == 5 else p for i, p in enumerate(first.audio)]
    data = stream_of(parts, [replace(first, audio=packets)], End(1, 10, 0))
    out = io.BytesIO()
    report = fev.decode(io.BytesIO(data), out, model=tiny_model_file)
    assert report.notices == {"sound_back": 1} and report.frames == 10
    out.seek(0)
    with av.open(out) as container:
        assert sum(1 for p in container.demux(audio=0) if p.size) == len(packets) - 1


BIG = st.sampled_from([0, 1, 9, 10, 11, 41, 999, (1 << 24) - 11, 1 << 24, 1 << 31, 1 << 52, (1 << 53) - 1])
CLOCKS = st.sampled_from([(1, 25), (1, 90000), (1, 1), ((1 << 31) - 1, 1), (1, (1 << 31) - 1)])


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(choose=st.data())
def test_whatever_a_segment_says_is_drawn_or_refused(parts, tiny_model, tiny_model_file, choose):
    draw = choose.draw
    segments = []
    clock = draw(CLOCKS)
    for s in parts[0]:
        index = s.index + draw(st.sampled_from([0, 0, 0, 1, 1 << 20]))
        first = draw(st.sampled_from([s.first_frame, s.first_frame + 1, draw(BIG)]))
        pts = s.pts + draw(st.sampled_from([0, 0, 1, -5, 10**6, -(1 << 40), 1 << 51]))
        if draw(st.booleans()):
            pts = pts[0] + np.cumsum([0, *[draw(st.sampled_from([1, 2, 1000, 1 << 40]))] * (len(pts) - 1)])
        segments.append(replace(s, index=index, first_frame=first, pts=pts))
    try:
        data = stream_of(parts, segments, End(draw(BIG), draw(BIG), 0), time_base=clock, fps=draw(CLOCKS))
    except FevError:
        return
    options = DecodeOptions(
        salvage=draw(st.booleans()), start=draw(st.sampled_from([None, 0.5, 1e6])), container="y4m",
        duration=draw(st.sampled_from([None, 0.5, 1e7])), model=str(tiny_model_file),
    )  # fmt: skip
    held = frames.MOST_HELD
    frames.MOST_HELD = 60
    try:
        report = decoder.decode(io.BytesIO(data), io.BytesIO(), options)
        assert 0 < report.frames <= 100
    except FevError:
        pass
    finally:
        frames.MOST_HELD = held
    fev.verify(io.BytesIO(data))


def test_the_bar_has_a_total_where_it_can_be_known(film, tiny_model_file):
    class Pipe:
        def __init__(self, data):
            self.read = io.BytesIO(data).read

    def told(src, **options):
        seen: list[tuple[int, int]] = []
        options = DecodeOptions(model=str(tiny_model_file), container="y4m", **options)
        decoder.decode(src, io.BytesIO(), options, lambda stage, done, total: seen.append((done, total)))
        assert seen[0][0] == 0 and {total for _, total in seen} == {seen[0][1]}
        return seen[0][1], seen[-1][0]

    assert told(io.BytesIO(film)) == (40, 40)
    assert told(io.BytesIO(film), start=0.4) == (30, 30)
    assert told(io.BytesIO(film), start=0.4, duration=0.2) == (5, 5)
    assert told(Pipe(film)) == (0, 40)
    assert told(Pipe(film), duration=0.2) == (5, 5)
    assert told(io.BytesIO(film[:-30]), salvage=True)[0] == 0
