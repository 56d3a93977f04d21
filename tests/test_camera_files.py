"""Files of clips whose camera moves: what is sent, and that the decoder shows what the camera saw."""

from __future__ import annotations

import io
from fractions import Fraction

import numpy as np
import pytest
from efforts import encode_quickly
from fev.codec.decoder import DecodeOptions, FrameDecoder
from fev.codec.encode.judging import Judging
from fev.codec.face.keypicture import Similarity
from fev.codec.media.mux import VideoWriter
from fev.format import Reader
from worlds import HEIGHT, WIDTH, shaken, texture, view, with_person

MIDDLE = np.array([160.0, 130, 60, 0])


def written(path, cameras):
    """A clip of somebody before a world."""
    world = texture(1600, 900)
    pictures = [with_person(view(world, at), k, MIDDLE) for k, at in enumerate(cameras)]
    with VideoWriter(path, WIDTH, HEIGHT, Fraction(1, 25), Fraction(25)) as writer:
        for k, picture in enumerate(pictures):
            writer.write(picture, k)
    return pictures


def encoded(path, cameras, **options):
    """The clip's pictures, the file's segments, its sets, and what is drawn."""
    pictures, out = written(path, cameras), io.BytesIO()
    report = encode_quickly(path, out, audio=False, **options)
    data = out.getvalue()
    segments = list(Reader(io.BytesIO(data)).segments())
    decoder = FrameDecoder(Reader(io.BytesIO(data)), DecodeOptions())
    drawn = [picture for _, picture in decoder.frames(decoder.reader.segments())]
    return report, pictures, segments, drawn


def off(pictures, drawn) -> list[float]:
    """How far the pictures are off beside the head and above the shoulders."""
    return [
        float(np.abs(p[:140].astype(int) - d[:140])[:, np.r_[0:90, 230:WIDTH]].mean())
        for p, d in zip(pictures, drawn, strict=True)
    ]


@pytest.mark.parametrize("preset", ["fast", "medium"])
def test_a_shaken_clip_is_shown_as_it_shook(preset, tmp_path, monkeypatch):
    monkeypatch.setattr(Judging, "videos", lambda self: ({}, None))  # hardly fitted, video would be nearer
    report, pictures, segments, drawn = encoded(tmp_path / "a.mp4", shaken(40), preset=preset)
    assert report.notices["camera"] > 30 and report.sets == 1
    assert all(s.camera is not None for s in segments)
    still = [np.median(pictures, 0)] * len(pictures)
    assert np.mean(off(pictures, drawn)) < 0.5 * np.mean(off(pictures, still))


def test_a_still_camera_costs_nothing(tmp_path):
    report, _, segments, _ = encoded(tmp_path / "a.mp4", [Similarity()] * 24, preset="fast")
    assert "camera" not in report.notices and all(s.camera is None for s in segments)


def test_a_set_that_the_camera_leaves_is_followed_by_a_larger_one(tmp_path):
    path = [Similarity(complex(-3.0 * k, 0)) for k in range(110)]
    report, pictures, segments, drawn = encoded(tmp_path / "a.mp4", path, preset="fast", segment=0.4)
    on = [s.on_set for s in segments]
    assert report.sets > 1 and on == sorted(on) and on[-1] == report.sets - 1
    errors = off(pictures, drawn)
    assert np.mean(errors[-20:]) < 2.5 * np.mean(errors[:20]), errors
