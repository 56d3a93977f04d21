"""fev-rd's squares and codecs: no loss where there must be none, and every byte accounted for."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from fev.codec.media.mux import VideoWriter
from fev.codec.media.video import open_video
from fev.codec.media.videoinfo import VideoInfo
from fev.format.errors import FevError, MediaError
from fev.tools.report import classic, ours, panels, square

FPS = Fraction(10)


def moving(count: int = 20, size: int = 64) -> list[np.ndarray]:
    y, x = np.mgrid[0:size, 0:size]
    rng = np.random.default_rng(0)
    grain = rng.integers(0, 40, (size, size))
    return [
        np.stack([128 + 80 * np.sin((x + 2 * i) / 6), 90 + grain, 128 + 60 * np.cos((y - i) / 9)], 2).astype(np.uint8)
        for i in range(count)
    ]


def info(time_base: Fraction, fps: Fraction, size: int = 64) -> VideoInfo:
    return VideoInfo(size, size, fps, time_base, 0, None, None, 0, 1, False, None)


def test_a_square_is_kept_without_loss_and_with_its_times(tmp_path):
    rng = np.random.default_rng(1)
    frames = [rng.integers(0, 256, (64, 64, 3), np.uint8) for _ in range(5)]
    times = [7, 3010, 6013, 9020, 12020]  # a variable rate
    with square.SquareWriter(tmp_path / "s.mp4", 64, info(Fraction(1, 90000), Fraction(30000, 1001))) as writer:
        for pts, rgb in zip(times, frames):
            writer.write(rgb, pts)
    made = writer.square("clip", about="here")
    with open_video(tmp_path / "s.mp4") as video:
        back = list(video)
    assert [f.pts for f in back] == [t - 7 for t in times]
    assert all((f.rgb == b).all() for f, b in zip(back, frames))
    assert (made.frames, made.fps, made.about) == (5, (30000, 1001), "here")
    assert made.duration_s == pytest.approx((12020 - 7) / 90000 + 1001 / 30000)
    square.remember(tmp_path / "s.json", [made])
    assert square.recall(tmp_path / "s.json") == [made]
    (tmp_path / "s.mp4").unlink()
    assert square.recall(tmp_path / "s.json") is None


def test_one_frame_is_too_few(tmp_path):
    with square.SquareWriter(tmp_path / "s.mp4", 64, info(Fraction(1, 25), Fraction(25))) as writer:
        writer.write(moving(1)[0], 0)
    with pytest.raises(MediaError, match="1 frames can be measured"):
        writer.square("clip")


def coded(name: str, point: str, gop: str = "single", frames=None):
    return classic.encode(name, point, gop, "fast", frames or moving(), FPS)


@pytest.mark.parametrize("name", classic.CODECS)
def test_each_codec_from_its_lowest_rate_up(name):
    assert classic.missing(name) is None
    ladder = classic.CODECS[name].ladder
    low, high = (coded(name, point) for point in (ladder[0], ladder[-1]))
    errors = []
    for made in (low, high):
        assert made.bytes + made.container == len(made.stream) and 0 < made.once < made.bytes < len(made.stream)
        back = list(square.frames_of(io.BytesIO(made.stream)))
        assert len(back) == 20 and back[0].shape == (64, 64, 3) and made.key_frames == 1
        errors.append(np.mean([np.abs(a.astype(int) - b).mean() for a, b in zip(back, moving())]))
    assert low.bytes < high.bytes and errors[0] > errors[1]


@pytest.mark.parametrize("name", classic.CODECS)
def test_a_key_frame_every_second(name):
    made = coded(name, classic.CODECS[name].ladder[-2], "1s")
    assert made.key_frames == 2
    assert made.once < 150  # parameter sets
    single = coded(name, classic.CODECS[name].ladder[-2])
    assert single.key_frames == 1 and single.once > made.once


def test_the_bytes_are_the_packets_of_the_file():
    """By another demuxing: what the file's packets hold, with AV1's and VP9's as they are and x264 without its text."""
    for name in ("svtav1", "vp9"):
        made = coded(name, classic.CODECS[name].ladder[2])
        with av.open(io.BytesIO(made.stream)) as container:
            assert made.bytes == sum(p.size for p in container.demux(video=0))
    made = coded("x264", "crf39")
    with av.open(io.BytesIO(made.stream)) as container:
        packets = [bytes(p) for p in container.demux(video=0) if p.size]
        sets = len(container.streams.video[0].codec_context.extradata)
    # the text is one NAL unit of the first packet, with its length before it; MP4's record of the sets has a few more
    text = 4 + int.from_bytes(packets[0][:4], "big")
    assert b"x264 - core" in packets[0][:text] and b"x264 - core" not in packets[0][text:]
    assert 0 <= sum(map(len, packets)) - text + sets - made.bytes < 16


def test_colour_comes_back():
    flat = [np.full((64, 64, 3), (200, 60, 30), np.uint8)] * 3
    for name in classic.CODECS:
        back = list(square.frames_of(io.BytesIO(coded(name, classic.CODECS[name].ladder[-1], frames=flat).stream)))
        assert np.abs(back[1].astype(int) - flat[0]).max() <= 3, name
    assert np.abs(ours.seen(flat[0]).astype(int) - flat[0]).max() <= 2


def test_points_of_a_ladder():
    ladder = classic.CODECS["x264"].ladder
    assert classic.points("x264", 8) == classic.points("x264", 99) == ladder
    assert classic.points("x264", 2) == (ladder[0], ladder[-1]) and classic.points("x264", 1) == ladder[:1]
    few = classic.points("vp9", 4)
    assert len(few) == 4 and few[0] == "q63" and few[-1] == "crf33"


def test_what_an_encoder_refuses_is_one_line():
    with pytest.raises(FevError, match=r"HEVC \(x265\) at crf51"):
        coded("x265", "crf51", frames=[np.zeros((2, 2, 3), np.uint8)] * 2)


def test_panels(tmp_path):
    """Four panels of one colour each, with a white label; the label is grey after, everything else as it was."""
    colours = [(200, 40, 40), (40, 160, 40), (50, 60, 200), (120, 120, 30)]
    frame = np.concatenate([np.full((128, 128, 3), c, np.uint8) for c in colours], 1)
    frame[:7, [x + 128 * k for k in range(4) for x in range(28)]] = 255
    with VideoWriter(tmp_path / "four.mp4", 512, 128, Fraction(1, 25), Fraction(25), crf=8) as writer:
        for i in range(3):
            writer.write(frame, i)
    paths = [tmp_path / f"{k}.mp4" for k in range(4)]
    made = panels.cut_panels(str(tmp_path / "four.mp4"), paths, panels.NAMES, 64)
    assert [s.name for s in made] == ["four", *panels.NAMES] and {s.frames for s in made} == {3}
    for s, colour in zip(made, colours):
        picture = next(square.frames_of(s.path)).astype(int)
        inside = np.abs(picture - colour)[:, 2:-2]  # 4:2:0 lets the next panel's colour in at the edges
        assert inside[8:].max() <= 3 and inside[:, 18:].max() <= 3
        assert np.abs(picture[:3, :13] - 128).max() == 0
    with pytest.raises(MediaError, match="512x128 is not 3 squares in a row"):
        panels.cut_panels(str(tmp_path / "four.mp4"), paths[:3], ("a", "b"), 64)
    assert Path(made[0].path).is_file()
