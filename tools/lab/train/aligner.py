"""Train the aligner on FFHQ-aligned faces under random similarity transforms.

A face square is seen through a rough square (shifted, scaled, turned, padded as a frame's border
would be); the network must say where the face square lies.  Rough squares without a face teach the
confidence.

    python -m fev.tools.lab.train.aligner --data DIR --out aligner.pt --minutes 6
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ....codec.model.aligner import INPUT, Aligner, invert_similarity, similarity_grid
from ....codec.model.pictures import from_numpy

# Where the loss is measured, in units of the FFHQ square: eyes, mouth corners, chin, and corners.
POINTS = torch.tensor(
    [[-0.25, -0.06], [0.25, -0.06], [-0.16, 0.42], [0.16, 0.42], [0.0, 0.75], [-1.0, -1.0], [1.0, 1.0]]
)


def random_similarity(n: int, scale: tuple[float, float], shift: float, degrees: float) -> Tensor:
    s = torch.exp(torch.empty(n).uniform_(math.log(scale[0]), math.log(scale[1])))
    angle = torch.empty(n).normal_(0, degrees / 2).clamp_(-degrees, degrees) * math.pi / 180
    t = torch.empty(n, 2).uniform_(-shift, shift) * s[:, None]
    return torch.stack([s * angle.cos(), s * angle.sin(), t[:, 0], t[:, 1]], 1)


def photometric(x: Tensor) -> Tensor:
    """Random light, colour, blur, noise, low resolution and occlusion; x from -1 to 1."""
    n = x.shape[0]
    gain = torch.empty(n, 1, 1, 1).uniform_(0.5, 1.3) * torch.empty(n, 3, 1, 1).uniform_(0.85, 1.15)
    bias = torch.empty(n, 1, 1, 1).uniform_(-0.25, 0.2)
    x = x * gain + bias
    grey = (torch.rand(n, 1, 1, 1) < 0.1).float()
    x = x * (1 - grey) + x.mean(1, keepdim=True) * grey
    low = torch.rand(n) < 0.3
    if low.any():
        side = int(torch.randint(28, 72, ()))
        small = F.interpolate(x[low], size=side, mode="area")
        x[low] = F.interpolate(small, size=INPUT, mode="bilinear", align_corners=False)
    for i in torch.nonzero(torch.rand(n) < 0.15).flatten().tolist():
        h, w = torch.randint(8, 36, (2,)).tolist()
        top, left = torch.randint(0, INPUT - 36, (2,)).tolist()
        x[i, :, top : top + h, left : left + w] = torch.rand(3, 1, 1) * 2 - 1
    return (x + torch.randn_like(x) * torch.empty(n, 1, 1, 1).uniform_(0, 0.06)).clamp_(-1, 1)


def make_batch(faces: np.ndarray, index: np.ndarray, generator: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Rough squares (N, 3, INPUT, INPUT), true parameters (N, 4), face or not (N)."""
    n = len(index)
    batch = from_numpy(faces[np.sort(index)])
    batch = batch[torch.randperm(n)]
    flip = torch.rand(n) < 0.5
    batch[flip] = batch[flip].flip(3)
    view = random_similarity(n, (0.62, 1.7), 0.28, 40.0)
    # a quarter sees only a corner of a face, or a face upside down: not a face
    negative = torch.rand(n) < 0.2
    far = torch.empty(n).uniform_(0, 2 * math.pi)
    distance = torch.empty(n).uniform_(0.75, 1.3)
    view[negative, 2] = (far.cos() * distance)[negative]
    view[negative, 3] = (far.sin() * distance)[negative]
    view[negative, :2] *= 0.35
    grid = similarity_grid(view, INPUT)
    # average two filter scales so that shrinking does not alias
    small = F.interpolate(batch, scale_factor=0.5, mode="area")
    a = F.grid_sample(small, grid, padding_mode="border", align_corners=False)
    b = F.grid_sample(small, grid, padding_mode="reflection", align_corners=False)
    inside = (grid.abs().amax(3) <= 1).float()[:, None]
    other = F.interpolate(batch.roll(1, 0), size=INPUT, mode="area")
    kind = torch.rand(n, 1, 1, 1)
    outside = torch.where(
        kind < 0.35,
        a,
        torch.where(kind < 0.7, b, torch.where(kind < 0.85, other.flip(2), torch.rand(n, 3, 1, 1) * 2 - 1)),
    )
    x = a * inside + outside * (1 - inside)
    upside = negative & (torch.rand(n) < 0.2)
    x[upside] = F.interpolate(small[upside].flip(2), size=INPUT, mode="area")
    return photometric(x), invert_similarity(view), (~negative).float()


def points_of(params: Tensor) -> Tensor:
    """Reference points carried by a similarity: (N, P, 2)."""
    a, b, cx, cy = (p[:, None] for p in params[:, :4].unbind(1))
    x, y = POINTS[:, 0][None], POINTS[:, 1][None]
    return torch.stack([a * x - b * y + cx, b * x + a * y + cy], 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=6)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    generator = np.random.default_rng(args.seed)
    faces = np.load(args.data / "faces.npy", mmap_mode="r")
    rows = json.loads((args.data / "faces.json").read_text())
    train = np.array([i for i, r in enumerate(rows) if not r["held_out"]])
    held = np.array([i for i, r in enumerate(rows) if r["held_out"]])
    net = Aligner().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-3)
    start, step = time.time(), 0
    while (done := (time.time() - start) / 60 / args.minutes) < 1:
        for group in optimiser.param_groups:
            group["lr"] = 2e-3 * min(1, step / 100) * (0.5 + 0.5 * math.cos(math.pi * min(1, done))) + 1e-6
        x, truth, face = make_batch(faces, generator.choice(train, args.batch, replace=False), generator)
        out = net(x.contiguous(memory_format=torch.channels_last))
        scale = truth[:, :2].norm(dim=1)[:, None, None]
        error = ((points_of(out) - points_of(truth)).abs() / scale).mean((1, 2))
        loss = (error * face).sum() / face.sum() + 0.1 * F.binary_cross_entropy_with_logits(out[:, 4], face)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        step += 1
        if step % 200 == 0:
            print(
                f"step {step} loss {loss.item():.4f} {step * args.batch / (time.time() - start):.0f} images/s",
                flush=True,
            )
    net.eval()
    with torch.no_grad():
        x, truth, face = make_batch(faces, held, generator)
        out = net(x)
        wrong = ((out[:, 4] > 0) != (face > 0.5)).float().mean()
        error = (points_of(out) - points_of(truth))[:, :5].norm(dim=2) / truth[:, :2].norm(dim=1)[:, None] * 128
        error = error[face > 0.5].mean(1)
    print(f"held out: median point error {error.median():.2f} px of 256, 90 % {error.quantile(0.9):.2f}")
    print(f"held out: wrong decision face or not {wrong:.3f}")
    torch.save(net.state_dict(), args.out)


if __name__ == "__main__":
    main()
