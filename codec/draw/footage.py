"""The video of a segment, as what lies beneath the actors: `spec/codec-1.md`, section 11."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ...format.errors import DamagedError
from ...format.video import Video, VideoConfig
from ..media.videodecoder import decode_video

UNIT = 256  # of the way from a picture to the next
KEPT = 10  # pictures: threads draw frames of one batch in any order


class Footage:
    """One segment's video by frames.  May be asked from several threads.

    Pictures are decoded as they are asked for, and the last few kept, whatever the length of the
    segment.  Going back further begins anew.

    Args:
        config: what VIDH says.
        pts: (n,) times of the segment's frames.
        salvage: hold the picture before where one cannot be decoded.
    """

    def __init__(self, config: VideoConfig, video: Video, pts: NDArray[np.int64], salvage: bool):
        self._config, self._video, self._pts, self._salvage = config, video, pts, salvage
        self._lock = threading.Lock()
        self._begin()

    def at(self, place: int) -> np.ndarray | None:
        """Beneath the frame of this place in the segment: uint8 (h, w, 3), of the size in which it
        was coded; None where nothing could be decoded.

        Raises:
            DamagedError: without `salvage`, if a packet cannot be decoded.
        """
        number, rest = divmod(place, self._video.step)
        there = self._picture(number)
        if not rest or there is None or number + 1 == len(self._video.packets):
            return there
        coming = self._picture(number + 1)
        assert coming is not None
        before, after = (int(self._pts[n * self._video.step]) for n in (number, number + 1))
        gap = after - before
        return between(there, coming, ((int(self._pts[place]) - before) * UNIT + gap // 2) // gap)

    def lost(self, place: int) -> bool:
        """Whether the frame of this place, which was asked for, shows a picture of before, or none."""
        return self._lost is not None and place // self._video.step >= self._lost

    def _begin(self) -> None:
        self._coming: Iterator[np.ndarray | None] = decode_video(self._config, self._video, self._salvage)
        self._last = -1  # number of the picture that came last
        self._lost: int | None = None  # that of the first that did not come
        self._fault: DamagedError | None = None
        self._kept: dict[int, np.ndarray | None] = {}

    def _come(self) -> np.ndarray | None:
        """The next picture.  What is wrong is said to every thread that asks."""
        if self._fault is None:
            try:
                return next(self._coming)
            except DamagedError as error:
                self._fault = error
        raise DamagedError(self._fault.message)

    def _picture(self, number: int) -> np.ndarray | None:
        with self._lock:
            if number <= self._last and number not in self._kept:
                self._begin()
            while self._last < number:
                picture = self._come()
                held = self._kept.get(self._last)
                self._last += 1
                if picture is None and self._lost is None:
                    self._lost = self._last
                self._kept[self._last] = held if picture is None else picture
                self._kept.pop(self._last - KEPT, None)
            return self._kept[number]


def between(there: np.ndarray, coming: np.ndarray, way: int) -> np.ndarray:
    """A picture on its way to the next, both uint8.  In integers, so that halves are rounded alike
    everywhere.

    Args:
        way: how far, 0 to UNIT.
    """
    if there is coming:
        return there
    mixed = there.astype(np.uint16) * np.uint16(UNIT - way) + coming.astype(np.uint16) * np.uint16(way)
    return np.asarray(((mixed + np.uint16(UNIT // 2)) >> 8).astype(np.uint8))
