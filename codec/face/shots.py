"""The shots of a clip: what lies between two cuts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from ..media.frame import Frame
from .light import contrast, is_cut, tone

FLAT = 0.5  # of the contrast before, below which a picture may be a flash, or black


class Shots:
    """Iterate for the shots of a clip, each an iterator of its frames.

    A shot has to be used up before the next one is asked for.  No frame waits: a cut is seen on the
    first frame behind it.

    Attributes:
        cuts: so far.
    """

    def __init__(self, frames: Iterable[Frame]):
        self._frames = iter(frames)
        self._next: Frame | None = None
        self.cuts = 0

    def __iter__(self) -> Iterator[Iterator[Frame]]:
        self._next = next(self._frames, None)
        while self._next is not None:
            yield self._shot()
            self.cuts += self._next is not None

    def _shot(self) -> Iterator[Frame]:
        before: np.ndarray | None = None
        steady: np.ndarray | None = None  # the last picture that was no flash: what follows one is compared with it
        while self._next is not None:
            here = tone(self._next.rgb)
            if before is not None and steady is not None and is_cut(here, before) and is_cut(here, steady):
                return
            before = here
            if steady is None or contrast(here[None])[0] >= FLAT * contrast(steady[None])[0]:
                steady = here
            yield self._next
            self._next = next(self._frames, None)
