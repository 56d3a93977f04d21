"""Video as the container sees it: a configuration in VIDH, packets inside segments.

AV1 itself: `codec/media/videodecoder.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from .errors import FevError, LimitError, UnsupportedError, UsageError, check
from .limits import Limits
from .wire import Pack, Take

CODEC_AV1 = 1


@dataclass(frozen=True)
class VideoConfig:
    """Payload of VIDH.

    Args:
        width, height: no picture of the video is larger.
        sequence: AV1's sequence header, an open bitstream unit with its size.
        codec: 1 = AV1; no other value is defined.
    """

    width: int
    height: int
    sequence: bytes
    codec: int = CODEC_AV1

    def pack(self) -> bytes:
        data = Pack().fixed("BHH", self.codec, self.width, self.height).raw(self.sequence).bytes()
        try:
            VideoConfig.unpack(data)
        except FevError as error:
            raise UsageError(error.message) from None
        return data

    @classmethod
    def unpack(cls, data: bytes, limits: Limits | None = None) -> VideoConfig:
        """Raises DamagedError, LimitError or UnsupportedError."""
        limits, take = limits or Limits(), Take(data, "video configuration")
        codec, width, height = take.fixed("BHH")
        if codec != CODEC_AV1:
            raise UnsupportedError(f"video codec {codec} is unknown")
        check(width and height, "the video has no extent")
        if max(width, height) > limits.max_video_side:
            raise LimitError(f"video of {width}x{height}, the limit is {limits.max_video_side} a side")
        check(take.left(), "the video has no sequence header")
        if take.left() > limits.max_sequence_bytes:
            raise LimitError(f"a sequence header of {take.left()} bytes, the limit is {limits.max_sequence_bytes}")
        return cls(width, height, take.rest(), codec)


@dataclass(frozen=True)
class Video:
    """The video of a segment.

    Args:
        step: frames from picture to picture; the first is that of the segment's first frame.
        packets: one a picture.
    """

    step: int
    packets: tuple[bytes, ...]

    def places(self, frames: int) -> range:
        """Places in a segment of so many frames that have a picture."""
        return range(0, frames, self.step)


def pack_video(video: Video) -> bytes:
    """The video part of a segment: step, lengths, bytes."""
    pack = Pack().varint(video.step)
    for packet in video.packets:
        pack.varint(len(packet))
    return pack.raw(b"".join(video.packets)).bytes()


def take_video(take: Take, frames: int, limits: Limits) -> Video:
    """Of a segment of so many frames. Raises DamagedError or LimitError."""
    step = take.varint(frames, "step of the video")
    check(step, "the video stands still")
    sizes = [take.varint(name="size of a video packet") for _ in range(0, frames, step)]
    check(all(sizes), "a video packet is empty")
    if sum(sizes) > limits.max_video_bytes_per_segment:
        raise LimitError(
            f"{sum(sizes)} bytes of video in one segment, allowed are {limits.max_video_bytes_per_segment}"
        )
    return Video(step, tuple(take.raw(size) for size in sizes))
