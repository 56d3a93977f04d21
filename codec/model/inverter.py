"""From a face picture to the latent space: the feed-forward encoder and the linear maps behind it.

The latent of a frame is `w+ = mean + identity @ basis + motion @ directions`.  `identity` says who,
once a clip; `motion` holds the 35 parameters of a frame.  This is the basis "directions": one
linear map, as Bounareli et al. 2022 have it, so that nothing is searched for in the decoder.
Training: `fev.tools.lab.train.prior`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .stylegan2 import Drive

PARAMS = 35
FEATURES = 512


class Residual(nn.Module):
    """Two 3x3 convolutions beside the identity, at one resolution."""

    def __init__(self, width: int):
        super().__init__()
        self.a = nn.Conv2d(width, width, 3, padding=1)
        self.b = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.b.weight)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.b(F.leaky_relu(self.a(F.leaky_relu(x, 0.2)), 0.2))
        return out


class Inverter(nn.Module):
    """Aligned picture (N, 3, 256, 256), RGB -1 to 1 -> identity (N, rank) and motion (N, 35).

    Pictures of another size are brought to 256 first.
    """

    WIDTHS = (16, 32, 64, 128, 192, 256)  # at 128, 64, 32, 16, 8, 4 pixels

    def __init__(self, rank: int):
        super().__init__()
        layers: list[nn.Module] = []
        previous = 3
        for i, width in enumerate(self.WIDTHS):
            layers += [nn.Conv2d(previous, width, 3, stride=2, padding=1), nn.LeakyReLU(0.2)]
            if i >= 4:
                layers.append(Residual(width))
            previous = width
        self.body = nn.Sequential(*layers)
        self.hidden = nn.Linear(previous * 16, FEATURES)
        self.identity = nn.Linear(FEATURES, rank)
        self.motion = nn.Linear(FEATURES, PARAMS)
        nn.init.normal_(self.identity.weight, std=0.02)
        nn.init.normal_(self.motion.weight, std=0.02)

    def features(self, x: Tensor) -> Tensor:
        """Pictures -> (N, FEATURES), what every guess about them is made from."""
        if x.shape[-1] != 256:
            x = F.interpolate(x, size=256, mode="bilinear", align_corners=False)
        return F.leaky_relu(self.hidden(self.body(x).flatten(1)), 0.2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.features(x)
        return self.identity(features), self.motion(features)


class LatentSpace(nn.Module):
    """The affine map from identity and motion to W+.

    Attributes:
        mean: (num_ws, w_dim).
        basis: (rank, num_ws, w_dim).
        directions: (35, motion_ws, w_dim), which move only the first `motion_ws` vectors, so that
            the styles of the finest layers stand still over a clip and are folded into their
            weights once.
    """

    def __init__(self, num_ws: int, w_dim: int, rank: int, motion_ws: int):
        super().__init__()
        self.mean = nn.Parameter(torch.randn(num_ws, w_dim) * 0.3)
        self.basis = nn.Parameter(torch.randn(rank, num_ws, w_dim) * (0.5 / rank**0.5))
        self.directions = nn.Parameter(torch.randn(PARAMS, motion_ws, w_dim) * (0.3 / PARAMS**0.5))

    @property
    def params(self) -> int:
        return self.directions.shape[0]

    @property
    def rank(self) -> int:
        return self.basis.shape[0]

    def base(self, identity: Tensor) -> Tensor:
        """Coefficients (rank,) -> W+ of the face at rest, (num_ws, w_dim)."""
        return self.mean + torch.einsum("r,rkw->kw", identity, self.basis)

    def drive(self, base: Tensor, motion: Tensor, directions: Tensor | None = None) -> Drive:
        """What a generator draws a face (num_ws, w_dim) at parameters (N, params) from.

        Args:
            directions: other ones.
        """
        shift = torch.einsum("np,pkw->nkw", motion, self.directions if directions is None else directions)
        moving = shift.shape[1]
        ws = torch.cat([base[None, :moving] + shift, base[None, moving:].expand(len(motion), -1, -1)], 1)
        return Drive(ws, moving)

    def forward(self, identity: Tensor, motion: Tensor) -> Tensor:
        """identity: (N or 1, rank).  motion: (N, 35).  Returns (N, num_ws, w_dim)."""
        w = self.mean + torch.einsum("nr,rkw->nkw", identity, self.basis)
        shift = torch.einsum("np,pkw->nkw", motion, self.directions)
        rest = self.mean.shape[0] - self.directions.shape[1]
        return w + F.pad(shift, (0, 0, 0, rest))
