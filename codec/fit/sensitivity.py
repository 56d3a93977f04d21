"""How far parameters move the picture, and the basis in which they do so alike and change independently.

Used where motion is quantised: by `rdoq`, which weighs errors of integers against their bits, and by `modefit`, which
chooses what a clip's parameters are.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

SIZE = 128  # of the pictures that are looked at
LOOKS = 4  # frames that are looked at
PART = 12  # pictures drawn at once
SHARE = 0.26  # of the squared error, one step of all parameters: 0.1 dB is lost at the default quality
MOST_CHANGE = 4.0  # of a parameter's step, either way
LEAST_PAIRS = 3  # frames with their successors, for each parameter


@torch.no_grad()
def sensitivity(draw: Callable[[Tensor], Tensor], at: Tensor, step: float, weight: Tensor) -> Tensor:
    """H (P, P): J^T W J, the mean squared change of the picture for one step of the parameters.

    draw: parameters (N, P) -> pictures (N, 3, S, S).  at: (N, P), of which LOOKS are used.  weight: (1, 1, S, S).
    By forward differences; H of two parameters says how far they move the picture in the same way.
    """
    at = at[torch.linspace(0, len(at) - 1, min(LOOKS, len(at))).long()]
    steps = step * torch.eye(at.shape[1], device=at.device)
    total = torch.zeros(len(steps), len(steps), device=at.device)
    for row in at:
        here = draw(row[None]).float()
        moved = torch.cat([draw(part).float() for part in (row + steps).split(PART)])
        change = ((moved - here) * weight.sqrt()).flatten(1)
        total += change @ change.t() / change.shape[1]
    return total / len(at)


def decorrelating(change: Tensor, metric: Tensor, error: float) -> Tensor | None:
    """A matrix T (P, P): parameters T c move the picture alike, and their changes over time are uncorrelated.

    change: (N, P), of the parameters from a frame to its successor.  metric: H (P, P) for one step.  error: mean
    squared error of the picture, weighted as H is.  T = k U^T H^(1/2), U the eigenvectors of the changes' covariance
    where the picture measures distance (Karhunen-Loeve, of what prediction from the frame before leaves).  k makes a
    step what the picture's error bears.  None where there is too little to go by.
    """
    count = len(metric)
    if len(change) < LEAST_PAIRS * count or count < 2:
        return None
    values, vectors = torch.linalg.eigh(metric.double())
    if not float(values[-1]) > 0 or not error > 0:
        return None
    root = vectors @ torch.diag(values.clamp_min(1e-3 * float(values[-1])).sqrt()) @ vectors.t()
    seen = change.double() @ root
    _, turned = torch.linalg.eigh(seen.t() @ seen)
    size = (count / float(torch.trace(metric))) ** 0.5 / step_change(metric, error)
    return (size * turned.flip(1).t() @ root).float()


def step_change(metric: Tensor, error: float) -> float:
    """How much larger the steps in which H was measured may be for what the picture's squared error bears; as large as
    can be where nothing moves the picture, as in a clip of one frame."""
    moved = float(torch.trace(metric))
    if not moved > 0:
        return MOST_CHANGE
    borne = SHARE * error / moved
    return min(max(borne**0.5, 1 / MOST_CHANGE), MOST_CHANGE)
