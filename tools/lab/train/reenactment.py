"""The losses of training the direction matrix: is it still the same person, and is it the wanted shape?

`directions` draws the pictures; `measure.shape` measures them.  Weights and pairs of landmarks are
those of the public training code of Bounareli et al. (2022, "Finding Directions in GAN's Latent Space
for Neural Face Reenactment").  A loss whose network was not imported is left out, and `left_out` says
so.  Nothing takes its place.

Choices: distances between the points of a pair are taken along x and along y, each without its sign, as the public code
does, so that a closed mouth and one that stands upside down are alike; every loss is a mean over the batch.  LPIPS sees
pictures from -1 to 1 in all phases, as it was made for (the public code hands it 0 to 255 in the paired one).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ....codec.model.pictures import LEVELS_PER_UNIT
from ....codec.paper.similarity import Similarity
from ...measure.shape import Points

# Of the 68 landmarks: corners, outer and inner lips over each other; corners and lids.
MOUTH = ((48, 54), (49, 59), (50, 58), (51, 57), (52, 56), (53, 55), (60, 64), (61, 67), (62, 66), (63, 65))
EYES = ((36, 39), (37, 41), (38, 40), (42, 45), (43, 47), (44, 46))


@dataclass(frozen=True)
class Weights:
    """Of the terms; pixel is for paired pictures only."""

    identity: float = 10.0
    perceptual: float = 10.0
    shape: float = 1.0
    mouth: float = 1.0
    eye: float = 1.0
    pixel: float = 1.0


def pair_distances(landmarks: Tensor, pairs: Sequence[tuple[int, int]]) -> Tensor:
    """Landmarks (N, 68, 2) -> distances along x and y (N, len(pairs), 2)."""
    first, second = (landmarks[:, [pair[i] for pair in pairs]] for i in (0, 1))
    return (first - second).abs()


def left_out(similarity: Similarity) -> list[str]:
    """The losses whose network is missing."""
    there = {"identity": similarity.arcface, "perceptual": similarity.perceptual}
    return [name for name, network in there.items() if network is None]


def losses(
    similarity: Similarity, drawn: Tensor, like: Tensor, points: Points, wanted: Points, paired: bool
) -> dict[str, Tensor]:
    """Every loss that can be had, unweighted, one number each.

    Args:
        drawn: pictures (N, 3, S, S), -1 to 1, and the points in them.
        like: whom they must look like: the source, or in a pair the target itself.
        wanted: the points of the source's identity at the target's parameters.
    """
    out = {
        "shape": F.l1_loss(points.mesh, wanted.mesh),
        "mouth": F.l1_loss(pair_distances(points.landmarks, MOUTH), pair_distances(wanted.landmarks, MOUTH)),
        "eye": F.l1_loss(pair_distances(points.landmarks, EYES), pair_distances(wanted.landmarks, EYES)),
    }
    who, whom = similarity.person(drawn), similarity.person(like)
    if who is not None and whom is not None:
        out["identity"] = 1 - (who * whom).sum(1).mean()
    if similarity.perceptual is not None:
        everywhere = torch.ones_like(drawn[:1, :1])
        out["perceptual"] = similarity.looks(drawn, like, everywhere).mean()
    if paired:
        out["pixel"] = F.l1_loss(drawn, like) * LEVELS_PER_UNIT
    return out


def total(parts: dict[str, Tensor], weights: Weights) -> Tensor:
    """The sum that is made small."""
    return torch.stack([getattr(weights, name) * part for name, part in parts.items()]).sum()
