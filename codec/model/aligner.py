"""The aligner network: from a rough square around a face to its FFHQ-aligned square.

It regresses the similarity that the FFHQ crop needs (Karras et al. 2019, appendix A), so that no
landmark model is needed at run time.  Eyes and mouth decide the square: with e from eye to eye and
m from the middle of the eyes to the mouth, its half side is the larger of 2 |e| and 1.8 |m|, along
the mean of e and m turned by a quarter, and its centre lies 0.1 m below the eyes.
`fev.codec.face.align` runs it over a clip; `fev.tools.lab.train.aligner` trains it.

A placement is a row (cx, cy, half, angle): centre and half side of the FFHQ square in pixels of the
frame, angle in radians, positive clockwise on the screen.  The network works in units of the rough
square it sees: x and y from -1 to 1.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

INPUT = 96  # side of the network's input in pixels
WIDTHS = (3, 16, 32, 64, 128, 192)  # channels, halving the side from one to the next


class Aligner(nn.Module):
    """Rough face square -> (a, b, cx, cy, confidence).

    a = half * cos(angle) and b = half * sin(angle) in units of half the rough square; cx, cy is
    the centre; confidence is a logit, positive for a face.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i, (a, b) in enumerate(pairwise(WIDTHS)):
            layers += [nn.Conv2d(a, b, 3, stride=2, padding=1), nn.BatchNorm2d(b), nn.SiLU()]
            if i:
                layers += [nn.Conv2d(b, b, 3, padding=1, groups=b), nn.BatchNorm2d(b), nn.SiLU()]
        self.body = nn.Sequential(*layers)
        self.hidden = nn.Linear(WIDTHS[-1] * (INPUT // 32) ** 2, 256)
        self.head = nn.Linear(256, 5)
        nn.init.normal_(self.head.weight, std=0.01)
        self.head.bias.data = torch.tensor([1.0, 0.0, 0.0, 0.0, 0.0])

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, 3, INPUT, INPUT), RGB from -1 to 1.  Returns (N, 5)."""
        out: Tensor = self.head(F.silu(self.hidden(self.body(x).flatten(1))))
        return out


def similarity_grid(params: Tensor, size: int) -> Tensor:
    """Sampling grid of a similarity: output pixel v -> source position c + M v.

    Args:
        params: (N, 4) rows (a, b, cx, cy) in units where the source picture spans -1 to 1.

    Returns:
        (N, size, size, 2) for `grid_sample(..., align_corners=False)`.
    """
    a, b, cx, cy = params.unbind(1)
    theta = torch.stack([torch.stack([a, -b, cx], 1), torch.stack([b, a, cy], 1)], 1)
    return F.affine_grid(theta, [params.shape[0], 3, size, size], align_corners=False)


def invert_similarity(params: Tensor) -> Tensor:
    """Inverse of v -> c + M v in the same (a, b, cx, cy) form."""
    a, b, cx, cy = params.unbind(1)
    norm = a * a + b * b
    ia, ib = a / norm, -b / norm
    return torch.stack([ia, ib, -(ia * cx - ib * cy), -(ib * cx + ia * cy)], 1)
