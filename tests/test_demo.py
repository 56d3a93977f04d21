"""The demo: the same pictures for all codecs, at no more bytes than fev's, and a sheet to look at."""

from __future__ import annotations

import json
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from efforts import quick
from fev.codec import encoder
from fev.codec.media.video import open_video
from fev.tools import demo
from PIL import Image


def moving(width: int, height: int, frames: int) -> list[np.ndarray]:
    y, x = np.mgrid[0:height, 0:width]
    return [np.stack([x + 5 * i, y * 2, 90 + 60 * np.sin((x + y) / 9 + i)], 2).astype(np.uint8) for i in range(frames)]


def test_the_finest_that_fits_is_found():
    tried = []

    def size(quantiser: int) -> int:
        tried.append(quantiser)
        return 1000 - 10 * quantiser

    for most, wanted in ((1000, 20), (555, 45), (550, 45), (480, 52)):
        assert demo.largest(size, range(20, 53), most) == (wanted, False)
    assert demo.largest(size, range(20, 53), 479) == (52, True)
    assert len(tried) < 40


@pytest.mark.parametrize("name", ["x264", "svtav1"])
def test_a_rival_takes_no_more_bytes_or_its_least(name, monkeypatch):
    monkeypatch.setitem(demo.RIVALS, name, range(30, 52, 7))
    frames = moving(96, 64, 12)
    some = demo.rival(name, frames, Fraction(25), 3000)
    none = demo.rival(name, frames, Fraction(25), 10)
    assert some.bytes <= 3000 and not some.lowest and none.lowest and none.bytes > 10
    assert len(some.frames) == len(frames) and some.psnr > none.psnr - 1e-6 and 0 < some.ssim <= 1
    assert "no lower" in none.line() and "no lower" not in some.line()


def test_a_large_clip_is_made_smaller_for_all(tmp_path, monkeypatch):
    from fev.codec.media.mux import VideoWriter

    monkeypatch.setattr(demo, "MOST_SIDE", 100)
    with VideoWriter(tmp_path / "in.mp4", 300, 200, Fraction(1, 25), Fraction(25)) as writer:
        for i, rgb in enumerate(moving(300, 200, 10)):
            writer.write(rgb, i)
    frames, fps = demo.prepare(tmp_path / "in.mp4", tmp_path / "clip.mp4", 0.2)
    assert (len(frames), fps, frames[0].shape) == (5, 25, (66, 100, 3))
    with open_video(tmp_path / "clip.mp4") as video:
        assert (video.info.width, video.info.height) == (100, 66)


def test_the_sheet_has_a_row_a_codec():
    rows = [("source", moving(64, 48, 20)), ("fev", moving(64, 48, 20))]
    assert demo.sheet(rows).shape == (2 * (48 + demo.LABEL), 6 * 64, 3)
    assert demo.sheet([("one", moving(64, 48, 1))]).shape == (48 + demo.LABEL, 64, 3)


@pytest.mark.slow
def test_the_whole_demo(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(encoder, "encode", partial(encoder.encode, effort=quick()))
    assert demo.work(["--duration", "0.6", "--bitrate", "24", "--out", str(tmp_path / "demo"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [row["title"] for row in report["codecs"]] == ["fev", "AV1", "H.264"]
    fev, *rivals = report["codecs"]
    assert fev["kbps"] <= 24 and sum(report["sections"].values()) == fev["bytes"]
    assert all(row["bytes"] <= fev["bytes"] or row["lowest"] for row in rivals)
    sheet = np.asarray(Image.open(tmp_path / "demo" / "side_by_side.png"))
    assert sheet.shape == (4 * (320 + demo.LABEL), 6 * 320, 3)
    with open_video(tmp_path / "demo" / "side_by_side.mp4") as video:
        assert (video.info.width, len(list(video))) == (4 * 320, 15)
