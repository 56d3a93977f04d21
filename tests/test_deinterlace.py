"""Fields become pictures: no comb is left, no frame lost, and it is said."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np
import pytest
from fev.codec.media.notices import Notices
from fev.codec.media.video import open_video

COUNT = 12


def bar(at: int) -> np.ndarray:
    """A white bar that stands at column `at`."""
    picture = np.full((96, 160, 3), 20, np.uint8)
    picture[:, at : at + 24] = 235
    return picture


def fields(codec: str, container: str, flagged: bool = True, plain: int = 0) -> bytes:
    """A bar that moves by 5 columns a field; the first `plain` frames are not interlaced."""
    out = io.BytesIO()
    with av.open(out, "w", format=container) as film:
        interlaced = {"flags": "+ildct+ilme"} if codec == "mpeg2video" else {"x264-params": "interlaced=1"}
        extra = {"qscale": "2"} if codec == "mpeg2video" else {"qp": "4", "preset": "ultrafast"}
        stream = film.add_stream(codec, rate=25, options={**extra, **(interlaced if flagged else {})})
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        for i in range(COUNT):
            picture = bar(10 * i)
            if i >= plain:
                picture[::2] = bar(10 * i + 5)[::2]  # a frame that says nothing has its bottom field first
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = i, Fraction(1, 25)
            film.mux(stream.encode(frame))
        film.mux(stream.encode(None))
    return out.getvalue()


def comb(rgb: np.ndarray) -> float:
    """How much every second line differs from both its neighbours, less what a line differs from the next but one."""
    light = rgb.astype(float).mean(2)
    return float(np.abs(light[1:-1] - (light[:-2] + light[2:]) / 2).mean())


@pytest.mark.parametrize(("codec", "container"), [("mpeg2video", "mpeg"), ("libx264", "mp4"), ("libx264", "mpegts")])
def test_interlaced_frames_are_deinterlaced(codec, container):
    notices = Notices()
    with open_video(io.BytesIO(fields(codec, container)), notices=notices) as reader:
        assert reader.info.fps == 25
        frames = list(reader)
        steps = {(b.pts - a.pts) * reader.info.time_base for a, b in zip(frames, frames[1:])}
    assert len(frames) == COUNT and steps == {Fraction(1, 25)}
    assert notices.as_dict() == {"deinterlaced": COUNT}
    assert max(comb(f.rgb) for f in frames) < 2.5
    for i, frame in enumerate(frames):  # the first field's moment is the picture's
        centre = (frame.rgb.astype(float).mean((0, 2)) - 20).clip(0) @ np.arange(160)
        centre /= (frame.rgb.astype(float).mean((0, 2)) - 20).clip(0).sum()
        assert abs(centre - (10 * i + 11.5)) < 4


def test_progressive_frames_are_left_alone():
    notices = Notices()
    with open_video(io.BytesIO(fields("libx264", "mp4", flagged=False)), notices=notices) as reader:
        frames = list(reader)
    assert notices.as_dict() == {} and comb(frames[4].rgb) > 4  # what is not flagged is not looked for


def test_one_interlaced_frame():
    data = fields("mpeg2video", "mpeg")
    notices = Notices()
    with open_video(io.BytesIO(data), 0.2, 0.04, notices=notices) as reader:
        assert len(list(reader)) == 1
    assert notices.as_dict() == {"deinterlaced": 1}  # not those on the way to it
