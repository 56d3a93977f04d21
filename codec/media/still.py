"""One picture, the background plate or the pivot, as an AV1 intra frame (a bare temporal unit, no
container) and back.

`fev.format.still` carries the bytes.
"""

from __future__ import annotations

import os
from fractions import Fraction
from typing import Any

# The encoder prints a banner to stderr unless told otherwise before its first use.
os.environ.setdefault("SVT_LOG", "1")

import av
import numpy as np

from ...format.errors import DamagedError, LimitError, MediaError
from .colour import BT709, Colour, colour_of, from_rgb, to_rgb
from .priority import usual_priority

COLOUR = Colour(BT709, False)  # limited: swscale rounds chroma down on its way to full range, half a level of tint
MIN_CODED = 64  # the encoder's smallest side; smaller pictures are padded
MAX_SIDE = 8192
MAX_CRF = 63


def encode_still(rgb: np.ndarray, quality: float = 50, thorough: bool = False) -> bytes:
    """Code one picture.

    Args:
        rgb: uint8 (height, width, 3), any size up to MAX_SIDE; padded to even sides by repeating
            the edge, so the decoder must be told the true size.
        quality: 0 (smallest) to 100 (best).
        thorough: search for longer; 0.3 dB at 2 KB and 256x256, six times the time.

    Returns:
        The AV1 temporal unit: sequence header and one key frame, 8-bit 4:2:0, tagged `COLOUR`.
    """
    height, width = rgb.shape[:2]
    if max(height, width) > MAX_SIDE or min(height, width) < 1:
        raise LimitError(f"a still of {width}x{height} pixels is beyond the limit of {MAX_SIDE} a side")
    if not 0 <= quality <= 100:
        raise ValueError(f"quality {quality} is not within 0..100")
    rows, columns = _coded(height), _coded(width)
    padded = np.pad(rgb, ((0, rows - height), (0, columns - width), (0, 0)), mode="edge")
    try:
        encoder = av.CodecContext.create("libsvtav1", "w")
        encoder.width, encoder.height, encoder.pix_fmt = columns, rows, "yuv420p"
        encoder.time_base, encoder.framerate = Fraction(1, 25), Fraction(25)
        crf = round((100 - quality) / 100 * MAX_CRF)
        preset = "0" if thorough else "4"
        encoder.options = {"preset": preset, "crf": str(max(1, crf)), "svtav1-params": "avif=1:lp=1:enable-overlays=0"}
        frame = from_rgb(padded, "yuv420p", COLOUR)
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        encoder.colorspace, encoder.color_range = frame.colorspace, frame.color_range
        encoder.color_primaries, encoder.color_trc = frame.color_primaries, frame.color_trc
        with usual_priority():
            encoder.open()
        packets = encoder.encode(frame) + encoder.encode(None)
    except (av.FFmpegError, ValueError, OSError) as error:
        raise MediaError(f"a still cannot be coded: {error}") from error
    return b"".join(bytes(p) for p in packets)


def decode_still(data: bytes, width: int | None = None, height: int | None = None) -> np.ndarray:
    """Decode one picture to uint8 (height, width, 3).

    width and height are the true size, at most the coded one; without them the padded picture is
    returned.

    Raises:
        DamagedError: if the bytes are no AV1 picture.
        LimitError: if it is too large.
    """
    if max(width or 0, height or 0) > MAX_SIDE:
        raise LimitError(f"a still of {width}x{height} pixels is beyond the limit of {MAX_SIDE} a side")
    most = _coded(width) * _coded(height) if width and height else MAX_SIDE * MAX_SIDE
    try:
        decoder: Any = av.CodecContext.create("libdav1d", "r")
        decoder.thread_count = 1
        decoder.options = {"max_pixels": str(most + 1)}
        frames = decoder.decode(av.Packet(data)) if data else []
        frames = frames or decoder.decode(None)
    except (av.FFmpegError, ValueError, EOFError, OSError) as error:
        raise DamagedError(f"a still is no AV1 picture: {error}") from error
    if not frames:
        raise DamagedError("a still holds no picture")
    frame = frames[0]
    fits = all(not true or true <= got <= _coded(true) for true, got in ((width, frame.width), (height, frame.height)))
    if not fits:
        raise DamagedError(f"a still is {frame.width}x{frame.height}, {width}x{height} was announced")
    rgb = to_rgb(frame, colour_of(frame))
    return np.ascontiguousarray(rgb[: height or None, : width or None])


def _coded(side: int) -> int:
    return max(MIN_CODED, side + side % 2)
