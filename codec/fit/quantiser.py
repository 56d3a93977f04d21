"""Parameters of a segment -> integers: by rounding, or by what an error shows and a bit costs
(`rdoq`)."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ..draw.render import Renderer
from .motion import nearest
from .rdoq import choose, hold, metric_of


class Quantiser(Protocol):
    """Makes integers of the parameters of a clip, segment by segment."""

    def __call__(self, motion: Tensor, held: np.ndarray, before: np.ndarray | None, price: float = 1.0) -> np.ndarray:
        """The integers (n, P) of a segment.

        Args:
            motion: (n, P), not quantised; rows of held frames say nothing.
            held: (n,) frames that repeat the one before.
            before: (P,) integers of the frame before the segment.
            price: of a bit, as a factor.
        """
        ...


class Rounding:
    """To the nearest integers, whatever they cost.

    Args:
        step: of the parameters.
    """

    def __init__(self, step: float):
        self.step = step

    def __call__(self, motion: Tensor, held: np.ndarray, before: np.ndarray | None, price: float = 1.0) -> np.ndarray:
        return hold(nearest((motion / self.step).numpy()), held, before)


class RateDistortion:
    """By rendered error and bits.  How far the parameters move the pictures is measured once, on
    the first frames."""

    def __init__(self, renderer: Renderer):
        self.renderer = renderer
        self.rounding = Rounding(renderer.motion_step)
        self._metric: np.ndarray | None = None

    def __call__(self, motion: Tensor, held: np.ndarray, before: np.ndarray | None, price: float = 1.0) -> np.ndarray:
        if self._metric is None and not held.all():
            self._metric = metric_of(self.renderer, motion[torch.from_numpy(~held)])
        if self._metric is None:
            return self.rounding(motion, held, before)
        return choose((motion / self.renderer.motion_step).numpy(), self._metric, held, before, price)
