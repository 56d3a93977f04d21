"""The same squares out of two clips: a source and what was decoded, frame by frame, for `codec.paper.scores`."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np

from ...codec.face.align import extract
from ...codec.face.survey import Survey
from ...codec.media.frame import Frame
from ...codec.media.source import MediaSource
from ...codec.media.video import open_video
from ...codec.model.aligner import Aligner
from ...codec.model.pictures import to_numpy
from ...format.errors import MediaError


@dataclass(frozen=True)
class Pair:
    """Two aligned squares (S, S, 3) uint8."""

    source: np.ndarray
    decoded: np.ndarray


class SquarePairs:
    """Iterate for a `Pair` a frame, or None where the source shows no face.  Use as a context manager.

    way: "both": the FFHQ square is laid over the source's face and cut out of both clips there, so that a face that
    moved costs what it looks like; "source": cut out of the source only, the decoded clip is that square (as
    `fev-encode --crop` sends it); "none": both clips are such squares.
    Memory: a dozen frames, however long the clips are.

    Raises MediaError where the clips cannot be read, do not fit together, or show no face.
    """

    def __init__(self, source: MediaSource, decoded: MediaSource, size: int, way: str, net: Aligner | None):
        self.size, self.way, self.net = size, way, net
        self.count = 0
        self.a = open_video(source)
        try:
            self.b = open_video(decoded)
        except BaseException:
            self.a.close()
            raise
        try:
            self._check()
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> SquarePairs:
        return self

    def __exit__(self, *exc: object) -> None:
        self.a.close()
        self.b.close()

    def _check(self) -> None:
        a, b = self.a.info, self.b.info
        if self.way == "both" and (a.width, a.height) != (b.width, b.height):
            raise MediaError(
                f"{self.a.name} is {a.width}x{a.height} and {self.b.name} {b.width}x{b.height}: the same square is cut "
                f"out of both (--crop source if the second is the square alone)"
            )
        for reader in {"source": (self.b,), "none": (self.a, self.b)}.get(self.way, ()):
            if reader.info.width != reader.info.height:
                raise MediaError(f"{reader.name}: {reader.info.width}x{reader.info.height} is no square")

    def _frames(self) -> Iterator[tuple[Frame, Frame]]:
        one, other = iter(self.a), iter(self.b)
        for a, b in zip_longest(one, other):
            if a is None or b is None:
                left = 1 + sum(1 for _ in (one if b is None else other))
                counts = (self.count + left, self.count) if b is None else (self.count, self.count + left)
                raise MediaError(
                    f"{self.a.name} has {counts[0]} frames and {self.b.name} {counts[1]}: they are not the same clip"
                )
            self.count += 1
            yield a, b

    def __iter__(self) -> Iterator[Pair | None]:
        if self.way == "none":
            for a, b in self._frames():
                yield Pair(self._whole(a.rgb), self._whole(b.rgb))
            return
        assert self.net is not None
        waiting: deque[np.ndarray | None] = deque()

        def sources() -> Iterator[Frame]:
            for a, b in self._frames():
                if waiting and survey.tracker.last is None:
                    waiting[-1] = None  # before the first face nothing is cut, and the wait may be long
                waiting.append(b.rgb)
                yield a

        survey = Survey(sources(), self.net, self.size)
        for seen in survey:
            decoded = waiting.popleft()
            if seen.crop is None or decoded is None:
                yield None
            elif self.way == "both":
                yield Pair(seen.crop, self._cut(decoded, seen.placement))
            else:
                yield Pair(seen.crop, self._whole(decoded))

    def _cut(self, frame: np.ndarray, placement: np.ndarray) -> np.ndarray:
        square: np.ndarray = to_numpy(extract(frame, placement, self.size))[0]
        return square

    def _whole(self, frame: np.ndarray) -> np.ndarray:
        half = frame.shape[0] / 2
        return self._cut(frame, np.array([half, half, half, 0.0]))
