"""A shot as AV1 video, in packets for each segment. `fev.format.video` carries them, `videodecoder`
reads them.

One pass of SVT-AV1 at a constant quality, with a key frame where a segment begins. Which quality
fits how many bytes is `fev.codec.encode.shotvideo`'s business.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

# The encoder prints a banner to stderr unless told otherwise before its first use.
os.environ.setdefault("SVT_LOG", "1")

import av
import numpy as np
from av.video.frame import PictureType

from ...format.errors import MediaError, UsageError
from ...format.video import Video, VideoConfig
from .colour import Colour, from_rgb, tag
from .obu import packet_of
from .priority import usual_priority
from .source import one_line

COLOUR = Colour()
MIN_CODED = 64  # the encoder's smallest side
COARSEST, FINEST = 70, 12  # constant qualities that are of use; the first is the last that there is
ENDLESS = 1 << 20  # frames: longer than any shot


@dataclass(frozen=True)
class Coding:
    """How a shot is coded.

    Args:
        width, height: of the coded pictures; even.
        step: frames from picture to picture.
        quality: constant quality of SVT-AV1, COARSEST to FINEST.
        preset: of SVT-AV1.
    """

    width: int
    height: int
    step: int = 1
    quality: int = 50
    preset: int = 6


@dataclass(frozen=True)
class CodedShot:
    """A shot that was coded.

    Args:
        config: what VIDH would say of it alone.
        segments: the video of each.
    """

    config: VideoConfig
    segments: list[Video]

    @property
    def size(self) -> int:
        """Bytes of all packets."""
        return sum(len(packet) for video in self.segments for packet in video.packets)

    def under(self, config: VideoConfig) -> list[Video]:
        """The video of each segment in a stream whose VIDH may be another shot's.

        Raises:
            UsageError: if this one's pictures are larger than VIDH says.
        """
        if self.config.width > config.width or self.config.height > config.height:
            raise UsageError("the pictures of the video are larger than its header says")
        if self.config.sequence == config.sequence:
            return self.segments
        own = self.config.sequence
        return [Video(v.step, (own + v.packets[0], *v.packets[1:])) for v in self.segments]


def coded_size(width: int, height: int, larger: int) -> tuple[int, int]:
    """The size in which a picture is coded whose larger side is to be so long; never larger than it
    is, but for sides that the encoder does not take."""
    scale = min(1.0, larger / max(width, height))
    sides = (max(MIN_CODED, 2 * round(side * scale / 2)) for side in (width, height))
    return next(sides), next(sides)


def encode_shot(frames: Iterable[np.ndarray], lengths: Sequence[int], fps: Fraction, coding: Coding) -> CodedShot:
    """Code a shot.

    Args:
        frames: uint8 (H, W, 3), as many as the segments have.
        lengths: frames of each segment.
        fps: frames a second.

    Raises:
        MediaError: where the encoder refuses.
    """
    keys, shown = placed(lengths, coding.step)
    packets: list[bytes] = []
    try:
        encoder = _encoder(fps / coding.step, coding)
        with usual_priority():
            encoder.open()
        count = 0
        for number, rgb in enumerate(frames):
            if number not in shown:
                continue
            picture = from_rgb(rgb, "yuv420p", COLOUR, coding.width, coding.height)
            picture.pts, picture.time_base = count, encoder.time_base
            picture.pict_type = PictureType.I if count in keys else PictureType.NONE
            packets += [bytes(packet) for packet in encoder.encode(picture)]
            count += 1
        packets += [bytes(packet) for packet in encoder.encode(None)]
    except (av.FFmpegError, ValueError, OSError) as error:
        raise MediaError(f"video cannot be coded: {one_line(error)}") from error
    return _shared(packets, lengths, coding)


def placed(lengths: Sequence[int], step: int) -> tuple[set[int], set[int]]:
    """Which pictures begin a segment, counted from 0, and which frames have a picture."""
    keys: set[int] = set()
    shown: set[int] = set()
    first = 0
    for length in lengths:
        keys.add(len(shown))
        shown.update(range(first, first + length, step))
        first += length
    return keys, shown


def settings(coding: Coding) -> dict[str, str]:
    """Options of the encoder.

    One thread, so that bytes do not depend on the machine. No key frames but the forced ones.
    """
    params = f"crf={coding.quality}:keyint=-1:irefresh-type=2:scd=0:lp=1:force-key-frames=1"
    return {"preset": str(coding.preset), "svtav1-params": params}


def _encoder(rate: Fraction, coding: Coding) -> Any:
    encoder = av.CodecContext.create("libsvtav1", "w")
    encoder.width, encoder.height, encoder.pix_fmt = coding.width, coding.height, "yuv420p"
    encoder.time_base, encoder.framerate, encoder.gop_size = 1 / rate, rate, ENDLESS
    encoder.options = settings(coding)
    tag(encoder, COLOUR)
    return encoder


def _shared(packets: Sequence[bytes], lengths: Sequence[int], coding: Coding) -> CodedShot:
    """Packets by segments, their sequence header apart."""
    parts = [packet_of(data) for data in packets]
    sequence = parts[0][0]
    segments, first = [], 0
    for length in lengths:
        count = len(range(0, length, coding.step))
        own = parts[first : first + count]
        if len(own) != count or own[0][0] != sequence:
            raise MediaError("video cannot be coded: a segment does not begin with a key frame")
        segments.append(Video(coding.step, tuple(packet for _, packet in own)))
        first += count
    return CodedShot(VideoConfig(coding.width, coding.height, sequence), segments)
