"""Integer contexts of MODE: under which counts each value is coded, from what both sides know.

The writer, the reader and the meter (all in `modes.py`) ask here, and so does the training of the
weights (`tools/lab/train/contexts.py`). Nobody else knows the rule: another context is another file
of this name, another page of `spec/fev-1.md` and other weights.

Every plane is a wavelet transform in integers, most of them zero. A value is coded under the counts
of the values with surroundings like its own so far: a weighted sum of magnitudes of the planes
before, of another component, one level coarser and (for every second value, chequered) of its four
neighbours. The values of half a chequerboard are coded at once, which is a turn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .counts import Counts
from .tables import ROWS

SMALLEST = 4  # side of the coarsest square of a transform
CLAMP = 31  # magnitudes count as this at most in a neighbourhood
# What the magnitudes nearby say, in 1/256, a row a turn, in the order of `Turn.nearby`. Least
# squares over ten clips (tools/lab/train/contexts.py).
WEIGHTS = {
    "luma": np.array([[21, 0, 0, 6, 0, 17, 3], [13, 0, 45, 1, 0, 5, 2]]),
    "chroma": np.array([[21, 12, 0, 5, 2, 12, 2], [11, 6, 41, 2, 0, 5, 2]]),
    "flow": np.array([[16, 32, 0, 14, 15, 12, 5], [10, 19, 42, 4, 4, 4, 3]]),
}
# Of the sum, in the width that the sums have: to search is faster so
BOUNDS = np.array([10, 20, 31, 44, 59, 77, 102, 128, 166, 218, 282, 384, 538, 819, 1280, 2048], np.int32)
CLASSES = len(BOUNDS) + 1
# The frozen rows that the counts of the classes begin from, of shape 2: by the mean that the bounds
# suggest
START = 2 * ROWS + np.array([0, 8, 11, 13, 15, 16, 18, 19, 21, 22, 24, 26, 27, 30, 32, 35, 35])
# Whose weights and counts a component goes by, and which component guides it: luma, blue, red,
# across, down
COMPONENTS: tuple[tuple[str, int | None], ...] = (
    ("luma", None), ("chroma", 0), ("chroma", 1), ("flow", None), ("flow", 3),
)  # fmt: skip

Ints = NDArray[np.int64]


def bands(size: int) -> Iterator[tuple[int, bool]]:
    """Sides of the squares of a transform, coarse to fine: first the coarsest itself, then three
    details a level."""
    yield SMALLEST, False
    side = SMALLEST
    while side < size:
        yield side, True
        side *= 2


def corners(plane: NDArray[Any], side: int, detail: bool) -> list[NDArray[Any]]:
    """The squares of a band, 1 or 3 of (..., side, side) out of (..., S, S)."""
    low, high = slice(0, side), slice(side, 2 * side)
    if not detail:
        return [plane[..., low, low]]
    return [plane[..., low, high], plane[..., high, low], plane[..., high, high]]


def cut(plane: NDArray[Any], side: int, detail: bool) -> NDArray[Any]:
    """The same as one array (..., 1 or 3, side, side), a copy."""
    return np.stack(corners(plane, side, detail), -3)


def put(plane: NDArray[Any], squares: NDArray[Any], side: int, detail: bool) -> None:
    """Writes a band's squares (1 or 3, side, side) back."""
    for place, square in zip(corners(plane, side, detail), squares, strict=True):
        place[...] = square


def present(planes: list[Ints]) -> Ints:
    """Which bands of which planes hold anything but zeros, (planes, bands) of 0 and 1."""
    sizes = list(bands(planes[0].shape[-1]))
    rows = [[int(any(square.any() for square in corners(plane, *size))) for size in sizes] for plane in planes]
    return np.array(rows, np.int64)


def _magnitudes(values: NDArray[Any]) -> NDArray[np.int32]:
    clamped: NDArray[np.int32] = np.minimum(np.abs(values), CLAMP).astype(np.int32)
    return clamped


def _chequer(side: int) -> NDArray[np.bool_]:
    return (np.add.outer(np.arange(side), np.arange(side)) & 1).astype(bool)


def _around(values: NDArray[np.int32]) -> NDArray[np.int32]:
    """Sum of the four neighbours' magnitudes (n, side, side)."""
    out = np.zeros_like(values)
    out[:, 1:] += values[:, :-1]
    out[:, :-1] += values[:, 1:]
    out[:, :, 1:] += values[:, :, :-1]
    out[:, :, :-1] += values[:, :, 1:]
    return out


@dataclass(frozen=True)
class Turn:
    """Every second place of a plane's band, in all its squares.

    Args:
        plane, side, detail: which band.
        now: the band's values (1 or 3, side, side).
        mask: the places of this turn, like `now`; n of them.
        odd: 0 or 1: the first or the second turn of the band.
        nearby: what WEIGHTS weighs, each like `now`: the same place in the plane before and in the
            guide, the neighbours of the place, of that place in the plane before, in the guide and
            one level coarser, and the history of the place.
        kinds: (n,) which of `counts` each value goes by.
        counts: of the component.
    """

    plane: int
    side: int
    detail: bool
    now: Ints
    mask: NDArray[np.bool_]
    odd: int
    nearby: tuple[NDArray[np.int32], ...]
    kinds: Ints
    counts: Counts


class ModeContexts:
    """The state of one chunk: the counts of each kind of component."""

    def __init__(self) -> None:
        self._counts = {name: Counts(np.tile(START, 2)) for name in WEIGHTS}

    def turns(self, number: int, parts: list[list[Ints]], flags: Ints) -> Iterator[Turn]:
        """Visits every present band of every plane of a component.

        Args:
            number: of the component, among COMPONENTS.
            parts: planes (S, S) of the components up to this one. Its own are written to: before it
                asks for the next turn, who is asked fills in `now` at `mask`.
            flags: (planes, bands), whether a band is there.
        """
        name, guide = COMPONENTS[number]
        component = parts[number]
        for level, (side, detail) in enumerate(bands(component[0].shape[-1])):
            odd = np.broadcast_to(_chequer(side), (3 if detail else 1, side, side))
            nothing = np.zeros(odd.shape, np.int32)
            before, around_before, history = nothing, nothing, nothing
            for k, plane in enumerate(component):
                if not flags[k, level]:
                    before = around_before = nothing
                    continue
                now = cut(plane, side, detail)
                beside = around_beside = around_coarser = nothing
                if guide is not None:
                    beside = _magnitudes(cut(parts[guide][k], side, detail))
                    around_beside = _around(beside)
                if side > SMALLEST:
                    coarser = _magnitudes(cut(plane, side // 2, True))
                    around_coarser = _around(coarser.repeat(2, 1).repeat(2, 2))
                rest = (around_before, around_beside, around_coarser, history)
                yield self._turn(name, k, (side, detail), now, ~odd, 0, (before, beside, nothing, *rest))
                around = _around(_magnitudes(np.where(odd, 0, now)))
                yield self._turn(name, k, (side, detail), now, odd, 1, (before, beside, around, *rest))
                put(plane, now, side, detail)
                before = _magnitudes(now)
                around_before = _around(before)
                history = (3 * history >> 2) + 4 * before

    def _turn(
        self,
        name: str,
        plane: int,
        band: tuple[int, bool],
        now: Ints,
        mask: NDArray[np.bool_],
        odd: int,
        nearby: tuple[NDArray[np.int32], ...],
    ) -> Turn:
        used = [(w, part) for w, part in zip(WEIGHTS[name][odd].tolist(), nearby, strict=True) if w]
        total = sum(w * part for w, part in used)[mask]
        kinds = np.searchsorted(BOUNDS, total, side="right") + CLASSES * odd
        return Turn(plane, *band, now, mask, odd, nearby, kinds, self._counts[name])
