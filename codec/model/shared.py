"""Shared modes: how faces move, learnt once for all of them and held by both ends.

The same model of a moving picture as a clip's own modes (`modes`), one plane of texture and flow a
parameter, but not sent: it moves the pivot of any clip, so that a file without modes speaks, blinks
and turns at no price but its parameters.  They are linear, so only the change from the pivot's own
parameters counts:

    picture(c) = warp(pivot + texture (c - r), flow (c - r))

The parameters' first guess comes from the inverter's features.  `fev.tools.lab.train.shared` trains
planes and guess.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .inverter import FEATURES
from .planes import apply_modes, colour


class SharedModes(nn.Module):
    """Planes of `params` parameters.

    Args:
        texture, grid: sides of the texture and flow planes.

    Attributes:
        luma, chroma: (P, T, T) and (P, 2, T/2, T/2), picture values for one unit of a parameter.
        flow: (P, 2, G, G), half picture sides for one unit of a parameter.
    """

    def __init__(self, params: int, texture: int, grid: int):
        super().__init__()
        self.guess = nn.Linear(FEATURES, params)
        self.luma = nn.Parameter(torch.zeros(params, texture, texture))
        self.chroma = nn.Parameter(torch.zeros(params, 2, texture // 2, texture // 2))
        self.flow = nn.Parameter(torch.zeros(params, 2, grid, grid))

    def planes(self) -> tuple[Tensor, Tensor]:
        """Texture (P + 1, 3, T, T) and flow (P + 1, 2, G, G); plane 0, which nothing moves, is
        empty.
        """
        texture, flow = colour(self.luma, self.chroma), self.flow
        return (
            torch.cat([torch.zeros_like(texture[:1]), texture]),
            torch.cat([torch.zeros_like(flow[:1]), flow]),
        )

    def move(self, pictures: Tensor, change: Tensor) -> Tensor:
        """Pictures (N or 1, 3, S, S) moved by parameters less the pivot's, (N, P) -> (N, 3, S, S)."""
        return apply_modes(pictures.expand(len(change), -1, -1, -1), *self.planes(), change)
