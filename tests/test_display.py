"""Pictures come as they are meant to be shown: eight ways to turn and mirror, and square pixels."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np
import pytest
from clips import corner_frame, corners, write_clip
from fev.codec.media.display import squared
from fev.codec.media.notices import Notices
from fev.codec.media.video import open_video

ONE = 1 << 16
TAGS = {"colorspace": 1, "color_range": 1}


def shown(matrix, width, height):
    """Where a display matrix puts the corners of `corners`, by its definition x' = a x + c y, y' = b x + d y."""
    a, b, c, d = (v // ONE for v in (matrix[0], matrix[1], matrix[3], matrix[4]))
    stored = corners(width, height)
    wide, high = (width, height) if a else (height, width)
    out = np.zeros((high, wide, 3), np.uint8)
    for x in (0, width - 1):  # the pixels at the corners, about the middle
        for y in (0, height - 1):
            u, v = 2 * x - width + 1, 2 * y - height + 1
            out[(b * u + d * v + high - 1) // 2, (a * u + c * v + wide - 1) // 2] = stored[y, x]
    return out


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("first", [1, -1])
@pytest.mark.parametrize("second", [1, -1])
def test_every_turn_and_mirror(tmp_path, transpose, first, second):
    four = [0, first * ONE, second * ONE, 0] if transpose else [first * ONE, 0, 0, second * ONE]
    matrix = [four[0], four[1], 0, four[2], four[3], 0, 0, 0, 1 << 30]
    src = write_clip(tmp_path / "in.mp4", [(0, corner_frame(96, 64))], tags=TAGS, matrix=matrix)
    with open_video(src) as reader:
        ((frame),) = list(reader)
        info = reader.info
    expected = shown(matrix, 96, 64)
    assert (info.height, info.width) == frame.rgb.shape[:2] == expected.shape[:2]
    for y in (0, -1):
        for x in (0, -1):
            assert np.abs(frame.rgb[y, x].astype(int) - expected[y, x]).max() <= 6, (matrix, y, x)
    turned = np.rot90(corners(96, 64), info.rotation // 90)
    assert np.abs(frame.rgb.astype(int) - (turned[:, ::-1] if info.mirrored else turned))[::31, ::31].max() <= 6


def anamorphic(path, width, height, aspect, container="mp4"):
    with av.open(str(path), "w", format=container) as out:
        stream = out.add_stream("libx264", rate=25, options={"qp": "0", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv444p"
        stream.codec_context.sample_aspect_ratio = aspect
        frame = corner_frame(width, height)
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("aspect", "size"),
    [
        (Fraction(64, 45), (142, 80)),
        (Fraction(8, 9), (100, 90)),
        (Fraction(1), (100, 80)),
        (Fraction(1001, 1000), (100, 80)),
    ],
)
@pytest.mark.parametrize("container", ["mp4", "matroska"])
def test_pixels_become_square(tmp_path, aspect, size, container):
    notices = Notices()
    with open_video(anamorphic(tmp_path / "in", 100, 80, aspect, container), notices=notices) as reader:
        ((frame),) = list(reader)
        assert (reader.info.width, reader.info.height) == size == frame.rgb.shape[1::-1]
        assert float(reader.info.pixel_aspect) == pytest.approx(float(aspect), rel=1e-3)
    assert bool(notices["squared"]) == (size != (100, 80))
    middle = frame.rgb[10, size[0] // 2 - 8], frame.rgb[10, size[0] // 2 + 8]
    assert (
        min(middle[0][0], middle[1][1]) > 200 and max(middle[0][1], middle[1][0]) < 40
    )  # red and green still meet in the middle


def test_turned_and_oblong(tmp_path):
    """The pixel's shape is that of the stored picture."""
    path = anamorphic(tmp_path / "in.mp4", 96, 64, Fraction(2))
    data = bytearray(path.read_bytes())
    at = data.find(b"tkhd") + 4 + 4 + 16 + 4 + 16  # the matrix of the track
    for k, value in enumerate((0, ONE, 0, -ONE, 0, 0, 0, 0, 1 << 30)):
        data[at + 4 * k : at + 4 * k + 4] = value.to_bytes(4, "big", signed=True)
    with open_video(io.BytesIO(data)) as reader:
        assert (reader.info.width, reader.info.height) == (64, 192)


def test_odd_shapes():
    assert squared(720, 576, Fraction(64, 45)) == (1024, 576)
    assert squared(721, 577, Fraction(16, 15)) == (769, 577)
    assert squared(720, 576, None) == squared(720, 576, Fraction(0)) == squared(720, 576, Fraction(1, 99)) == (720, 576)


def test_a_stream_that_changes_its_size_keeps_the_first(tmp_path):
    out = io.BytesIO()
    for i, (width, height) in enumerate([(96, 64), (128, 96)]):
        part = write_clip(tmp_path / f"{i}.ts", [(3600 * k, corner_frame(width, height)) for k in range(5)],
                          container="mpegts", options={"qp": "0", "preset": "ultrafast"})  # fmt: skip
        out.write(part.read_bytes())
    notices = Notices()
    with open_video(io.BytesIO(out.getvalue()), notices=notices) as reader:
        shapes = [f.rgb.shape for f in reader]
    assert shapes == [(64, 96, 3)] * 10 and notices.as_dict() == {"jumps": 1, "resized": 5}


@pytest.mark.parametrize("codec", ["qtrle", "gif"])
def test_transparency_is_said(tmp_path, codec):
    path = tmp_path / "in"
    with av.open(str(path), "w", format="gif" if codec == "gif" else "mov") as out:
        stream = out.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "rgb8" if codec == "gif" else "argb"
        frame = av.VideoFrame.from_ndarray(np.full((64, 64, 4), 128, np.uint8), format="argb")
        frame = frame.reformat(format=stream.pix_fmt)
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    notices = Notices()
    with open_video(path, notices=notices) as reader:
        assert len(list(reader)) == 1
    assert notices.as_dict() == ({} if codec == "gif" else {"alpha": 1})
