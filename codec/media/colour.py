"""Colour: between the YUV pictures of a video stream and 8-bit RGB arrays.

`fev.codec.media.video` reads with it, `fev.codec.media.mux` and `fev.codec.media.still` write with
it.

Nothing here is left to a library's default.  An untagged stream, a wrong guess of the matrix or a
forgotten range is an error of 10 to 20 grey levels that no later stage can repair, so matrix and
range are always named, on the way in and on the way out.
"""

from __future__ import annotations

from dataclasses import dataclass

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from ...format.errors import MediaError

# Code points of ISO/IEC 23091-2 (the same numbers in H.264, HEVC, AV1 and MP4).
RGB, BT709, UNSPECIFIED, RESERVED, FCC, BT470BG, BT601, SMPTE240M = range(8)
BT2020 = (9, 10)
HDR = {16: "PQ", 18: "HLG"}
HD_HEIGHT = 720  # untagged video of at least this height is taken as BT.709, below it as BT.601

# Bilinear, full chroma interpolation on both sides and exact rounding: the fast paths of swscale
# are off by up to 2 levels, this one stays within one.  BITEXACT gives the same on every processor.
EXACT = 0x2000 | 0x4000 | 0x40000 | 0x80000
SCALER = 0x2 | EXACT
RESCALER = 0x4 | EXACT  # bicubic, where the size changes: pixels made square stay sharp

_TO_SWS = {
    BT709: Colorspace.ITU709,
    FCC: Colorspace.FCC,
    BT470BG: Colorspace.ITU601,
    BT601: Colorspace.ITU601,
    SMPTE240M: Colorspace.SMPTE240M,
    RGB: Colorspace.ITU709,  # no matrix is applied to RGB; swscale wants a name all the same
}


@dataclass(frozen=True)
class Colour:
    """How YUV numbers are meant: matrix (ISO/IEC 23091-2 code point) and full or limited range."""

    matrix: int = BT709
    full_range: bool = False


def default_colour(height: int) -> Colour:
    """What readers assume of video that says nothing: BT.709 from 720 lines on, else BT.601;
    limited range.
    """
    return Colour(BT709 if height >= HD_HEIGHT else BT601, False)


def colour_of(frame: av.VideoFrame) -> Colour:
    """Matrix and range of a decoded frame; MediaError for HDR and for matrices that are not
    supported.
    """
    matrix, transfer, primaries = int(frame.colorspace), int(frame.color_trc), int(frame.color_primaries)
    if transfer in HDR:
        raise MediaError(f"HDR video ({HDR[transfer]}) is not supported; convert it to BT.709 first")
    if matrix in BT2020 or primaries == BT2020[0]:
        raise MediaError("BT.2020 (wide gamut) video is not supported; convert it to BT.709 first")
    if frame.format.is_rgb:
        return Colour(RGB, True)
    if matrix in (RGB, UNSPECIFIED, RESERVED):
        matrix = default_colour(frame.height).matrix
    if matrix not in _TO_SWS:
        raise MediaError(f"colour matrix {matrix} is not supported; convert the video to BT.709 first")
    # The yuvj formats are full range by definition, whatever the tag says.
    full = int(frame.color_range) == ColorRange.JPEG or frame.format.name.startswith("yuvj")
    return Colour(matrix, full)


def to_rgb(frame: av.VideoFrame, colour: Colour, width: int | None = None, height: int | None = None) -> np.ndarray:
    """Frame -> uint8 RGB array (height, width, 3), contiguous.  width and height rescale when
    given.
    """
    space = _TO_SWS[colour.matrix]
    rgb = frame.reformat(
        width=width,
        height=height,
        format="rgb24",
        interpolation=SCALER if width is None else RESCALER,
        src_colorspace=space,
        dst_colorspace=space,
        src_color_range=ColorRange.JPEG if colour.full_range else ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
    )
    return np.ascontiguousarray(rgb.to_ndarray())


def is_clear(frame: av.VideoFrame) -> bool:
    """Something in a frame that has transparency is transparent."""
    return bool(frame.reformat(format="rgba").to_ndarray()[..., 3].min() < 255)


def from_rgb(
    rgb: np.ndarray, pixel_format: str, colour: Colour, width: int | None = None, height: int | None = None
) -> av.VideoFrame:
    """uint8 RGB array (height, width, 3) -> frame in `pixel_format` (yuv420p, yuv444p), tagged with
    `colour`.  width and height rescale when given.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
        raise ValueError(f"a uint8 array (height, width, 3) expected, got {rgb.dtype} {rgb.shape}")
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
    space = _TO_SWS[colour.matrix]
    out = frame.reformat(
        width=width,
        height=height,
        format=pixel_format,
        interpolation=SCALER if width is None else RESCALER,
        src_colorspace=space,
        dst_colorspace=space,
        src_color_range=ColorRange.JPEG,
        dst_color_range=ColorRange.JPEG if colour.full_range else ColorRange.MPEG,
    )
    tag(out, colour)
    return out


def tag(target: av.VideoFrame | av.VideoCodecContext, colour: Colour) -> None:
    """Write matrix, primaries, transfer and range on a frame or an encoder's context.

    Primaries and transfer are those of BT.709 for every matrix: the pictures are display RGB, and
    only the way to YUV and back differs.
    """
    target.colorspace = colour.matrix
    target.color_range = ColorRange.JPEG if colour.full_range else ColorRange.MPEG
    target.color_primaries = BT709
    target.color_trc = BT709


def planes(frame: av.VideoFrame) -> list[np.ndarray]:
    """The planes of an 8-bit planar frame without their line padding, each uint8 (plane height,
    plane width).
    """
    out = []
    for plane in frame.planes:
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        out.append(rows[: plane.height, : plane.width])
    return out
