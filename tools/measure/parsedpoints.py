"""Landmarks out of face parsing: for `landmarkshape`, where BiSeNet was imported and nothing better is at hand.

Each region of the parsing's soft labels is taken for an ellipse of the same middle, spread and slant, and the landmarks
lie where they lie on the template's own regions.  All of it are sums over pixels, so gradients reach the picture.  What
ellipses do to the template itself, whose regions are drawn as polygons, is subtracted once and for all.

Good for: where eyes, brows, nose, lips and chin are, how far lids and lips are apart, how wide they are.  Blind to: the
shape of a lip, the jaw's line but for the chin and the cheeks beside the nose, glasses that hide an eye.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from skimage.draw import polygon2mask
from torch import Tensor, nn

from ...codec.paper.bisenet import LABELS, BiSeNet
from .shape import LANDMARKS
from .template import MEAN

SIDE = 256  # of the parsing; half of what BiSeNet was made for, as in `fev.codec.paper.similarity`
CONTOURS = {  # regions of the 68 points, drawn in this order
    "left brow": (17, 18, 19, 20, 21), "right brow": (22, 23, 24, 25, 26), "left eye": range(36, 42),
    "right eye": range(42, 48), "nose": (27, 31, 32, 33, 34, 35), "upper lip": (48, 49, 50, 51, 52, 53, 54, 64, 63, 62,
    61, 60), "lower lip": (54, 55, 56, 57, 58, 59, 48, 60, 67, 66, 65, 64), "mouth": range(60, 68),
}  # fmt: skip
BROW = 0.05  # how high a brow is, half sides
LIPS = ("upper lip", "lower lip", "mouth")
FACE = ("skin", "left brow", "right brow", "left eye", "right eye", "glasses", "nose", *LIPS)
INNER = 0.8  # inner lips' width, of the outer ones'
SHARPER = 2.0  # or what a label has everywhere, a millionth of each pixel, would widen a closed eye
BAND = 0.08  # half sides: of the columns that find the chin, of the rows that find the cheeks


def drawn(points: Tensor, size: int = SIDE, sharp: float = 12.0) -> Tensor:
    """Scores (N, 19, size, size) as a parsing would give them for faces of these landmarks (N, 68, 2); no gradients."""
    out = torch.zeros(len(points), len(LABELS), size, size)
    for scores, face in zip(out, points.detach().double().cpu(), strict=True):
        label = torch.zeros(size, size, dtype=torch.long)
        forehead = face[[16, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 0]] + torch.tensor([0, -0.35])
        regions = [("skin", torch.cat([face[:17], forehead]))]
        for name, places in CONTOURS.items():
            outline = face[list(places)]
            if name.endswith("brow"):
                outline = torch.cat([outline, outline.flip(0) + torch.tensor([0, BROW])])
            regions.append((name, outline))
        for name, outline in regions:
            corners = ((outline.flip(1) + 1) * (size / 2) - 0.5).numpy()
            label[torch.from_numpy(polygon2mask((size, size), corners))] = LABELS.index(name)
        scores.scatter_(0, label[None], sharp)
    return out


class Ellipse:
    """What a soft region (N, S, S) is: area (N,) in half sides squared, middle, half width, half height, slant."""

    def __init__(self, region: Tensor):
        axis = ((torch.arange(region.shape[-1]) + 0.5) * (2 / region.shape[-1]) - 1).to(region)
        total = region.sum((1, 2)).clamp_min(1e-3)
        self.area = total * (2 / region.shape[-1]) ** 2
        across, down = region.sum(1) / total[:, None], region.sum(2) / total[:, None]
        self.x, self.y = (across * axis).sum(1), (down * axis).sum(1)
        dx, dy = axis - self.x[:, None], axis - self.y[:, None]
        xx = (across * dx.square()).sum(1).clamp_min(1e-6)
        xy = torch.einsum("nyx,nx,ny->n", region, dx, dy) / total
        self.slant = xy / xx
        self.width = 2 * xx.sqrt()
        self.height = 2 * ((down * dy.square()).sum(1) - xy.square() / xx).clamp_min(1e-6).sqrt()

    def at(self, places: Sequence[tuple[float, float]]) -> Tensor:
        """Points by their place on the unit circle, (N, len(places), 2)."""
        u, v = (torch.tensor(part).to(self.x) for part in zip(*places, strict=True))
        x = self.x[:, None] + self.width[:, None] * u
        y = self.y[:, None] + (self.slant * self.width)[:, None] * u + self.height[:, None] * v
        return torch.stack([x, y], 2)


EYE = ((-1.0, 0.0), (-0.4, -0.9), (0.4, -0.9), (1.0, 0.0), (0.4, 0.9), (-0.4, 0.9))
LIP = ((-1.0, 0.0), (-0.6, -0.8), (-0.25, -0.97), (0.0, -1.0), (0.25, -0.97), (0.6, -0.8), (1.0, 0.0),
       (0.6, 0.8), (0.25, 0.97), (0.0, 1.0), (-0.25, 0.97), (-0.6, 0.8))  # fmt: skip


def _places(scores: Tensor) -> Tensor:
    """Scores (N, 19, S, S) -> landmarks (N, 68, 2) as ellipses have them; 0 where there are none."""
    soft = (SHARPER * scores).softmax(1)
    axis = ((torch.arange(scores.shape[-1]) + 0.5) * (2 / scores.shape[-1]) - 1).to(soft)
    soft = soft * (axis.abs() < 0.8) * (axis > -0.6)[:, None]  # where an aligned face can be

    def region(*names: str) -> Tensor:
        return soft[:, [LABELS.index(n) for n in names]].sum(1)

    out = soft.new_zeros(len(soft), LANDMARKS, 2)
    for part, first, places in (
        ("brow", 17, tuple((u, 0.0) for u in (-1.0, -0.5, 0.0, 0.5, 1.0))),
        ("eye", 36, EYE),
    ):
        pair = [Ellipse(region(f"{side} {part}")).at(places) for side in ("left", "right")]
        swapped = (pair[0][:, :, 0].mean(1) > pair[1][:, :, 0].mean(1))[:, None, None]  # whose left is meant?
        out[:, first : first + len(places)] = torch.where(swapped, pair[1], pair[0])
        out[:, first + len(places) : first + 2 * len(places)] = torch.where(swapped, pair[0], pair[1])
    out[:, 27:36] = Ellipse(region("nose")).at(
        ((0.0, -1.0), (0.0, -0.5), (0.0, 0.0), (0.0, 0.6), (-1.0, 0.8), (-0.5, 0.9), (0.0, 1.0), (0.5, 0.9), (1.0, 0.8))
    )
    lips, upper, lower = Ellipse(region(*LIPS)), Ellipse(region("upper lip")), Ellipse(region("lower lip"))
    out[:, 48:60] = lips.at(LIP)
    across = lips.width * 2 * INNER
    inner = [(u * INNER, 0.0) for u in (-1.0, -0.3, 0.0, 0.3, 1.0, 0.3, 0.0, -0.3)]
    rims = lips.at(inner)
    top = lips.y - lips.height + upper.area / across
    bottom = lips.y + lips.height - lower.area / across
    rise = torch.stack([torch.zeros_like(top), *[top - lips.y] * 3, torch.zeros_like(top), *[bottom - lips.y] * 3], 1)
    out[:, 60:68] = torch.stack([rims[..., 0], rims[..., 1] + rise], 2)
    pixel, whole = 2 / scores.shape[-1], region(*FACE)

    def near(middle: Tensor) -> Tensor:
        weight = torch.exp(-0.5 * ((axis - middle[:, None]) / BAND).square())
        return weight / weight.sum(1, keepdim=True)

    below = torch.sigmoid((axis - lips.y[:, None]) / pixel)
    chin = lips.y + torch.einsum("nyx,ny,nx->n", whole, below, near(lips.x)) * pixel
    out[:, 6:11] = torch.stack([lips.x, chin], 1)[:, None]
    nose = out[:, 30]
    beside = torch.sigmoid((axis - nose[:, :1]) / pixel)
    rows = torch.einsum("nyx,ny->nx", whole, near(nose[:, 1]))
    for place, sign, side in ((2, -1, 1 - beside), (14, 1, beside)):
        out[:, place] = torch.stack([nose[:, 0] + sign * (rows * side).sum(1) * pixel, nose[:, 1]], 1)
    return out


class ParsedPoints(nn.Module):
    """Landmarks by face parsing (`landmarkshape.Landmarks`)."""

    name = "face parsing (BiSeNet)"
    shift: Tensor

    def __init__(self, net: BiSeNet):
        super().__init__()
        self.net = net
        ideal = MEAN[None, :, :2]
        self.register_buffer("shift", ideal - _places(drawn(ideal)), persistent=False)
        error = torch.full((LANDMARKS,), 0.03)
        error[:17] = torch.inf
        error[[2, 6, 7, 8, 9, 10, 14]] = 0.08
        self.error = error

    def of_scores(self, scores: Tensor) -> Tensor:
        return _places(scores) + self.shift

    def forward(self, pictures: Tensor) -> Tensor:
        return self.of_scores(self.net.of_square(pictures, SIDE))
