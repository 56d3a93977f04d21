"""Integer contexts of motion and placement: how each residual is coded, from what both sides know.

The writer, the reader, the meter of a track's bits (all in `motion.py`) and the search for the
cheapest integers (the codec's `rdoq.py`) ask here. Nobody else knows the rule: another context is
another file of this name, another page of `spec/fev-1.md` and other tables.

Level: every parameter keeps a running mean of its residuals' magnitudes over the frames of a
segment. Inside a frame the parameters go in groups, and a group's means are scaled by how much
larger or smaller than expected the groups before it turned out: faces move all at once. A segment's
first frame, and the means before anything was seen, go by two levels that the encoder sends.

Shape and sign, for motion alone: a parameter's last residual says whether it is on the move, and
whereto. Each group of parameters has its own habits, which are two shapes of the tables.

Flag, for motion alone: frames in which nothing moves are flagged and left out.

Speed, for placement and camera alone: a residual is coded as its difference to the one before.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .tables import LAWS, MEAN_BITS, SYMBOLS, TOTAL_BITS
from .values import level_of, mean_of_level, value_bits

ONE = 1 << MEAN_BITS
QUICK_FRAMES = 5  # frames after the first that move the means by 1/4; later ones move them by 1/8
GAIN_ONE = 256
GAIN_LEAST = 16
GAIN_MOST = 2048

Ints = NDArray[np.int64]


class Contexts:
    """The state of one track of one segment. As it is here: levels only, every residual under shape
    0.

    For each frame and each of `groups` (a, b): ask `levels` and `shapes`, code the values, tell
    `saw`. What is coded are the frame's residuals after `turn`; `back` makes residuals of it again.
    Then call `end_frame`.

    Args:
        params: values a frame.
        first_level: of all values of the first frame.
        start_level: of the means after it.

    Attributes:
        GROUPS: how many groups the parameters make.
        STILLS: whether frames in which nothing moves are flagged (`Stills`) and left out.
        groups: (a, b) of each group a .. b - 1 that is not empty.
        shapes: (params,) of the tables, under which the values of the frame at hand are coded.
    """

    GROUPS = 1
    STILLS = False

    def __init__(self, params: int, first_level: int, start_level: int) -> None:
        edges = [params * g // self.GROUPS for g in range(self.GROUPS + 1)]
        self.groups = [(a, b) for a, b in pairwise(edges) if b > a]
        self.shapes: Ints = np.zeros(params, np.int64)
        self._mean: Ints = np.full(params, mean_of_level(start_level), np.int64)
        self._magnitude: Ints = np.zeros(params, np.int64)
        self._first = first_level
        self._frame = 0
        self._seen = ONE
        self._expected = ONE
        self._starts = [a for a, _ in self.groups]
        self._sums = self._sum_up()

    def _sum_up(self) -> dict[int, int]:
        """The sum of the means of each group, by its first parameter."""
        return dict(zip(self._starts, np.add.reduceat(self._mean, self._starts).tolist(), strict=True))

    def levels(self, a: int, b: int) -> Ints:
        """Levels (b - a,) of parameters a to b - 1 in the frame at hand."""
        if self._frame == 0:
            return np.full(b - a, self._first, np.int64)
        if not a:  # nothing was seen of the frame: the gain is one
            return level_of(self._mean[:b])
        gain = min(max((self._seen * GAIN_ONE) // self._expected, GAIN_LEAST), GAIN_MOST)
        return level_of(self._mean[a:b] * gain >> 8)

    def saw(self, a: int, b: int, values: Ints) -> None:
        """Takes note of the values (b - a,) of the group just coded, whatever their sign."""
        if self._frame == 0:
            return
        magnitudes = np.abs(values)
        self._magnitude[a:b] = magnitudes
        self._seen += int(np.add.reduce(magnitudes)) << MEAN_BITS
        self._expected += self._sums[a]

    @staticmethod
    def coded(residuals: Ints) -> Ints:
        """What is coded of a segment's residuals (m, params), but for its signs."""
        return residuals

    def turn(self, line: Ints) -> None:
        """Residuals (params,) of the frame at hand into the values that are coded; in place."""

    def back(self, line: Ints) -> None:
        """The inverse of `turn`."""

    def end_frame(self, residuals: Ints) -> None:
        """Goes on to the next frame after these residuals (params,)."""
        if self._frame:
            speed = 2 if self._frame <= QUICK_FRAMES else 3
            self._mean += ((self._magnitude << MEAN_BITS) - self._mean) >> speed
            self._sums = self._sum_up()
        self._frame += 1
        self._seen = self._expected = ONE


class PathContexts(Contexts):
    """Of a segment's placement or camera: two groups, where it is and its size and angle. What is
    coded is how its speed changes."""

    GROUPS = 2

    def __init__(self, params: int, first_level: int, start_level: int) -> None:
        super().__init__(params, first_level, start_level)
        self._speed: Ints = np.zeros(params, np.int64)

    @staticmethod
    def coded(residuals: Ints) -> Ints:
        out: Ints = residuals.copy()
        out[2:] -= residuals[1:-1]
        return out

    def turn(self, line: Ints) -> None:
        line -= self._speed

    def back(self, line: Ints) -> None:
        line += self._speed

    def end_frame(self, residuals: Ints) -> None:
        # The first frame is a place and no speed.
        self._speed = residuals.copy() if self._frame else self._speed
        super().end_frame(residuals)


class MotionContexts(Contexts):
    """Of a segment's motion."""

    GROUPS = 5
    STILLS = True

    def __init__(self, params: int, first_level: int, start_level: int) -> None:
        super().__init__(params, first_level, start_level)
        self._habits = habits(params)
        self._signs: Ints | None = None

    def turn(self, line: Ints) -> None:
        if self._signs is not None:
            line *= self._signs

    def back(self, line: Ints) -> None:
        self.turn(line)

    def end_frame(self, residuals: Ints) -> None:
        # The first frame is a place and not a movement: the second has none before it.
        last = residuals if self._frame else np.zeros_like(residuals)
        self.shapes, self._signs = _after(last, self._habits)
        super().end_frame(residuals)


def habits(params: int) -> Ints:
    """The shape (params,) of each motion parameter after a residual of 0; after another: the next
    one."""
    shapes = np.zeros(params, np.int64)
    groups = MotionContexts.GROUPS
    for g in range(groups):
        shapes[params * g // groups : params * (g + 1) // groups] = LAWS + 2 * g
    return shapes


def _after(last: Ints, habit: Ints | int) -> tuple[Ints, Ints]:
    """Shapes and signs after residuals `last`: a residual is seen in the direction of the last
    one."""
    return habit + (last != 0), 1 - 2 * (last < 0)


def residual_bits(residuals: Ints, levels: Ints, last: Ints, habit: Ints | int) -> NDArray[np.float64]:
    """Estimated bits of motion's residuals after others of the same parameter. For rate control.

    Args:
        residuals, levels, last: of one form, or broadcast to one. `last` are the residuals before;
            what it does not distinguish is coded alike, so -1, 0 and 1 stand for all of them.
        habit: of their parameter, from `habits`.
    """
    shapes, signs = _after(last, habit)
    return value_bits(residuals * signs, levels, shapes)


@lru_cache(maxsize=1024)
def _flags(still: int) -> Ints:
    row = np.ones(SYMBOLS, np.int64)
    row[:2] = (1 << TOTAL_BITS) - (SYMBOLS - 2) - still, still
    return row


class Stills:
    """Which frames move nothing: the frequencies of a flag for each, by the three flags before it.

    Clips that were brought to another frame rate repeat frames in a pattern. In others no frame
    stands quite still.
    """

    def __init__(self) -> None:
        self._seen = [[4, 1] for _ in range(8)]  # frames that moved and that stood still
        self._before = 0

    def row(self) -> Ints:
        """Frequencies (32,) of a flag: symbol 0 moves, 1 stands still, the others never come."""
        moved, still = self._seen[self._before]
        return _flags(512 + 64000 * still // (moved + still))

    def saw(self, still: bool) -> None:
        """Takes note of the flag just coded."""
        self._seen[self._before][still] += 1
        self._before = (2 * self._before + still) % 8
