"""The discriminator: StyleGAN2's residual blocks down to 8x8, where every place judges its surroundings."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ....codec.model.animator import Active, EqualConv
from ....codec.model.stylegan2 import SQRT2

WIDTHS = {8: 256, 16: 224, 32: 160, 64: 96, 128: 48, 256: 24}


class Halve(nn.Module):
    """Residual block from one size to half of it.  Strides, not pooling: pooling's way back is slow on GPUs."""

    def __init__(self, wide: int, deep: int):
        super().__init__()
        self.a, self.b = Active(wide, wide), Active(wide, deep, stride=2)
        self.beside = EqualConv(wide, deep, 2, stride=2, padding=0, scale=1 / SQRT2)

    def forward(self, x: Tensor) -> Tensor:
        return torch.add(self.beside(x), self.b(self.a(x)), alpha=1 / SQRT2)


class Judge(nn.Module):
    """Pictures (N, 3, S, S), S of 64, 128 or 256 -> logits (N, 1, 8, 8) and the features they rest on."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.ModuleDict({str(s): Active(3, WIDTHS[s], 1) for s in (64, 128, 256)})
        self.halve = nn.ModuleDict({str(s): Halve(WIDTHS[s], WIDTHS[s // 2]) for s in (256, 128, 64, 32, 16)})
        self.last = Active(WIDTHS[8] + 1, WIDTHS[8])
        self.out = EqualConv(WIDTHS[8], 1, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        size = x.shape[-1]
        x, features = self.enter[str(size)](x), []
        while size > 8:
            x = self.halve[str(size)](x)
            features.append(x)
            size //= 2
        # How much a batch varies, in groups of four (StyleGAN2's minibatch deviation).
        groups = x.float().reshape(-1, 4, *x.shape[1:]) if len(x) % 4 == 0 else x.float()[None]
        spread = groups.var(1, unbiased=False).add(1e-8).sqrt().mean((1, 2, 3), keepdim=True)
        spread = spread.repeat_interleave(groups.shape[1], 0).expand(-1, 1, *x.shape[2:]).to(x.dtype)
        return self.out(self.last(torch.cat([x, spread], 1))).float(), features
