"""The integers of a camera's path: those that cost few bits and move no picture visibly.

Each of the four numbers is taken alone.  The path through the integers near the true values is
found that costs least in bits and squared error (Viterbi), a segment at a time.
"""

from __future__ import annotations

import numpy as np

from ...format.tables import MEAN_BITS
from ...format.values import level_of, value_bits

UNITS = np.array([8, 8, 4096, 16384 / (2 * np.pi)])  # of a camera, in one pixel, factor or radian
BIT = 0.06  # square pixels of error that a bit is worth
FARTHEST = 0.5  # pixels by which a value may be off
MOST = 12  # integers that are tried on either side
ROUNDS = 2  # what a step costs goes by the steps of the round before


def camera_path(rows: np.ndarray, width: int, height: int) -> np.ndarray:
    """Cameras of a segment as they are sent.

    Args:
        rows: (n, 4) pixels, factor less 1, radians.

    Returns:
        (n, 4) int32.
    """
    spread = np.sqrt((width**2 + height**2) / 12)  # of the picture's pixels from its middle
    pixels = np.array([1, 1, spread, spread]) / UNITS  # that a unit moves the picture
    values = np.asarray(rows, np.float64) * UNITS
    return np.stack([_path(v, float(p)) for v, p in zip(values.T, pixels, strict=True)], 1).astype(np.int32)


def _path(values: np.ndarray, pixels: float) -> np.ndarray:
    """Integers for values (n,).  pixels: that a unit moves the picture."""
    reach = min(MOST, max(1, int(FARTHEST / pixels)))
    near = np.round(values).astype(np.int64)[:, None] + np.arange(-reach, reach + 1)  # (n, k)
    error = ((near - values[:, None]) * pixels) ** 2
    steps = np.abs(near[1:, :, None] - near[:-1, None])  # (n - 1, to, from)
    path: np.ndarray = near[:, reach]
    for _ in range(ROUNDS):
        mean = float(np.abs(np.diff(path)).mean()) if len(path) > 1 else 0.0
        level = level_of(np.array(int(mean * (1 << MEAN_BITS))))
        sizes = np.arange(int(steps.max(initial=0)) + 1)
        price = BIT * value_bits(sizes, np.full(len(sizes), level), np.zeros(len(sizes), np.int64))
        path = near[np.arange(len(near)), _cheapest(error, price[steps])]
    return path


def _cheapest(error: np.ndarray, price: np.ndarray) -> np.ndarray:
    """The states (n,) of least cost, by each one's own (n, k) and that of each step (n - 1, to,
    from)."""
    cost, ways = error[0], []
    for own, step in zip(error[1:], price, strict=True):
        total = cost[None] + step
        ways.append(total.argmin(1))
        cost = total.min(1) + own
    out = [int(cost.argmin())]
    for way in reversed(ways):
        out.append(int(way[out[-1]]))
    return np.array(out[::-1])
