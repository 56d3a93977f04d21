"""Facial attributes: where each of them is in the FFHQ square, and how strongly a channel of
StyleSpace moves it.

Index sensitivity (the paper's supplement, E.2).  The sources do not print its formula, so here, for
attribute f with mask M and channel i of style s,

    Gamma_{f,i} = mean over M of |G(s + d e_i) - G(s - d e_i)| / (2 d)

the mean change of a pixel (-1 to 1) inside the mask for one unit of the channel, d being the
channel's standard deviation.  It chooses the channels (`fev.tools.lab.discover`) and it is their
unit: a parameter beta = alpha Gamma moves the picture equally whichever channel it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..model.stylegan2 import Generator
from .bisenet import LABELS, BiSeNet

# As many channels as the supplement's Tab. 1 has for each.
COUNTS = {"mouth": 17, "jaw": 4, "eyes": 6, "brows": 4, "gaze": 1}
PARTS = {  # labels of the face parsing that make an attribute; the jaw is skin, below the mouth
    "mouth": ("mouth", "upper lip", "lower lip"),
    "jaw": ("skin",),
    "eyes": ("left eye", "right eye"),
    "brows": ("left brow", "right brow"),
    "gaze": ("left eye", "right eye"),
}
FACE = (  # the labels that are the face: what moves when it speaks, without ears, neck and hair
    "skin", "left brow", "right brow", "left eye", "right eye", "glasses", "nose", "mouth", "upper lip", "lower lip",
)  # fmt: skip
GROWN = 10 / 256  # how far a parsed mask is grown, of the square's side


def geometric_masks(size: int) -> dict[str, Tensor]:
    """Where the attributes are in an aligned square, (1, 1, size, size) of 0 and 1: without face
    parsing, by the geometry that the alignment fixes.
    """
    axis = (torch.arange(size) + 0.5) * (2 / size) - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")

    def inside(cx: float, cy: float, rx: float, ry: float) -> Tensor:
        return ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1

    def both(cx: float, cy: float, rx: float, ry: float) -> Tensor:
        return inside(cx, cy, rx, ry) | inside(-cx, cy, rx, ry)

    mouth = inside(0, 0.44, 0.26, 0.15)
    out = {
        "mouth": mouth,
        "jaw": inside(0, 0.68, 0.42, 0.2) & ~mouth,
        "eyes": both(0.25, -0.06, 0.15, 0.09),
        "brows": both(0.25, -0.22, 0.19, 0.08),
        "gaze": both(0.25, -0.06, 0.07, 0.055),
    }
    return {name: mask[None, None].float() for name, mask in out.items()}


@torch.no_grad()
def parsed(net: BiSeNet, pictures: Tensor) -> Tensor:
    """What every pixel is, by face parsing: pictures (N, 3, S, S), -1 to 1 -> places in LABELS (N,
    S, S).
    """
    scores = net.of_square(pictures)
    return F.interpolate(scores, size=pictures.shape[-1], mode="bilinear", align_corners=False).argmax(1)


def covered(label: Tensor, parts: Sequence[str], grown: bool = False) -> Tensor:
    """Where any of the parts is, (N, 1, S, S) of 0 and 1; grown: with a margin of GROWN around it."""
    mask = torch.isin(label, torch.tensor([LABELS.index(p) for p in parts], device=label.device))[:, None].float()
    reach = max(1, round(GROWN * label.shape[-1])) if grown else 0
    return F.max_pool2d(mask, 2 * reach + 1, 1, reach)


def parsed_masks(net: BiSeNet, pictures: Tensor) -> dict[str, Tensor]:
    """The same by face parsing: pictures (N, 3, S, S), -1 to 1 -> (N, 1, S, S) of 0 and 1."""
    label = parsed(net, pictures)
    out = {name: covered(label, parts, name not in ("jaw", "gaze")) for name, parts in PARTS.items()}
    out["jaw"] *= geometric_masks(pictures.shape[-1])["jaw"].to(label.device)
    return out


def changes(
    generator: Generator, styles: list[Tensor], layer: int, steps: Tensor, size: int, batch: int = 16
) -> Iterator[tuple[Tensor, Tensor]]:
    """|G(s + d e_i) - G(s - d e_i)| of every channel of a style layer that moves at all.

    Args:
        styles: of one face, each (1, C).
        steps: (C,), d of each channel; 0 leaves it out.

    Returns:
        channels (B,) and the change of their pictures, mean over colours, (B, 1, size, size).
    """
    for channels in torch.nonzero(steps > 0).flatten().split(batch):
        rows = torch.arange(len(channels))
        offset = torch.zeros(len(channels), steps.numel())
        offset[rows, channels] = steps[channels]
        here = styles[layer]
        moved = [*styles[:layer], torch.cat([here + offset, here - offset]), *styles[layer + 1 :]]
        with torch.no_grad():  # and not around the yield, where it would reach the caller
            up, down = generator.synthesis(moved, size=size).clamp(-1, 1).chunk(2)
        yield channels, (up - down).abs().mean(1, keepdim=True)


def sensitivities(
    generator: Generator,
    styles: list[Tensor],
    channels: Sequence[tuple[int, int]],
    steps: Sequence[float],
    masks: Sequence[Tensor],
    size: int,
) -> Tensor:
    """Gamma of chosen channels, each on its own mask (1, 1, size, size): (K,)."""
    out = torch.zeros(len(channels))
    for layer in sorted({layer for layer, _ in channels}):
        mine = [k for k, (at, _) in enumerate(channels) if at == layer]
        wanted = torch.zeros(styles[layer].shape[1])
        for k in mine:
            wanted[channels[k][1]] = steps[k]
        for found, change in changes(generator, styles, layer, wanted, size):
            for channel, picture in zip(found.tolist(), change, strict=True):
                for k in mine:
                    if channels[k][1] == channel:
                        mask = masks[k][0]
                        out[k] = (picture * mask).sum() / mask.sum().clamp_min(1) / (2 * wanted[channel])
    return out
