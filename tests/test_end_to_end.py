"""A clip goes to `.fev` and comes back: counts, times, sound, sections, damage, and both ways to call it."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import fev
import numpy as np
import pytest
from efforts import encode_quickly
from fev.codec.draw.frames import FrameDecoder
from fev.codec.draw.options import DecodeOptions
from fev.codec.media.mux import VideoWriter
from fev.codec.media.video import open_video
from fev.format import Segment

SAMPLE = Path(fev.__file__).parent / "tools" / "sample" / "sample.mp4"


def frames_of(path, limit=None):
    with open_video(path) as video:
        rows = list(video) if limit is None else [row for row, _ in zip(video, range(limit))]
        return [f.pts for f in rows], [f.rgb for f in rows], video.info


@pytest.fixture(scope="module")
def coded(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("coded") / "sample.fev"
    report = fev.encode(SAMPLE, path, preset="fast", duration=2.2)
    assert (report.frames, report.held, report.aligned) == (55, 0, False)
    assert report.bytes == path.stat().st_size
    return path


@pytest.fixture(scope="module")
def decoded(coded) -> Path:
    path = coded.with_name("back.mp4")
    fev.decode(coded, path)
    return path


def test_frames_times_and_size_come_back(decoded):
    pts, pictures, info = frames_of(decoded)
    source_pts, source, source_info = frames_of(SAMPLE, 55)
    assert [p * info.time_base for p in pts] == [p * source_info.time_base for p in source_pts]
    assert pictures[0].shape == source[0].shape
    assert (info.fps, info.duration) == (source_info.fps, Fraction(55, 25))
    # feed-forward with a model of its own making: a coarse likeness, far from another face or an empty frame
    error = np.abs(pictures[20].astype(int) - source[20]).mean()
    assert error < 20


def test_a_file_without_modes_moves_as_its_clip_does(decoded):
    """What changes from the mean frame, in squares of 8 pixels, source against decoded."""
    changes = []
    for path in (SAMPLE, decoded):
        light = np.stack(frames_of(path, 55)[1]).mean(3)
        small = light.reshape(len(light), light.shape[1] // 8, 8, light.shape[2] // 8, 8).mean((2, 4))
        changes.append((small - small.mean(0)).ravel())
    assert np.corrcoef(*changes)[0, 1] > 0.75


def test_still_background_comes_back(tmp_path):
    y, x = np.mgrid[0:400, 0:560]
    wall = np.stack([90 + x / 8, 120 + y / 8, 150 - x / 16], 2).astype(np.uint8)

    def before_a_wall(i, rgb):
        frame = wall.copy()
        frame[60:380, 120:440] = rgb
        return frame

    clip = clip_with(tmp_path / "wall.mp4", before_a_wall, frames=12)
    report = fev.encode(clip, tmp_path / "wall.fev", preset="fast")
    assert (report.width, report.height) == (560, 400)
    fev.decode(tmp_path / "wall.fev", tmp_path / "back.mp4")
    _, pictures, _ = frames_of(tmp_path / "back.mp4")
    outside = np.s_[:, 520:]  # no placement of this face reaches here
    # a gradient through two lossy still codings: a few grey levels
    assert np.abs(pictures[5][outside].astype(int) - wall[outside]).mean() < 4


def test_sound_comes_back_in_place(decoded):
    import av

    with av.open(str(decoded)) as container:
        stream = container.streams.audio[0]
        assert stream.codec_context.name in ("opus", "libopus")
        sound = np.concatenate([f.to_ndarray().mean(0) for f in container.decode(stream)])
    with av.open(str(SAMPLE)) as container:
        source = np.concatenate([f.to_ndarray().mean(0) for f in container.decode(container.streams.audio[0])])
    n = min(len(sound), len(source))
    assert n > 2.0 * 48_000
    a, b = (np.convolve(np.abs(x[:n]), np.ones(480) / 480, "same")[::48] for x in (sound, source))
    a, b = a - a.mean(), b - b.mean()
    lags = range(-60, 61)  # milliseconds
    best = max(lags, key=lambda k: float((np.roll(a, k) * b).sum()))
    assert abs(best) <= 20  # half a frame


def test_sections_sum_to_the_file(coded):
    with fev.open(coded) as reader:
        segments = list(reader.segments())
        sections = reader.sections()
    assert sum(sections.values()) == coded.stat().st_size
    assert sum(s.frames for s in segments) == 55
    assert all(s.motion.shape[1] == 35 and s.placement.shape[1] == 4 for s in segments)
    assert sections["motion"] and sections["identity"] and sections["set"] and sections["audio"]
    assert not sections["delta"]
    with fev.open(coded) as reader:
        assert len(reader.cast.newest(0).parts["PIVT"]) <= 2500


def test_decoding_twice_gives_the_same_pictures(coded):
    def pictures():
        with fev.open(coded) as reader:
            decoder = FrameDecoder(reader, DecodeOptions())
            return [rgb for _, rgb in decoder.frames(reader.segments())]

    assert all((a == b).all() for a, b in zip(pictures(), pictures()))


class Pipe:
    """Only read(), a few bytes at a time."""

    def __init__(self, data: bytes):
        self.file = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self.file.read(min(size, 97) if size >= 0 else 97)


def test_decodes_from_a_pipe_to_a_pipe(coded):
    out = io.BytesIO()
    report = fev.decode(Pipe(coded.read_bytes()), out, container="y4m", duration=0.4)
    assert report.frames == 10
    assert out.getvalue().startswith(b"YUV4MPEG2 W320 H320 F25:1")


def test_part_of_a_file(coded, tmp_path):
    path = tmp_path / "part.mp4"
    report = fev.decode(coded, path, start=1.0, duration=0.4)
    pts, _, _ = frames_of(path)
    assert report.frames == 10 and pts[0] == 0


def test_a_part_is_sought_where_the_file_can_seek(coded, monkeypatch):
    """Only the first segment, for the clock, and the wanted one are decoded; a pipe is read through."""
    decoded = []
    whole = Segment.from_parts.__func__
    monkeypatch.setattr(
        Segment,
        "from_parts",
        classmethod(lambda cls, parts, header: decoded.append(parts.index) or whole(cls, parts, header)),
    )
    outs = []
    for source, expected in ((coded.open("rb"), [0, 2]), (Pipe(coded.read_bytes()), [0, 1, 2])):
        outs.append(io.BytesIO())
        with getattr(source, "file", source):
            assert fev.decode(source, outs[-1], start=2.0, container="y4m").frames == 5
        assert decoded == expected
        decoded.clear()
    assert outs[0].getvalue() == outs[1].getvalue()


def test_crop_and_size(coded, tmp_path):
    path = tmp_path / "crop.mp4"
    report = fev.decode(coded, path, crop=True, size=128, duration=0.2)
    assert (report.width, report.height) == (128, 128)
    assert frames_of(path)[1][0].shape == (128, 128, 3)


@pytest.mark.parametrize(("lost", "repeated"), [(1, 25), (2, 5)])
def test_every_frame_is_there_whichever_segment_is_lost(coded, lost, repeated):
    """In the middle or at the end: the end chunk counts the frames, and the last good picture is held."""
    data = bytearray(coded.read_bytes())
    data[[i for i in range(len(data)) if data[i : i + 4] == b"SEGM"][lost] + 30] ^= 4
    out = io.BytesIO()
    report = fev.decode(io.BytesIO(bytes(data)), out, salvage=True)
    assert (report.frames, report.repeated) == (55, repeated)
    out.seek(0)
    pts, pictures, info = frames_of(out)
    assert [t * info.time_base * 25 for t in pts] == list(range(55))
    gap = slice(25 * lost, 25 * lost + repeated)
    before = pictures[25 * lost - 1].astype(int)
    assert max(np.abs(p - before).mean() for p in pictures[gap]) < 2  # the same picture through H.264


def test_lost_beginning_leaves_the_rest_in_its_place(coded):
    """Nothing can be held before the first good picture; sound and pictures keep their times."""
    data = bytearray(coded.read_bytes())
    data[data.index(b"SEGM") + 30] ^= 4
    out = io.BytesIO()
    report = fev.decode(io.BytesIO(bytes(data)), out, salvage=True)
    assert (report.frames, report.repeated, len(report.damage)) == (30, 0, 1)
    out.seek(0)
    pts, _, info = frames_of(out)
    assert pts[0] * info.time_base == 1


def test_damaged_segment_costs_one_segment(coded, tmp_path):
    data = bytearray(coded.read_bytes())
    second = [i for i in range(len(data)) if data[i : i + 4] == b"SEGM"][1]
    data[second + 30] ^= 4
    with pytest.raises(fev.FevError):
        fev.decode(io.BytesIO(bytes(data)), tmp_path / "no.mp4")
    assert not list(tmp_path.iterdir())
    report = fev.decode(io.BytesIO(bytes(data)), tmp_path / "yes.mp4", salvage=True)
    assert report.frames == 55 and report.repeated == 25 and len(report.damage) == 1
    assert not fev.verify(io.BytesIO(bytes(data))).ok
    assert fev.verify(coded).ok


def clip_with(path: Path, change, frames: int = 40) -> Path:
    pictures = [change(i, rgb) for i, rgb in enumerate(frames_of(SAMPLE, frames)[1])]
    height, width = pictures[0].shape[:2]
    with VideoWriter(path, width, height, Fraction(1, 25), Fraction(25)) as writer:
        for i, rgb in enumerate(pictures):
            writer.write(rgb, i)
    return path


def test_frames_without_a_face_are_held(tmp_path):
    blank = np.full((320, 320, 3), 90, np.uint8)
    clip = clip_with(tmp_path / "gap.mp4", lambda i, rgb: blank if 12 <= i < 20 or i >= 34 else rgb)
    report = fev.encode(clip, tmp_path / "gap.fev", preset="fast")
    assert report.frames == 40 and 10 <= report.held <= 18
    with fev.open(tmp_path / "gap.fev") as reader:
        segments = list(reader.segments())
    held = np.concatenate([s.held for s in segments])
    motion = np.concatenate([s.motion for s in segments])
    assert held[14:19].all() and held[36:].all() and not held[:11].any()
    assert (motion[15] == motion[14]).all()
    assert all((motion[i] == motion[i - 1]).all() for i in np.flatnonzero(held) if i)
    assert fev.decode(tmp_path / "gap.fev", tmp_path / "gap.mp4.out.mp4").frames == 40


def test_face_that_comes_late(tmp_path):
    blank = np.full((320, 320, 3), 90, np.uint8)
    clip = clip_with(tmp_path / "late.mp4", lambda i, rgb: blank if i < 6 else rgb)
    report = fev.encode(clip, tmp_path / "late.fev", preset="fast")
    assert report.frames == 40 and report.held == 6


def test_no_face_at_all_is_an_error_that_names_frames(tmp_path):
    blank = np.full((320, 320, 3), 90, np.uint8)
    clip = clip_with(tmp_path / "none.mp4", lambda i, rgb: blank, frames=12)
    with pytest.raises(fev.FevError, match=r"no face found in any of 12 frames \(frames 0 to 2"):
        fev.encode(clip, tmp_path / "none.fev", preset="fast")
    assert not (tmp_path / "none.fev").exists()


def test_crop_codes_the_square_alone(tmp_path):
    report = fev.encode(SAMPLE, tmp_path / "c.fev", preset="fast", crop=True, audio=False, duration=0.4)
    assert (report.frames, report.width, report.height) == (10, 256, 256)
    with fev.open(tmp_path / "c.fev") as reader:
        assert all(s.placement is None and not s.audio for s in reader.segments())
        sections = reader.sections()
    assert not sections["set"] and not sections["placement"] and not sections["audio"]
    back = fev.decode(tmp_path / "c.fev", tmp_path / "c.mp4")
    assert (back.frames, back.width, back.height) == (10, 256, 256)


def test_encoding_twice_gives_the_same_bytes():
    files = [io.BytesIO(), io.BytesIO()]
    for file in files:
        fev.encode(SAMPLE, file, preset="fast", duration=0.4)
    assert files[0].getvalue() == files[1].getvalue()


def test_wrong_values_are_fev_errors_and_leave_nothing(coded, tmp_path):
    for options in ({"duration": 0}, {"start": -1}, {"device": "toaster"}, {"model": "none-512"}):
        with pytest.raises(fev.FevError):
            fev.encode(SAMPLE, tmp_path / "x.fev", **{"preset": "fast", **options})
    for options in ({"size": 1}, {"container": "avi"}, {"device": "toaster"}, {"colour": "red"}, {"start": 60}):
        with pytest.raises(fev.FevError):
            fev.decode(coded, tmp_path / "x.mp4", **options)
    assert not list(tmp_path.iterdir())


def test_unknown_option_is_named(tmp_path):
    with pytest.raises(fev.FevError, match="'colour'"):
        fev.encode(SAMPLE, tmp_path / "x.fev", colour="red")
    with pytest.raises(fev.FevError, match="preset"):
        fev.encode(SAMPLE, tmp_path / "x.fev", preset="best")


@pytest.mark.slow
def test_medium_keeps_its_budget_and_beats_fast(tmp_path):
    from fev.tools.demo import read, score

    budget = 6000
    fev.encode(SAMPLE, tmp_path / "m.fev", preset="medium", duration=1.6, identity_budget=budget)
    fev.encode(SAMPLE, tmp_path / "f.fev", preset="fast", duration=1.6)
    with fev.open(tmp_path / "m.fev") as reader:
        list(reader.segments())
        sections = reader.sections()
    assert 0 < sections["identity"] + sections["delta"] + sections["modes"] <= budget
    clip_with(tmp_path / "source.mp4", lambda i, rgb: rgb)
    scores = []
    for name in ("m", "f"):
        fev.decode(tmp_path / f"{name}.fev", tmp_path / f"{name}.mp4")
        scores.append(score(read(tmp_path / "source.mp4"), read(tmp_path / f"{name}.mp4"))[0])
    assert scores[0] > scores[1]


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["fast", "slow"])
def test_without_a_pivot_no_picture_is_sent(tmp_path, preset):
    """All of the appearance is weights and modes then; `slow` fits both."""
    path, budget = tmp_path / "c.fev", 6000
    encode_quickly(
        SAMPLE, path, preset=preset, pivot=False, crop=True, audio=False, duration=0.4, identity_budget=budget
    )
    with fev.open(path) as reader:
        assert len(list(reader.segments())) == 1 and reader.who().pivot is None
        assert bool(reader.who().delta) == (reader.who().modes is not None) == (preset == "slow")
        sections = reader.sections()
    assert sections["identity"] + sections["delta"] + sections["modes"] <= budget
    assert fev.decode(path, tmp_path / "c.mp4").frames == 10


def test_a_receiver_can_join_where_the_setup_is_repeated():
    out = io.BytesIO()
    fev.encode(SAMPLE, out, preset="fast", crop=True, audio=False, duration=1.6, segment=0.4, repeat=0.8)
    data = out.getvalue()
    heads = [i for i in range(len(data)) if data[i : i + 6] == b"\xf5\xedHEAD"]
    assert len(heads) == 2
    late = io.BytesIO()
    report = fev.decode(io.BytesIO(data[heads[1] :]), late, salvage=True, container="y4m")
    assert report.frames == 20


@pytest.mark.parametrize("wrong", [{"segment": 0.05}, {"segment": 11}, {"repeat": 0}, {"repeat": 1e9}])
def test_impossible_lengths_are_refused(tmp_path, wrong):
    with pytest.raises(fev.FevError):
        fev.encode(SAMPLE, tmp_path / "no.fev", preset="fast", **wrong)


def test_coarse_pictures_are_near_the_shrunk_ones(coded):
    """Square and full frame: drawn at the size itself, within what drawing at a smaller size costs."""
    for crop in (True, False):
        with fev.open(coded) as reader:
            segment = next(reader.segments())
            decoders = [FrameDecoder(reader, DecodeOptions(crop=crop, size=128, coarse=c)) for c in (False, True)]
            one, other = (next(d.pictures(segment, np.arange(1)))[1] for d in decoders)
        assert one.shape == other.shape and max(one.shape) == 128
        error = np.square(one.astype(float) - other).mean()
        assert 0 < 10 * np.log10(255**2 / error) and 10 * np.log10(255**2 / error) > 32
