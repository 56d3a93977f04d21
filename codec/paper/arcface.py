"""ArcFace: who a face is, as a unit vector (Deng et al. 2019), the IR-SE-50 that the paper and e4e
use.

The paper selects the identity frame by its cosines, and holds the identity with them in its
searches.  Keys as in `model_ir_se50.pth`.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .irse import stem, trunk

SIDE = 112
CROP = slice(35, 223), slice(32, 220)  # rows and columns of the FFHQ square at 256


class ArcFace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.input_layer = stem()
        self.body = trunk()
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(512), nn.Dropout(0.6), nn.Flatten(), nn.Linear(512 * 7 * 7, 512), nn.BatchNorm1d(512)
        )

    def features(self, x: Tensor) -> Tensor:
        """Pictures (N, 3, 112, 112), RGB, -1 to 1 -> (N, 512) of any length."""
        out: Tensor = self.output_layer(self.body(self.input_layer(x)))
        return out

    def forward(self, x: Tensor) -> Tensor:
        """Pictures (N, 3, 112, 112), RGB, -1 to 1 -> unit vectors (N, 512)."""
        return F.normalize(self.features(x))

    def crop(self, pictures: Tensor) -> Tensor:
        """FFHQ squares (N, 3, S, S), S at least 256 -> the face in them (N, 3, 112, 112), as in
        e4e's identity loss.
        """
        small = pictures if pictures.shape[-1] == 256 else F.interpolate(pictures, size=256, mode="area")
        rows, columns = CROP
        return F.adaptive_avg_pool2d(small[:, :, rows, columns], SIDE)

    def of_square(self, pictures: Tensor) -> Tensor:
        """FFHQ squares (N, 3, S, S), S at least 256 -> unit vectors (N, 512)."""
        out: Tensor = self(self.crop(pictures))
        return out
