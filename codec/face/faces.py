"""The faces of one shot, each followed by a survey of its own.

The first is the one that the shot is about; further ones are looked for every LOOKS frames where
nobody is followed yet.  All surveys read the same frames, each at its own pace: one that waits for
its face may run ahead of the first by no more than AHEAD frames, so that memory is bounded.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from itertools import tee
from typing import Protocol

import numpy as np

from ..media.frame import Frame
from .align import CLEAR, apart
from .survey import Survey, SurveyedFrame

LOOKS = 12  # frames between looks for further faces
AHEAD = 40  # frames that a further survey may read before the first one
SMALLEST = 0.4  # of the first face: a further one that is smaller stands in the background
SEEN = 12  # frames of a face after which it is somebody

Row = dict[int, SurveyedFrame]  # what each face of a shot is in one frame, by its number in the shot


class MakeSurvey(Protocol):
    """Makes the survey of a face."""

    def __call__(
        self, frames: Iterator[Frame], begin: np.ndarray | None, others: Callable[[], list[np.ndarray]]
    ) -> Survey:
        """begin: placement of a further face in the first frame; None for the first face."""
        ...


@dataclass
class _Further:
    """A further face.

    Args:
        waiting: its next frame.
        seen: its frames so far.
    """

    survey: Survey
    rows: Iterator[SurveyedFrame]
    waiting: SurveyedFrame | None = None
    seen: int = 0


class ShotFaces:
    """Iterate for rows.

    Args:
        frames: of the shot.
        make: a survey.
        most: faces that are followed.

    Attributes:
        first: the survey of the first face.
        counts: by the number of a face, in how many frames it has been seen.
    """

    def __init__(self, frames: Iterator[Frame], make: MakeSurvey, most: int = 1):
        self.make, self.most = make, most
        self._frames = frames
        self._read = 0  # frames that the first survey has taken
        self._further: dict[int, _Further] = {}
        self.counts: dict[int, int] = {0: 0}
        self.first = make(frames if most == 1 else self._watched(), None, list)

    def survey(self, face: int) -> Survey:
        """The survey of a face, by its number."""
        return self._further[face].survey if face else self.first

    def __iter__(self) -> Generator[Row, None, None]:
        for seen in self.first:
            row = {0: seen}
            for number, further in self._further.items():
                here = self._at(further, seen.pts)
                if here is not None and (here.crop is not None or self.counts[number]):
                    row[number] = here
            for number, here in row.items():
                self.counts[number] += here.crop is not None
            yield row

    @staticmethod
    def _at(further: _Further, pts: int) -> SurveyedFrame | None:
        """What a further face is at the time of the first one's frame."""
        while further.waiting is None or further.waiting.pts < pts:
            further.waiting = next(further.rows, None)
            if further.waiting is None:
                return None
        return further.waiting if further.waiting.pts == pts else None

    def _watched(self) -> Iterator[Frame]:
        """The frames for the first survey, in which further faces are looked for."""
        (source,) = tee(self._frames, 1)
        while True:
            here = copy.copy(source)
            frame = next(source, None)
            if frame is None:
                return
            if self._read % LOOKS == 1 and len(self.counts) < self.most:
                self._look(frame, here)
            self._read += 1
            yield frame

    def _look(self, frame: Frame, rest: Iterator[Frame]) -> None:
        """Follow the further faces of a frame.  rest: the frames from this one on; to be copied."""
        tracker = self.first.tracker
        if tracker.last is None or self.first.aligned:
            return
        for placement in tracker.detect(frame.rgb, CLEAR):
            large = placement[2] >= SMALLEST * tracker.last[2]
            if len(self.counts) < self.most and large and apart(placement, self._followed(len(self.counts))):
                self._follow(copy.copy(rest), placement)

    def _follow(self, frames: Iterator[Frame], placement: np.ndarray) -> None:
        number = len(self.counts)
        survey = self.make(self._bounded(frames, self._read), placement, lambda: self._followed(number))
        self._further[number] = _Further(survey, iter(survey))
        self.counts[number] = 0

    def _followed(self, number: int) -> list[np.ndarray]:
        """Where the faces before a further one are."""
        trackers = [self.first.tracker] + [f.survey.tracker for n, f in self._further.items() if n < number]
        return [t.last for t in trackers if t.last is not None and not t.lost]

    def _bounded(self, frames: Iterator[Frame], begin: int) -> Iterator[Frame]:
        for at, frame in enumerate(frames, begin):
            if at > self._read + AHEAD:
                return
            yield frame
