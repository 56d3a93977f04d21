"""How well frames are drawn, and how often a fit is to look at each of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ..face.regions import inner_face, lids, lips
from ..model.pictures import to_levels
from .spread import PEAK, decibels

REGIONS = (inner_face, lids, lips)
POWER = 3.0  # of a frame's error beyond what it is pulled to
HEAVIEST = 24.0  # weight of a frame
AIM = 0.2  # of the bound: what frames are pulled to, since a weight only pulls


def frame_errors(drawn: Tensor, frames: Tensor) -> np.ndarray:
    """Mean squared errors (n, 3) of REGIONS, in levels of 255, of pictures (n, 3, S, S)."""
    squared = (to_levels(drawn) - to_levels(frames)).double().square()
    maps = (region(squared.shape[-1]) for region in REGIONS)
    return np.stack([(squared * m).mean((1, 2, 3)).cpu().numpy() for m in maps], 1)


@dataclass(frozen=True)
class Weighing:
    """Weights of frames by how far their worst region lies below its mean.

    Args:
        bound: dB below the mean that a frame may lie.
    """

    bound: float

    def below(self, errors: np.ndarray) -> int:
        """How many frames' inner faces lie below the bound."""
        return int((self._beyond(errors, self.bound)[:, 0] > 1).sum())

    def weights(self, errors: np.ndarray) -> np.ndarray:
        """Weights (N,), 1 to HEAVIEST, of frames with errors (N, 3)."""
        beyond = self._beyond(errors, AIM * self.bound).max(1)
        out: np.ndarray = np.clip(np.maximum(beyond, 1) ** POWER, 1, HEAVIEST)
        return out

    @staticmethod
    def _beyond(errors: np.ndarray, bound: float) -> np.ndarray:
        """Errors (N, 3) as multiples of those at `bound` dB below their means."""
        at: np.ndarray = PEAK**2 * 10 ** ((bound - decibels(errors).mean(0)) / 10)
        out: np.ndarray = errors / at
        return out
