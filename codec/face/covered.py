"""Is the mouth covered, by a hand, a mask, a cup?  What moves such a face would draw a mouth on the
hand.

A small network looks at the lower half of a face's square.
`fev.tools.lab.train.covered` trains it on faces with things
laid over their mouths, and beside them, which does not count.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..model.library import BUILT_IN
from .light import evened

WEIGHTS = BUILT_IN / "covered.npz"
BOX = (slice(112, 256), slice(56, 200))  # rows and columns of the square of 256 that are looked at
SIDE = 72  # of the picture that the network sees
WIDTHS = (16, 32, 48, 64)


class Covered(nn.Module):
    """(N, 3, SIDE, SIDE) -> (N,) logits, positive where the mouth is covered."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for a, b in zip((3, *WIDTHS), WIDTHS, strict=False):
            layers += [nn.Conv2d(a, b, 3, stride=2, padding=1), nn.LeakyReLU(0.1)]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(WIDTHS[-1] * 25, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.body(x).flatten(1))[:, 0]
        return out


def lower_half(squares: Tensor) -> Tensor:
    """What the network sees of squares (N, 3, 256, 256), their light evened (`light.evened`)."""
    return F.interpolate(squares[:, :, BOX[0], BOX[1]], size=SIDE, mode="area")


@lru_cache
def network() -> Covered:
    net = Covered().eval().requires_grad_(False)
    with np.load(WEIGHTS, allow_pickle=False) as file:
        net.load_state_dict({name: torch.from_numpy(file[name]).float() for name in file.files})
    return net


@torch.no_grad()
def covered(squares: Tensor) -> Tensor:
    """Logits (N,) of squares (N, 3, S, S), -1 to 1: what is covered has 4 and more, a mouth that is
    seen seldom 2.
    """
    if squares.shape[-1] != 256:
        squares = F.interpolate(squares, size=256, mode="bilinear", align_corners=False)
    out: Tensor = network()(lower_half(evened(squares)))
    return out
