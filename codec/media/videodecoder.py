"""The pictures of a segment's video, one after the other. `fev.format.video` carries the packets,
`videoencoder` makes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import av
import numpy as np

from ...format.errors import DamagedError, FevError, check
from ...format.video import Video, VideoConfig
from .colour import BT470BG, BT601, BT709, colour_of, to_rgb

PIXELS = ("yuv420p", "yuvj420p")
MATRICES = (BT709, BT470BG, BT601)


def decode_video(config: VideoConfig, video: Video, salvage: bool = False) -> Iterator[np.ndarray | None]:
    """A picture for each packet of a segment: uint8 (height, width, 3), of the size in which it was
    coded.

    Nothing of another segment is known here, so a segment always gives the same pictures.

    Args:
        salvage: give None for a picture that cannot be decoded and for all after it.

    Raises:
        DamagedError: if a packet shows no picture, or one that VIDH does not admit.
    """
    decoder: Any = av.CodecContext.create("libdav1d", "r")
    decoder.thread_count = 1
    decoder.options = {"max_pixels": str(config.width * config.height)}
    before, lost, size = config.sequence, False, None
    for packet in video.packets:
        picture = None
        if not lost:
            try:
                picture = _decode(decoder, before + packet, config)
                size = size or picture.shape
                check(picture.shape == size, "the pictures of a segment's video differ in size")
            except FevError:
                if not salvage:
                    raise
                picture, lost = None, True
        before = b""
        yield picture


def _decode(decoder: Any, data: bytes, config: VideoConfig) -> np.ndarray:
    try:
        frames = decoder.decode(av.Packet(data))
        check(len(frames) == 1, f"a video packet shows {len(frames)} pictures")
        frame = frames[0]
        fits = frame.width <= config.width and frame.height <= config.height
        check(fits, f"a video picture of {frame.width}x{frame.height} is beyond {config.width}x{config.height}")
        check(frame.format.name in PIXELS, f"video of pixel format {frame.format.name}")
        check(int(frame.colorspace) in MATRICES, f"video of colour matrix {int(frame.colorspace)}")
        return to_rgb(frame, colour_of(frame))
    except DamagedError:
        raise
    except (av.FFmpegError, ValueError, EOFError, OSError) as error:  # MediaError is a ValueError
        raise DamagedError(f"a video packet is no AV1 picture: {error}") from error
