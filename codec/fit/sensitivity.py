"""How far parameters move the picture, and the basis in which they do so alike, independently.

Used where motion is quantised: by `rdoq`, which weighs errors of integers against their bits, and
by `modefit`, which chooses what a clip's parameters are.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

SIZE = 128  # side of the pictures that are looked at, in pixels
LOOKS = 4  # frames that are looked at
PART = 12  # pictures drawn at once
# Of the squared error, one step of all parameters: 0.1 dB is lost at the default quality.
SHARE = 0.26
MOST_CHANGE = 4.0  # of a parameter's step, either way
LEAST_PAIRS = 3  # frames with their successors, for each parameter
LEAST_MOVED = 1e-3  # of H's largest eigenvalue: what moves less is taken to move this much


@torch.no_grad()
def sensitivity(draw: Callable[[Tensor], Tensor], at: Tensor, step: float, weight: Tensor) -> Tensor:
    """H = J^T W J, by forward differences: the mean squared change of the picture.

    Args:
        draw: parameters (N, P) -> pictures (N, 3, S, S).
        at: (N, P) parameters, of which LOOKS are used.
        step: of a parameter, in its units.
        weight: (1, 1, S, S) of the pixels.

    Returns:
        (P, P) for one step each. Two parameters' H says how far they move the picture alike.
    """
    at = at[torch.linspace(0, len(at) - 1, min(LOOKS, len(at))).long()]
    steps = step * torch.eye(at.shape[1], device=at.device)
    total = torch.zeros(len(steps), len(steps), device=at.device)
    for row in at:
        here = draw(row[None]).float()
        moved = torch.cat([draw(part).float() for part in torch.split(row + steps, PART)])
        change = ((moved - here) * weight.sqrt()).flatten(1)
        total += change @ change.t() / change.shape[1]
    return total / len(at)


def decorrelating(change: Tensor, metric: Tensor, error: float) -> Tensor | None:
    """A change of basis: parameters T c move the picture alike and vary independently over time.

    T = k U^T H^(1/2). U: eigenvectors of the changes' covariance where the picture measures
    distance (Karhunen-Loeve, of what prediction from the frame before leaves). k makes a step what
    the picture's error bears.

    Args:
        change: (N, P), of the parameters from a frame to its successor, in steps.
        metric: (P, P), H for one step (`sensitivity`).
        error: mean squared error of the picture, weighted as H is.

    Returns:
        T (P, P); None where there is too little to go by.
    """
    count = len(metric)
    if len(change) < LEAST_PAIRS * count or count < 2:
        return None
    values, vectors = torch.linalg.eigh(metric.double())
    largest = float(values[-1])
    if not largest > 0 or not error > 0:
        return None
    root = vectors @ torch.diag(values.clamp_min(LEAST_MOVED * largest).sqrt()) @ vectors.t()
    seen = change.double() @ root
    _, turned = torch.linalg.eigh(seen.t() @ seen)
    size = float((count / float(torch.trace(metric))) ** 0.5) / step_change(metric, error)
    matrix: Tensor = size * turned.flip(1).t() @ root
    return matrix.float()


def step_change(metric: Tensor, error: float) -> float:
    """How much larger steps may be than those H was measured for.

    Args:
        metric: (P, P), H for one step.
        error: mean squared error of the picture, weighted as H is: the more there is, the more
            quantisation may add.

    Returns:
        A factor of at most MOST_CHANGE, and that where nothing moves the picture, as in a clip of
        one frame.
    """
    moved = float(torch.trace(metric))
    if not moved > 0:
        return MOST_CHANGE
    borne = float((SHARE * error / moved) ** 0.5)
    return min(max(borne, 1 / MOST_CHANGE), MOST_CHANGE)
