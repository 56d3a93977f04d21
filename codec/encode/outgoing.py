"""The segments of a clip on their way into a file, each with the sound of its time.  The encoder
hands them over."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np

from ...format.container import Writer
from ...format.segment import Segment
from ..draw.units import quantise_placement
from ..media.audio import Sound
from ..media.videoinfo import VideoInfo


class Outgoing:
    """end: where the last segment ends, in seconds on the clock of the pts."""

    def __init__(self, writer: Writer, sound: Sound, info: VideoInfo):
        self.writer, self.sound, self.info = writer, sound, info
        self.end = Fraction(0)
        self._pending: Segment | None = None
        self._frames = self._segments = 0
        self._place: np.ndarray | None = None  # the last placement, as it is sent

    def write(self, pts: list[int], motion: np.ndarray, placement: list[np.ndarray], held: np.ndarray) -> None:
        """Hand over a segment.

        It is written when the next frame is there; the last takes the sound that is left.

        Args:
            pts: of its frames.
            motion: (n, P) integers.
            placement: (4,) of each frame, in pixels and radians.
            held: (n,) frames in which the motion stands still; those whose placement differs from
                the one before are coded.
        """
        self.flush()
        tick = max(1, round(1 / (self.info.fps * self.info.time_base)))
        self.end = (pts[-1] + tick) * self.info.time_base
        places = None
        if self.writer.header.placement:
            places = quantise_placement(np.array(placement))
            before = places[:1] if self._place is None else self._place
            held = held & (np.diff(places, axis=0, prepend=before) == 0).all(1)
            self._place = places[-1:]
        self._pending = Segment.single(
            index=self._segments, first_frame=self._frames, pts=np.array(pts, np.int64), motion=motion,
            placement=places, held=held,
        )  # fmt: skip
        self._frames += len(pts)
        self._segments += 1

    def flush(self, last: bool = False) -> None:
        if self._pending is not None:
            self.writer.write_segment(replace(self._pending, audio=self.sound.until(None if last else self.end)))
            self._pending = None

    def close(self) -> None:
        self.flush(last=True)
        self.writer.close()


class Nowhere:
    """Where a file is written that is only measured."""

    def write(self, data: bytes) -> int:
        return len(data)
