"""How the parameters of a block of frames are refined: the `Refiner`s of models with an
inverter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ..draw.render import Renderer
from .effort import MotionPass
from .motion import MotionSettings, fit_motion

SMOOTH = 0.0007  # price of a parameter's change from frame to frame, where a unit is what it is at first


@dataclass(frozen=True)
class RefineAll:
    """All parameters drive what is drawn, and all are fitted."""

    settings: MotionSettings

    def __call__(self, renderer: Renderer, pictures: Tensor, start: Tensor, before: Tensor | None) -> Tensor:
        return fit_motion(renderer, pictures, start, self.settings, before)


class FirstGuess(Protocol):
    """Reads the parameters of modes off pictures.  scale: what one unit of a parameter has
    become."""

    scale: float

    def guess(self, drawn: Tensor, truth: Tensor, driven: Tensor) -> Tensor:
        """Parameters (N, up to P) of frames.

        Args:
            drawn: (N, 3, S, S), what the model draws of them.
            truth: (N, 3, S, S), the frames.
            driven: (N, d), the first parameters, which stay as they are.
        """
        ...


@dataclass(frozen=True)
class RefineModes:
    """The first parameters drive the model and stay; those of the modes are guessed and fitted,
    coarse to fine.

    Args:
        first: guesses them.
        driven: how many parameters drive the model.
        passes: of the fit.
        stay: price of leaving the guess.
    """

    first: FirstGuess
    driven: int
    passes: Sequence[MotionPass]
    stay: float = 0.0

    def __call__(self, renderer: Renderer, pictures: Tensor, start: Tensor, before: Tensor | None) -> Tensor:
        with torch.no_grad():
            drawn = renderer.draw_model(start).cpu()
        guess = self.first.guess(drawn, pictures, start[:, : self.driven])
        guess = F.pad(guess, (0, start.shape[1] - guess.shape[1]))
        scale = self.first.scale
        for settings in _passes(self.passes, scale, self.stay / scale**2):
            guess = fit_motion(renderer, pictures, guess, settings, before, drawn, self.driven)
        return guess


@dataclass(frozen=True)
class RefineStarted:
    """All parameters move modes, nothing else, and begin where an earlier fit left them.

    Args:
        scale: what one unit of a parameter has become.
        passes: of the fit.
    """

    scale: float
    passes: Sequence[MotionPass]

    def __call__(self, renderer: Renderer, pictures: Tensor, start: Tensor, before: Tensor | None) -> Tensor:
        with torch.no_grad():
            drawn = renderer.draw_model(start).cpu()
        for settings in _passes(self.passes, self.scale):
            start = fit_motion(renderer, pictures, start, settings, before, drawn)
        return start


def _passes(passes: Sequence[MotionPass], scale: float, stay: float = 0.0) -> list[MotionSettings]:
    """The settings of passes where one unit of a parameter has become `scale`."""
    return [MotionSettings(size, steps, rate * scale, SMOOTH / scale, stay) for size, steps, rate in passes]
