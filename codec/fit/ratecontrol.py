"""Two passes to a bitrate: how many bytes the identity gets and how fine motion is, then what its
bits are worth.

First everything else is counted exactly (sound, background, placement, framing), and the rest is
shared out where it shows most: by curves that were measured with the model
(`fev.codec.model.rates`), or by trials on the clip where a model has none
(`fev.codec.encode.trials`).  The identity is then fitted to its bytes and motion once; and the
price of motion's bits (`rdoq`) is searched until the whole file has its size, or a little less: a
link of that rate has no room for more.  A rate that cannot be kept is refused, with the least that
can.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...format.errors import UsageError
from ..model.rates import RateCurves
from .budget import LEAST_BUDGET
from .carrier import Spending

MOST_PLATE = 0.25  # of the file: what a background may take, where a coarser one is to be had
PRICES = (1 / 32, 32.0)  # of a bit of motion, as a factor
MOST_STEPS = 12  # quarter octaves that the motion's step may move by to come near
CLOSE = 0.002  # of the file: near enough
RETRIES = 3  # fits of an identity, each leaving to motion what the one before lacked
ROUNDS = 14


@dataclass(frozen=True)
class RateTarget:
    """A rate for the whole file: `bytes`, and never more.

    Args:
        rate: kbit/s.
        seconds: that the clip lasts.
    """

    rate: float
    seconds: float

    @property
    def bytes(self) -> int:
        return int(self.rate * 125 * self.seconds)

    def refusal(self, least: int, why: str) -> UsageError:
        """The error that says what is needed: about so many bytes at least."""
        rate = math.ceil(least / (1.25 * self.seconds)) / 100
        least_rate = f"about {rate:g} kbit/s are the least for this clip, {why}"
        return UsageError(f"a bitrate of {self.rate:g} kbit/s cannot be kept: {least_rate}")


def share_out(left: int, frames: int, curves: RateCurves) -> Spending:
    """What looks best.

    Args:
        left: bytes for identity and motion together, `least_bytes` or more.
        frames: of the clip.
        curves: of the model.
    """

    def worth(quality: float) -> float:
        identity = left - motion_bytes(quality, frames, curves)
        if identity < LEAST_BUDGET:
            return -math.inf
        gain = np.interp(math.log2(identity), np.log2(curves.identity_bytes), curves.identity_gain)
        loss = np.interp(quality, curves.quality, np.log(curves.motion_loss))  # a square of the step
        return float(gain - np.exp(loss))

    best = max(np.arange(0.0, 101.0, 5.0).tolist(), key=worth)
    return Spending(best, left - motion_bytes(best, frames, curves))


def least_bytes(frames: int, curves: RateCurves) -> int:
    """About what the coarsest motion and the least identity take."""
    return motion_bytes(0, frames, curves) + LEAST_BUDGET


def motion_bytes(quality: float, frames: int, curves: RateCurves) -> int:
    """About what the motion of a clip takes."""
    return round(float(np.interp(quality, curves.quality, curves.motion_bits)) * frames / 8)


def price_for(size: Callable[[float], int], target: int) -> tuple[float, int]:
    """The factor on a bit's price at which a file comes nearest to its size and not over it.

    Args:
        size: bytes of the whole file at a price; they fall as it rises, by steps.
        target: bytes.

    Returns:
        The factor, and the bytes there.  Where the target is out of reach that is an end of the
        range, and the bytes may be more.
    """
    low, high = PRICES
    best, taken = None, 0
    price = 1.0
    for _ in range(ROUNDS):
        now = size(price)
        if now <= target and (best is None or now > taken):
            best, taken = price, now
        if best is not None and target - taken <= CLOSE * target:
            break
        low, high = (price, high) if now > target else (low, price)
        price = math.sqrt(low * high)
    if best is None:
        best, taken = PRICES[1], size(PRICES[1])
    return best, taken
