"""Stage 4: yaw and pitch of every frame, by search (the paper's supplement, E.1).

Gradient descent on the distance, L2 and LPIPS where the face is rigid, between the rendered
inversion of a frame and the rotated identity.  Plugging an estimator's angles into the rotation
instead trembles (supplement, Tab. 3); one is needed only to begin with and to choose the identity,
and the paper's own, OpenFace, may not be shipped.  `estimate` reads the angles off the face parsing
that the pipeline has anyway: how far the nose is from the middle of the eyes, and how far down it
is between eyes and mouth.  A nose sticks out by about half the distance of the eyes, which makes
the sine of the yaw.  Good for choosing and beginning, to about 5 degrees; not a measurement.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..face.registration import rigid
from ..model.stylegan2 import Generator
from ..model.stylespace import POSE, StyleSpace
from .bisenet import LABELS
from .similarity import Similarity

STEPS = 40
RATE = 1.0  # degrees
LIMIT = 45.0  # degrees
NOSE = 0.55  # how far it sticks out, of the distance of the eyes
NOSE_DOWN = 0.62  # where its middle is between eyes and mouth, of a face that looks straight ahead


def centres(scores: Tensor, labels: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    """Middle (N, 2), x and y from -1 to 1, of the pixels with one of the labels, and how many they
    are (N,).
    """
    size = scores.shape[-1]
    found = torch.isin(scores.argmax(1), torch.tensor([LABELS.index(v) for v in labels], device=scores.device)).float()
    axis = ((torch.arange(size) + 0.5) * (2 / size) - 1).to(scores)
    count = found.sum((1, 2))
    x, y = (found.sum(1) * axis).sum(1), (found.sum(2) * axis).sum(1)
    return torch.stack([x, y], 1) / count.clamp_min(1)[:, None], count


def estimate(scores: Tensor) -> Tensor:
    """Face parsing's scores (N, 19, S, S) -> yaw and pitch in degrees (N, 2), positive to the
    picture's right and up; nan where a part is not seen.
    """
    (left, a), (right, b) = (centres(scores, (f"{side} eye",)) for side in ("left", "right"))
    (nose, c), (mouth, d) = centres(scores, ("nose",)), centres(scores, ("mouth", "upper lip", "lower lip"))
    eyes = (left + right) / 2
    apart = (left - right).norm(dim=1).clamp_min(1e-3)
    yaw = torch.asin(((nose - eyes)[:, 0] / (NOSE * apart)).clamp(-1, 1))
    down = (nose - eyes)[:, 1] / (mouth - eyes)[:, 1].clamp_min(1e-3)
    pitch = torch.asin(((NOSE_DOWN - down) * 2).clamp(-1, 1))
    seen = torch.stack([a, b, c, d]).amin(0) > 0
    return torch.where(seen[:, None], torch.rad2deg(torch.stack([yaw, pitch], 1)), torch.nan)


def search(
    generator: Generator,
    space: StyleSpace,
    base: Tensor,
    targets: Tensor,
    similarity: Similarity,
    start: Tensor,
    *,
    size: int = 256,
    steps: int = STEPS,
    progress: Callable[[int], None] = lambda n: None,
) -> Tensor:
    """Yaw and pitch (N, 2) of a block of frames, which are searched side by side.

    Frames do not see each other, so the result does not depend on the block but by rounding.

    Args:
        base: (num_ws, w_dim).
        targets: (N, 3, S, S), the rendered inversions.
        start: (N, 2), in degrees.
    """
    if space.pose is None:
        return torch.zeros_like(start)
    size = min(size, generator.config.resolution, targets.shape[-1])
    mask = rigid(size)
    small = torch.nn.functional.interpolate(targets, size=size, mode="area") if targets.shape[-1] != size else targets
    pose = start.clone().requires_grad_()
    best, least = start.clone(), torch.full((len(start),), torch.inf)
    optimiser = torch.optim.Adam([pose], lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    count = len(space.channels)
    for _ in range(steps):
        motion = torch.cat([pose.new_zeros(len(pose), count), pose, pose.new_zeros(len(pose), len(POSE) - 2)], 1)
        drive = space.drive(base, motion)
        drawn = generator(drive.ws, drive.moving, drive.added, size=size)
        w = similarity.weights
        distance = w.squared * similarity.squared(drawn, small, mask) + w.perceptual * similarity.looks(
            drawn, small, mask
        )
        better = distance.detach() < least
        least = torch.where(better, distance.detach(), least)
        best = torch.where(better[:, None], pose.detach(), best)
        optimiser.zero_grad()
        distance.sum().backward()
        optimiser.step()
        schedule.step()
        with torch.no_grad():
            pose.clamp_(-LIMIT, LIMIT)
        progress(1)
    return best
