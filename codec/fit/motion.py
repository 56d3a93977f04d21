"""Fit the parameters of every frame against the quantised identity, weights and modes.

The parameters of a block of frames are optimised together (never one optimiser a frame), with a
small price on change from frame to frame: it takes out jitter and it is what the entropy coder
charges for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..draw.render import Renderer
from ..draw.units import step_size
from ..face.regions import attention
from ..threads.split import PARTS, cuts, gradients
from .adam import Adam
from .loss import fitting_loss

MOST_DRAWN = 16  # frames rendered at once
MAX_STEPS = 1 << 14  # largest magnitude of a quantised parameter


@dataclass(frozen=True)
class MotionSettings:
    """How the motion of a block is fitted.

    Args:
        size: of the pictures that are compared, pixels.
        steps: of the optimiser.
        rate: of the optimiser, in units of the parameters.
        smooth: price of a parameter's change from frame to frame.
        stay: price of leaving the start, of its square: for where planes know less than the guess
            does.
    """

    size: int = 128
    steps: int = 8
    rate: float = 0.12
    smooth: float = 0.002
    stay: float = 0.0


def linear_correction(seen: Tensor, fitted: Tensor, strength: float = 3.0) -> tuple[Tensor, Tensor]:
    """Ridge regression from first guesses of the parameters to the fitted ones.

    What the joint fit learnt on a few frames about this face then serves all frames as their start.

    Args:
        seen: (N, P) guesses.
        fitted: (N, P).
        strength: of the pull towards no correction.

    Returns:
        A matrix (P + 1, P) and the mean of the guesses (P,), for `corrected`.
    """
    mean = seen.mean(0)
    x = torch.cat([seen - mean, torch.ones(len(seen), 1)], 1)
    penalty = strength * torch.eye(x.shape[1])
    penalty[-1, -1] = 1e-3
    start = torch.cat([torch.eye(seen.shape[1]), mean[None]])  # shrink towards "no correction"
    matrix = start + torch.linalg.solve(x.t() @ x + penalty, x.t() @ (fitted - x @ start))
    return matrix, mean


def corrected(motion: Tensor, correction: tuple[Tensor, Tensor]) -> Tensor:
    """Guesses (N, P) with what `linear_correction` learnt."""
    matrix, mean = correction
    return torch.cat([motion - mean, torch.ones(len(motion), 1)], 1) @ matrix


def fit_motion(
    renderer: Renderer,
    crops: Tensor,
    start: Tensor,
    settings: MotionSettings,
    before: Tensor | None = None,
    drawn: Tensor | None = None,
    fixed: int = 0,
) -> Tensor:
    """Refine a block of consecutive frames.

    Args:
        renderer: of what was quantised.
        crops: (N, 3, S, S), -1 to 1.
        start: (N, P).
        settings: of the fit.
        before: (P,) parameters of the frame before the block.
        drawn: (N, 3, S, S), what the model draws of the first `fixed` parameters, where those stay
            as they are; without it the model draws anew in every step.
        fixed: how many parameters stay.

    Returns:
        (N, P), not quantised.
    """
    if not settings.steps:
        return start
    device = renderer.device
    first = start.to(device)
    motion = first.clone()
    truth = F.interpolate(crops.to(device), size=settings.size, mode="area")
    small = None if drawn is None else F.interpolate(drawn.to(device), size=settings.size, mode="area")
    weight = attention(settings.size).to(device)
    moves = torch.ones(motion.shape[1], device=device)
    moves[:fixed] = 0
    adam = Adam(motion, (0.7, 0.95))
    parts = cuts(len(motion), max(PARTS, -(-len(motion) // MOST_DRAWN)))

    def loss(part: slice, motion: Tensor) -> Tensor:
        if small is None:
            out = renderer.draw_values(motion[part], settings.size)
        else:
            out = renderer.finish(small[part], motion[part])
        return fitting_loss(out, truth[part], weight) * (len(out) / len(motion))

    def price(motion: Tensor) -> Tensor:
        line = motion if before is None else torch.cat([before[None].to(device), motion])
        cost = settings.stay * (motion - first).square().mean()
        return cost if len(line) < 2 else cost + settings.smooth * (line[1:] - line[:-1]).abs().mean()

    for step in range(settings.steps):
        slope = gradients(loss, [motion], parts)[1][0]
        leaf = motion.detach().requires_grad_()
        slope += torch.autograd.grad(price(leaf), leaf)[0]
        adam.step(slope * moves, settings.rate * (1 - step / settings.steps) ** 0.5)
    return motion.cpu()


def nearest(steps: np.ndarray) -> np.ndarray:
    """Parameters in steps -> the nearest integers, int32."""
    return np.clip(np.round(steps), -MAX_STEPS, MAX_STEPS).astype(np.int32)


def quantise_motion(motion: Tensor, code: int) -> np.ndarray:
    """Parameters (N, P) -> integers by rounding; the step is that of the header's code."""
    return nearest((motion / step_size(code)).numpy())
