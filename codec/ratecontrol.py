"""Two passes to a bitrate: how many bytes the identity gets and how fine motion is, then what its bits are worth.

First everything else is counted exactly (sound, background, placement, framing), and the rest is shared out where it
shows most, by curves that were measured on the eis clips at 256x256.  The identity is then fitted to its bytes and
motion once; and the price of motion's bits (`rdoq`) is searched until the whole file has its size, or a little less: a
link of that rate has no room for more.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..format.errors import UsageError
from .options import LEAST_BUDGET

QUALITIES = (0.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 100.0)
MOTION_BITS = (8.0, 14.0, 19.0, 25.0, 32.0, 39.0, 48.0, 60.0, 87.0)  # a frame, median of eight clips
MOTION_LOSS = (3.3, 1.3, 0.75, 0.39, 0.21, 0.1, 0.053, 0.027, 0.006)  # dB that integers lose, as `rdoq` reckons it
# Measured at every octave from 250 to 32,000, between them on a smooth curve: a kink would draw every share to it.
IDENTITY_BYTES = (60, 120, 250, 350, 500, 700, 1000, 1400, 2000, 2800, 4000, 5700, 8000, 11300, 16000, 22600, 32000)
# dB on the face; the first two are guesses
IDENTITY_GAIN = (11, 13.9, 17, 18.4, 20, 21.7, 23.5, 25.2, 26.8, 28.2, 29.5, 30.6, 31.5, 32.3, 32.9, 33.3, 33.6)
MOST_PLATE = 0.25  # of the file: what a background may take, where a coarser one is to be had
PRICES = (1 / 32, 32.0)  # of a bit of motion, as a factor
MOST_STEPS = 12  # quarter octaves that the motion's step may move by to come near
CLOSE = 0.002  # of the file: near enough
ROUNDS = 14


@dataclass(frozen=True)
class Share:
    """identity: bytes of budget.  quality: of the motion."""

    identity: int
    quality: float


def share_out(left: int, frames: int) -> Share:
    """Bytes for identity and motion together, and the frames there are -> what looks best for it.

    Raises UsageError where not even the coarsest motion and the least identity fit.
    """

    def worth(quality: float) -> float:
        identity = left - motion_bytes(quality, frames)
        if identity < LEAST_BUDGET:
            return -math.inf
        gain = np.interp(math.log2(identity), np.log2(IDENTITY_BYTES), IDENTITY_GAIN)
        return float(gain - np.exp(np.interp(quality, QUALITIES, np.log(MOTION_LOSS))))  # a square of the step

    best = max(np.arange(0.0, 101.0, 5.0).tolist(), key=worth)
    if worth(best) == -math.inf:
        need = motion_bytes(0, frames) + LEAST_BUDGET
        raise UsageError(f"the bitrate leaves {left} bytes for identity and motion, which need about {need}")
    return Share(left - motion_bytes(best, frames), best)


def motion_bytes(quality: float, frames: int) -> int:
    return round(float(np.interp(quality, QUALITIES, MOTION_BITS)) * frames / 8)


def price_for(size: Callable[[float], int], target: int) -> float:
    """The factor on a bit's price at which `size` (bytes of the whole file) is nearest to the target and not over it.

    Size falls as the price rises, by steps; where the target is out of reach the end of the range is returned.
    """
    low, high = PRICES
    best, least = high, math.inf
    price = 1.0
    for _ in range(ROUNDS):
        left = target - size(price)
        if 0 <= left < least:
            best, least = price, left
        if least <= CLOSE * target:
            break
        low, high = (price, high) if left < 0 else (low, price)
        price = math.sqrt(low * high)
    return best
