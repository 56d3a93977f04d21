"""e4e: a W+ code for a picture, feed-forward (Tov et al. 2021, "Designing an Encoder for StyleGAN
Image Manipulation").

A feature pyramid on IR-SE-50; the first vector is w, all others add to it (section 4 there,
"progressive" training has ended).  Keys as in `e4e_ffhq_encode.pt` under `encoder.`.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..model.stylegan2 import EqualLinear
from .irse import stem, trunk

SIDE = 256
NUM_WS = 18  # W+ vectors, those of a generator of 1024 pixels
TAPS = (6, 20, 23)  # units of the trunk whose outputs the pyramid joins
COARSE, MIDDLE = 3, 7  # vectors before these read a sixteenth and an eighth of the side; the others a quarter


class StyleBlock(nn.Module):
    """(N, 512, side, side) -> (N, 512): halved by convolutions down to one place."""

    def __init__(self, side: int):
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(int(math.log2(side))):
            layers += [nn.Conv2d(512, 512, 3, 2, padding=1), nn.LeakyReLU(0.01)]
        self.convs = nn.Sequential(*layers)
        self.linear = EqualLinear(512, 512)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.linear(self.convs(x).flatten(1))
        return out


class E4E(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.input_layer = stem()
        self.body = trunk()
        self.styles = nn.ModuleList(StyleBlock(16 if i < COARSE else 32 if i < MIDDLE else 64) for i in range(NUM_WS))
        self.latlayer1 = nn.Conv2d(256, 512, 1)
        self.latlayer2 = nn.Conv2d(128, 512, 1)

    def taps(self, x: Tensor) -> list[Tensor]:
        """The trunk's outputs (N, 128, 64, 64), (N, 256, 32, 32) and (N, 512, 16, 16)."""
        out, x = [], self.input_layer(x)
        for index, unit in enumerate(self.body):
            x = unit(x)
            if index in TAPS:
                out.append(x)
        return out

    def forward(self, x: Tensor) -> Tensor:
        """Pictures (N, 3, 256, 256), RGB, -1 to 1 -> codes (N, num_ws, 512), to which the mean
        latent is still to be added.
        """
        fine, middle, coarse = self.taps(x)

        def joined(features: Tensor, lateral: Tensor) -> Tensor:
            return F.interpolate(features, size=lateral.shape[-2:], mode="bilinear", align_corners=True) + lateral

        middle = joined(coarse, self.latlayer1(middle))
        fine = joined(middle, self.latlayer2(fine))
        seen = [coarse if i < COARSE else middle if i < MIDDLE else fine for i in range(len(self.styles))]
        first = self.styles[0](coarse)
        added = [block(features) for block, features in zip(self.styles[1:], seen[1:], strict=True)]
        return torch.stack([first, *(first + a for a in added)], 1)
