"""Integer contexts: how each residual is expected to be, from what both sides already know. `motion.py` uses it.

Every parameter keeps a running mean of its residuals' magnitudes over the frames of a segment. Inside a frame the
parameters go in groups, and a group's means are scaled by how much larger or smaller than expected the groups before it
turned out: faces move all at once. A segment's first frame, and the means before anything was seen, go by two levels
that the encoder sends. A parameter's last residual says whether it is on the move, and whereto; each group of motion
parameters has its own habits. Both choose the shape of the row. Means are integers in units of 2**-16;
`spec/fev-1.md` has the same in pseudo-code.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .tables import LAWS, MEAN_BITS, SYMBOLS, TOTAL_BITS
from .values import level_of, mean_of_level

ONE = 1 << MEAN_BITS
QUICK_FRAMES = 5  # frames of the segment, after its first, that move the means by 1/4; later ones move them by 1/8
GAIN_ONE = 256
GAIN_LEAST = 16
GAIN_MOST = 2048

Ints = NDArray[np.int64]


def bounds(params: int, groups: int) -> list[tuple[int, int]]:
    """Where the groups begin and end. Groups that would be empty are left out."""
    edges = [params * g // groups for g in range(groups + 1)]
    return [(a, b) for a, b in pairwise(edges) if b > a]


def habits(params: int, groups: int) -> Ints:
    """The trained shape (P,) of each parameter after a residual of zero; after another it is the next one."""
    shapes = np.zeros(params, np.int64)
    for g in range(groups):
        shapes[params * g // groups : params * (g + 1) // groups] = LAWS + 2 * g
    return shapes


@lru_cache(maxsize=1024)
def _flags(still: int) -> Ints:
    row = np.ones(SYMBOLS, np.int64)
    row[:2] = (1 << TOTAL_BITS) - (SYMBOLS - 2) - still, still
    return row


class Stills:
    """Which frames move nothing: the frequencies of a flag for each, by the three flags before it.

    Clips that were brought to another frame rate repeat frames in a pattern; in others no frame stands quite still.
    """

    def __init__(self) -> None:
        self._seen = [[4, 1] for _ in range(8)]  # frames that moved and that stood still, by the flags before
        self._before = 0

    def row(self) -> Ints:
        """Frequencies (32,) adding up to 2**16; symbol 0 moves, symbol 1 stands still, the others never come."""
        moved, still = self._seen[self._before]
        return _flags(512 + 64000 * still // (moved + still))

    def saw(self, still: bool) -> None:
        """Takes note of the flag just coded."""
        self._seen[self._before][still] += 1
        self._before = (2 * self._before + still) % 8


class Contexts:
    """The state of one segment's track coder.

    Within a frame call `levels(a, b)`, then `saw(a, b, magnitudes)` for each group, then `end_frame()`.
    """

    def __init__(self, params: int, first_level: int, start_level: int) -> None:
        self._mean: Ints = np.full(params, mean_of_level(start_level), np.int64)
        self._magnitude: Ints = np.zeros(params, np.int64)
        self._first = first_level
        self._frame = 0
        self._seen = ONE
        self._expected = ONE

    def levels(self, a: int, b: int) -> Ints:
        """Levels (b - a,) for the residuals of parameters a to b - 1 in the frame at hand."""
        if self._frame == 0:
            return np.full(b - a, self._first, np.int64)
        gain = min(max((self._seen * GAIN_ONE) // self._expected, GAIN_LEAST), GAIN_MOST)
        return level_of(self._mean[a:b] * gain >> 8)

    def saw(self, a: int, b: int, magnitudes: Ints) -> None:
        """Takes note of |residual| (b - a,) of the group just coded."""
        if self._frame == 0:
            return
        self._magnitude[a:b] = magnitudes
        self._seen += int(np.add.reduce(magnitudes)) << MEAN_BITS
        self._expected += int(np.add.reduce(self._mean[a:b]))

    def end_frame(self) -> None:
        if self._frame:
            self._mean += ((self._magnitude << MEAN_BITS) - self._mean) >> (2 if self._frame <= QUICK_FRAMES else 3)
        self._frame += 1
        self._seen = self._expected = ONE
