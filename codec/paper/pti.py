"""Stage 6 with nothing held back: all weights of the generator tuned to a clip (Roich et al., PTI,
arXiv 2106.05744).

For comparison only: what comes out is as large as the generator, and no file carries it.
`fit.tune` is the stage that a file uses: the same pivots and targets, but only as many numbers as
the byte budget holds.

As in the code that its authors published: Adam at 3e-4, at most 350 steps, L2 + LPIPS with weight
one each, no locality regularisation, an end at LPIPS 0.06.  The pivots are the encoded frames and
stay; the targets are the frames.  Where the sources are silent: a step sees a few frames drawn at
random instead of one after the other, and without LPIPS there is no early end.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ..model.stylegan2 import Generator
from ..model.stylespace import StyleSpace
from .similarity import Similarity

RATE = 3e-4
STEPS = 350
ENOUGH = 0.06  # of LPIPS
BATCH = 4


def tune_all(
    generator: Generator,
    space: StyleSpace,
    base: Tensor,
    motion: Tensor,
    frames: Tensor,
    similarity: Similarity,
    *,
    steps: int = STEPS,
    size: int | None = None,
    progress: Callable[[int], None] = lambda step: None,
) -> Generator:
    """A copy of the generator that draws the frames from the pivots.

    Args:
        base: (num_ws, w_dim), the identity.
        motion: (N, K + 3), the frames' parameters.
        frames: (N, 3, S, S), -1 to 1.
        size: of the pictures that are compared; the frames' own if None.
    """
    size = size or frames.shape[-1]
    tuned = copy.deepcopy(generator).train().requires_grad_(True)
    if tuned.mapping is not None:
        tuned.mapping.requires_grad_(False)  # pivots do not come from Z
    optimiser = torch.optim.Adam([p for p in tuned.parameters() if p.requires_grad], RATE)
    chance = torch.Generator().manual_seed(0)
    everywhere = torch.ones(1, 1, size, size)
    for step in range(steps):
        rows = torch.randperm(len(frames), generator=chance)[:BATCH]
        drive = space.drive(base, motion[rows])
        drawn = tuned(drive.ws, drive.moving, drive.added, size=size)
        true = F.interpolate(frames[rows], size=size, mode="area")
        looks = similarity.looks(drawn, true, everywhere).mean()
        optimiser.zero_grad(set_to_none=True)
        ((drawn - true).square().mean() + looks).backward()
        optimiser.step()
        progress(step + 1)
        if similarity.perceptual is not None and float(looks.detach()) <= ENOUGH:
            break
    return tuned.eval().requires_grad_(False)


def weight_bytes(generator: Generator) -> int:
    """What the weights of the synthesis would take at 16 bits each, uncoded."""
    return 2 * sum(p.numel() for name, p in generator.named_parameters() if not name.startswith("mapping."))
