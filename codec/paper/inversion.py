"""Stage 2: a W+ code for every frame (the paper's supplement, C).

By e4e, feed-forward, where it was imported; with `refine` steps of search from there.  Without e4e
the search alone, from the mean of W: slower and blind to what faces are, but it needs nothing but
the generator.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..model.stylegan2 import Generator
from .e4e import E4E, SIDE
from .similarity import Similarity, regions

SEARCH_STEPS = 80  # without e4e
RATE = 0.05


def by_e4e(net: E4E, pictures: Tensor) -> Tensor:
    """Pictures (N, 3, S, S), -1 to 1 -> W+ (N, num_ws, 512)."""
    small = pictures if pictures.shape[-1] == SIDE else F.interpolate(pictures, size=SIDE, mode="area")
    with torch.no_grad():
        out: Tensor = net(small) + net.latent_avg
        return out


def refined(
    generator: Generator, start: Tensor, pictures: Tensor, similarity: Similarity, steps: int, size: int = 256
) -> Tensor:
    """W+ (N, num_ws, w_dim) after steps of search for what draws the pictures; frames do not see
    each other.
    """
    size = min(size, generator.config.resolution, pictures.shape[-1])
    small = pictures if pictures.shape[-1] == size else F.interpolate(pictures, size=size, mode="area")
    everywhere, face = torch.ones(1, 1, size, size), regions(size)["face"]
    ws = start.clone().requires_grad_()
    optimiser = torch.optim.Adam([ws], lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(1, steps))
    for _ in range(steps):
        drawn = generator(ws, size=size)
        distance = similarity.squared(drawn, small, everywhere) + similarity.squared(drawn, small, face)
        distance = distance + similarity.weights.perceptual * similarity.looks(drawn, small, everywhere)
        optimiser.zero_grad()
        distance.sum().backward()
        optimiser.step()
        schedule.step()
    return ws.detach()
