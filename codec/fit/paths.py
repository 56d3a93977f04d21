"""The integers of a face's path and of a camera's: those that cost few bits and move no picture
visibly.

Each of the four numbers is taken alone.  What is coded is how its speed changes, so the path through
the integers near the true values is found that costs least in squared error and in bits of these
changes (Viterbi), a segment at a time.
"""

from __future__ import annotations

import numpy as np

from ...format.tables import MEAN_BITS
from ...format.values import level_of, value_bits
from ..draw.units import camera_units, placement_units
from ..face.absence import nobody

CAMERA_BIT = 0.06  # square pixels of error that a bit is worth
PLACEMENT_BIT = 0.02
FARTHEST = 0.5  # pixels by which a value may be off
MOST = 12  # integers that are tried on either side
ROUNDS = 3  # what a change costs goes by the changes of the round before


def camera_path(rows: np.ndarray, width: int, height: int) -> np.ndarray:
    """Cameras of a segment as they are sent.

    Args:
        rows: (n, 4) pixels, factor less 1, radians.
        width, height: of the picture.

    Returns:
        (n, 4) int32.
    """
    spread = np.sqrt((width**2 + height**2) / 12)  # of the picture's pixels from its middle
    none = np.zeros(len(rows), bool)
    return _paths(rows, camera_units(width, height), np.array([1, 1, spread, spread]), CAMERA_BIT, none)


def placement_path(rows: np.ndarray) -> np.ndarray:
    """Placements of a segment as they are sent.

    The first and the last are the nearest integers: so a face that stands still from one segment to
    the next does.

    Args:
        rows: (n, 4) centre x, centre y and half side in pixels, angle in radians.

    Returns:
        (n, 4) int32.
    """
    exact = nobody(rows)
    exact[[0, -1]] = True
    spread = float(np.median(rows[:, 2])) / np.sqrt(1.5)  # as above, of a square of that half side
    pixels = np.array([1, 1, 1 / np.sqrt(1.5), spread])
    return _paths(rows, placement_units(), pixels, PLACEMENT_BIT, exact)


def _paths(rows: np.ndarray, units: np.ndarray, pixels: np.ndarray, bit: float, exact: np.ndarray) -> np.ndarray:
    """pixels: (4,) that one of a row's numbers moves the picture.  The others are those of `_path`."""
    values = np.asarray(rows, np.float64) * units
    paths = [_path(v, p, bit, exact) for v, p in zip(values.T, (pixels / units).tolist(), strict=True)]
    return np.stack(paths, 1).astype(np.int32)


def _path(values: np.ndarray, pixels: float, bit: float, exact: np.ndarray) -> np.ndarray:
    """Integers for values (n,).

    Args:
        pixels: that a unit moves the picture.
        bit: what one is worth.
        exact: (n,) those that are the nearest integers.
    """
    middle = np.round(values).astype(np.int64)
    reach = min(MOST, max(1, int(FARTHEST / max(pixels, 1e-9))))
    near = middle[:, None] + np.arange(-reach, reach + 1)  # (n, k)
    error = ((near - values[:, None]) * pixels) ** 2
    # What stands still does, and is not brought to rest slowly.
    still = np.flatnonzero(np.diff(values, prepend=np.nan) == 0)
    error[exact] = np.where(np.arange(2 * reach + 1) == reach, error[exact], np.inf)
    if len(values) < 3:
        return middle
    path = middle
    for _ in range(ROUNDS):
        changes = np.diff(path, 2, prepend=path[0])
        mean = int(np.abs(changes).mean() * (1 << MEAN_BITS))
        path = _cheapest(near, error, still, bit, int(level_of(np.array(mean))))
    return path


def _cheapest(near: np.ndarray, error: np.ndarray, still: np.ndarray, bit: float, level: int) -> np.ndarray:
    """The integers (n,) of least cost. A state is a pair of them in succession.

    Args:
        near, error: (n, k) those that are tried.
        still: frames whose integer is that of the frame before.
        level: at which changes of speed are coded.
    """
    steps = near[1:, None, :] - near[:-1, :, None]  # (n - 1, from, to)
    largest = 2 * int(np.abs(steps).max())
    sizes = np.arange(largest + 1)
    price = bit * value_bits(sizes, np.full(len(sizes), level), np.zeros(len(sizes), np.int64))
    fixed = np.zeros(len(near), bool)
    fixed[still] = True
    total = error[0][:, None] + price[np.abs(steps[0])] + error[1]
    total = np.where(fixed[1] & (steps[0] != 0), np.inf, total)
    came = np.zeros((len(near), *total.shape), np.int64)
    for t in range(2, len(near)):
        changes = np.abs(steps[t - 1][None] - steps[t - 2][:, :, None])  # (before, from, to)
        ways = total[:, :, None] + price[changes]
        came[t] = ways.argmin(0)
        total = ways.min(0) + error[t]
        if fixed[t]:
            total = np.where(steps[t - 1] != 0, np.inf, total)
    out = np.empty(len(near), np.int64)
    i, j = divmod(int(total.argmin()), total.shape[1])
    for t in range(len(near) - 1, 0, -1):
        out[t - 1], out[t] = near[t - 1, i], near[t, j]
        i, j = int(came[t, i, j]), i
    return out
