"""How far the frames of a clip lie apart in quality, and what was done about the worst of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

WORST_SHARE = 0.01  # of the frames
PEAK = 255.0
LEAST_ERROR = 1e-2  # squared levels; below it nothing is seen


def decibels(errors: np.ndarray) -> np.ndarray:
    """Mean squared errors in levels of 255 -> PSNR in dB."""
    out: np.ndarray = 10 * np.log10(PEAK**2 / np.maximum(errors, LEAST_ERROR))
    return out


@dataclass(frozen=True)
class Spread:
    """PSNR of one part of the picture over the frames of a clip, dB.

    Args:
        mean: of all frames.
        worst_percent: mean of the worst hundredth of the frames, of one at least.
        worst: of the worst frame.
    """

    mean: float
    worst_percent: float
    worst: float

    @classmethod
    def of(cls, errors: np.ndarray) -> Spread:
        """Of the frames' mean squared errors (N,), N > 0, in levels of 255."""
        rising = np.sort(decibels(errors))
        few = max(1, round(WORST_SHARE * len(rising)))
        return cls(float(rising.mean()), float(rising[:few].mean()), float(rising[0]))


@dataclass(frozen=True)
class WorstMeans:
    """One thing that was done about the worst frames.

    Args:
        name: `again`, the modes fitted again; `moments`, planes for single moments.
        more_bytes: that it costs.
        gain: of the mean of the worst hundredth, dB.
    """

    name: str
    more_bytes: int
    gain: float


@dataclass(frozen=True)
class WorstReport:
    """What the bound on the worst frame did; PSNR of the inner face.

    Args:
        bound: dB below the mean that no frame is to lie.
        before: the frames without the bound.
        after: the frames of the file.
        below_before, below: frames beyond the bound, without it and in the file.
        more_bytes: that the bound costs.
        means: what was done and helped, in order.
    """

    bound: float
    before: Spread
    after: Spread
    below_before: int
    below: int
    more_bytes: int
    means: tuple[WorstMeans, ...] = ()
