"""The distances of the paper's searches, on regions of the FFHQ square (its supplement, E.4).

Each network is optional: without one its term is left out.  All distances are one number a frame,
never a mean over a batch, so that a search gives a frame the same answer in any company.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .arcface import ArcFace
from .attributes import geometric_masks
from .bisenet import BiSeNet
from .perceptual import Perceptual

LPIPS_SIDE = 256
PARSED_SIDE = 256  # half of what BiSeNet was made for: its labels stay right and it takes a quarter of the time


@dataclass(frozen=True)
class Weights:
    """Of the terms.  The sources do not print them; those of e4e's training where it has the term,
    and one otherwise.

    identity is between a frame and the first one as rendered; parsing between the face parsing's
    scores; still is on how much frames change against how much the targets do.
    """

    squared: float = 1.0
    perceptual: float = 0.8
    identity: float = 0.1
    parsing: float = 0.1
    still: float = 0.2


def masked(pictures: Tensor, mask: Tensor) -> Tensor:
    """Pictures with mid grey, which is 0, outside the mask."""
    return pictures * mask


@dataclass
class Similarity:
    """The terms that the networks allow.

    Args:
        perceptual, arcface, parsing: None where they were not imported.
    """

    perceptual: Perceptual | None = None
    arcface: ArcFace | None = None
    parsing: BiSeNet | None = None
    weights: Weights = Weights()

    def squared(self, a: Tensor, b: Tensor, mask: Tensor) -> Tensor:
        """Root mean square of the difference inside a mask (1 or N, 1, S, S): (N,)."""
        inside = (a - b).square().mean(1, keepdim=True) * mask
        return (inside.sum((1, 2, 3)) / mask.sum((1, 2, 3)).clamp_min(1) + 1e-10).sqrt()

    def looks(self, a: Tensor, b: Tensor, mask: Tensor) -> Tensor:
        """LPIPS of the pictures with the rest blanked: (N,); 0 without the network."""
        if self.perceptual is None:
            return a.new_zeros(len(a))
        out: Tensor = self.perceptual(*(_sized(masked(v, mask), LPIPS_SIDE) for v in (a, b)))
        return out

    def person(self, pictures: Tensor) -> Tensor | None:
        """Unit vectors (N, 512) of who it is; None without the network."""
        return None if self.arcface is None else self.arcface.of_square(_sized(pictures, 256))

    def scores(self, pictures: Tensor) -> Tensor | None:
        """Face parsing's scores (N, 19, S, S); None without the network."""
        return None if self.parsing is None else self.parsing.of_square(pictures, PARSED_SIDE)


def _sized(pictures: Tensor, side: int) -> Tensor:
    if pictures.shape[-1] == side:
        return pictures
    mode = {"mode": "area"} if pictures.shape[-1] > side else {"mode": "bilinear", "align_corners": False}
    return F.interpolate(pictures, size=side, **mode)


def regions(size: int) -> dict[str, Tensor]:
    """Masks (1, 1, size, size) of the groups that are searched together: mouth and jaw, eyes and
    brows, gaze; and the whole face.
    """
    parts = geometric_masks(size)
    axis = (torch.arange(size) + 0.5) * (2 / size) - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    face = ((x / 0.56) ** 2 + ((y - 0.12) / 0.72) ** 2 < 1)[None, None].float()
    return {
        "lower": (parts["mouth"] + parts["jaw"]).clamp(max=1),
        "upper": (parts["eyes"] + parts["brows"]).clamp(max=1),
        "gaze": parts["gaze"],
        "face": face,
    }
