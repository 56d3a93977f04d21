"""Train the landmark network (`landmarknet`) without landmarks: on aligned faces that are bent in known ways.

The aligner's trick, further: an aligned face shows the template's landmarks, give or take; turned, nodding, talking and
blinking as the template does, by a smooth warp, it shows them where the template then has them.  What a face did before
the warp is an error of the first round's labels, and shrinks what the network says: a face that is turned by n degrees
and bent by s is labelled s.  So in the later rounds the network itself says where a picture's landmarks were before the
warp (the mean of the picture and its mirror image), which undoes most of that.

    python -m fev.tools.lab.train.landmarks --data DIR --out landmarks.safetensors --minutes 8

Lids and lips are pulled, not drawn: a closed eye is a squeezed one, and an opened mouth is filled with dark and teeth.
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

from ....codec.model.pictures import from_levels
from ...measure.landmarknet import INPUT, LEFT, REACH, TOP, LandmarkNet, cut, save_net
from ...measure.shape import LANDMARKS
from ...measure.template import IDENTITY, MEAN, MIRROR, PARAMETERS, face
from .aligner import photometric

# Uniform ranges of what is done to a face: degrees and units of the template; the rest goes from -0.7 to 0.7.
RANGES = {
    "yaw": (-28.0, 28.0), "pitch": (-16.0, 16.0), "roll": (-6.0, 6.0), "jaw": (-0.4, 2.2), "lids": (-0.4, 1.1),
    "wink": (-0.2, 0.2), "smile": (-0.7, 1.0), "upper lip": (-0.3, 0.7), "lower lip": (-0.3, 0.7),
}  # fmt: skip
PERSON = 0.8  # standard deviation of the identity's movements
PLACE = 0.04  # of the place in the square and of the log of the size
JAW_LINE = 17  # the first points: nobody sees exactly where they are, so they weigh half
ROUNDS = (0.45, 0.3, 0.25)  # of the time; labels are found anew between them
SMALL = 128  # side of the squares that are trained on; the network sees 96 pixels of 0.8 of them
GRID = 25  # points a side where the warp is worked out; between them it is interpolated
STIFF = 1e-3
CLIPS = 0.3  # of a batch: frames of clips, which blink and talk


def random_change(n: int) -> tuple[Tensor, Tensor]:
    """Changes of parameters (n, P) and identity (n, I)."""
    low, high = (torch.tensor([RANGES.get(name, (-0.7, 0.7))[i] for name in PARAMETERS]) for i in (0, 1))
    change = low + (high - low) * torch.rand(n, len(PARAMETERS))
    change[torch.rand(n, len(PARAMETERS)) < 0.4] = 0.0  # or nothing would ever be seen alone
    return change, PERSON * torch.randn(n, len(IDENTITY))


def moved(points: Tensor, change: Tensor, identity: Tensor) -> Tensor:
    """Landmarks (N, 68, 2) after the template's change, with a small change of place and size."""
    n = len(points)
    out = points + face(change, identity)[..., :2] - MEAN[:, :2]
    return out * torch.exp(PLACE * torch.randn(n, 1, 1)) + PLACE * torch.randn(n, 1, 2)


def _radial(a: Tensor, b: Tensor) -> Tensor:
    square = (a.square().sum(2)[:, :, None] + b.square().sum(2)[:, None] - 2 * a @ b.transpose(1, 2)).clamp_min_(1e-9)
    return square * torch.log(square)


def warp_grid(before: Tensor, after: Tensor, size: int) -> Tensor:
    """Grid (N, size, size, 2) over what the network sees that carries landmarks `before` to `after`, (N, 68, 2) both:
    a thin plate, held at the square's border."""
    n = len(before)
    edge = torch.linspace(-1, 1, 5)
    border = torch.stack([p for p in torch.cartesian_prod(edge, edge) if float(p.abs().max()) == 1]).expand(n, -1, -1)
    known, wanted = torch.cat([after, border], 1), torch.cat([before, border], 1)
    count = known.shape[1]
    plane = torch.cat([torch.ones(n, count, 1), known], 2)
    system = torch.zeros(n, count + 3, count + 3)
    system[:, :count, :count] = _radial(known, known) + STIFF * torch.eye(count)
    system[:, :count, count:], system[:, count:, :count] = plane, plane.transpose(1, 2)
    solved = torch.linalg.solve(system, torch.cat([wanted - known, torch.zeros(n, 3, 2)], 1))
    axis = (torch.arange(GRID) + 0.5) / GRID * REACH
    at = torch.stack(torch.meshgrid(axis + LEFT, axis + TOP, indexing="xy"), -1).view(1, -1, 2).expand(n, -1, -1)
    shift = _radial(at, known) @ solved[:, :count]
    shift = shift + torch.cat([torch.ones(n, GRID * GRID, 1), at], 2) @ solved[:, count:]
    fine = F.interpolate(shift.view(n, GRID, GRID, 2).permute(0, 3, 1, 2), size=size, mode="bicubic")
    return _positions(size) + fine.permute(0, 2, 3, 1)


def _positions(size: int) -> Tensor:
    axis = (torch.arange(size) + 0.5) / size * REACH
    return torch.stack(torch.meshgrid(axis + LEFT, axis + TOP, indexing="xy"), -1)


def opened(x: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """Cut pictures with the inside of mouths that the warp has opened: dark, often with teeth above."""

    def gap(p: Tensor) -> Tensor:
        return p[:, 65:68, 1].mean(1) - p[:, 61:64, 1].mean(1)

    n, rim = len(x), after[:, 60:68]
    middle, half = rim.mean(1), (rim.amax(1) - rim.amin(1)).clamp_min(0.01) / 2
    off = (_positions(x.shape[-1])[None] - middle[:, None, None]) / half[:, None, None]
    mask = torch.sigmoid((1 - off.norm(dim=3)) * 12)[:, None]
    wide = (gap(after) - gap(before) > 0.03) & (torch.rand(n) < 0.85)
    dark = torch.tensor([-0.55, -0.8, -0.8])[:, None, None] + 0.25 * torch.randn(n, 1, 1, 1)
    teeth = (off[..., 1] < torch.empty(n, 1, 1).uniform_(-1.2, 0))[:, None].float()
    inside = dark + teeth * torch.empty(n, 1, 1, 1).uniform_(0.6, 1.3)
    mask = mask * wide.view(-1, 1, 1, 1)
    return x * (1 - mask) + inside * mask


def make_batch(pictures: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    """Squares (N, 3, S, S), their landmarks -> what the network sees (N, 3, INPUT, INPUT), the landmarks in it."""
    flip = torch.rand(len(pictures)) < 0.5
    pictures, before = pictures.clone(), before.clone()
    pictures[flip] = pictures[flip].flip(3)
    before[flip] = before[flip][:, list(MIRROR)] * torch.tensor([-1.0, 1.0])
    after = moved(before, *random_change(len(before)))
    x = F.grid_sample(pictures, warp_grid(before, after, INPUT), padding_mode="reflection", align_corners=False)
    return photometric(opened(x, before, after)), after


def shrunk(path: Path, rows: list[int]) -> Tensor:
    """Those rows of a file of squares, at SMALL pixels."""
    array = np.load(path, mmap_mode="r")
    parts = [torch.from_numpy(array[rows[i : i + 64]]).permute(0, 3, 1, 2) for i in range(0, len(rows), 64)]
    return torch.cat([F.interpolate(part.float(), size=(SMALL, SMALL), mode="area").round().byte() for part in parts])


class Faces:
    """Squares of SMALL pixels in memory, uint8 (N, 3, SMALL, SMALL), and where their landmarks are believed to be.

    Faces first, then the frames of clips where there are any; what is held out is left alone.
    """

    def __init__(self, data: Path):
        rows = json.loads((data / "faces.json").read_text())
        self.sets = [shrunk(data / "faces.npy", [i for i, r in enumerate(rows) if not r["held_out"]])]
        if (data / "frames.json").is_file():
            clips = [c for c in json.loads((data / "frames.json").read_text()) if not c["held_out"]]
            rows = [i for c in clips for i in range(c["first"], c["first"] + c["count"])]
            self.sets.append(shrunk(data / "frames.npy", rows))
        self.believed = [MEAN[None, :, :2].repeat(len(squares), 1, 1) for squares in self.sets]

    def draw(self, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Pictures and believed landmarks."""
        others = round(CLIPS * count) if len(self.sets) > 1 else 0
        parts = []
        for squares, believed, n in zip(self.sets, self.believed, (count - others, others)):
            chosen = rng.choice(len(squares), n, replace=False)
            parts.append((from_levels(squares[chosen]), believed[chosen]))
        pictures, landmarks = (torch.cat(part) for part in zip(*parts, strict=True))
        return pictures, landmarks

    @torch.no_grad()
    def believe(self, net: LandmarkNet) -> None:
        """Labels anew, by the network."""
        net.eval()
        for k, squares in enumerate(self.sets):
            found = []
            for part in squares.split(64):
                x = cut(from_levels(part))
                mirrored = net.of_cut(x.flip(3))[:, list(MIRROR)] * torch.tensor([-1.0, 1.0])
                found.append((net.of_cut(x) + mirrored) / 2)
            self.believed[k] = torch.cat(found)
        net.train()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    faces, net = Faces(args.data), LandmarkNet().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-3)
    weight = torch.ones(LANDMARKS)
    weight[:JAW_LINE] = 0.5
    start, step, part = time.time(), 0, 0
    error = torch.full((LANDMARKS,), 0.03)
    while (done := (time.time() - start) / 60 / args.minutes) < 1:
        if part + 1 < len(ROUNDS) and done > sum(ROUNDS[: part + 1]):
            part += 1
            faces.believe(net)
        for group in optimiser.param_groups:
            group["lr"] = 2e-3 * min(1, step / 100) * (0.5 + 0.5 * math.cos(math.pi * min(1, done))) + 1e-6
        x, truth = make_batch(*faces.draw(args.batch, rng))
        missed = (net.of_cut(x.contiguous(memory_format=torch.channels_last)) - truth).abs()
        loss = (missed.mean((0, 2)) * weight).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        error.lerp_(1.25 * missed.detach().mean((0, 2)), 0.02)  # a mean absolute error is 0.8 of a standard deviation
        step += 1
        if step % 100 == 0:
            speed = step * args.batch / (time.time() - start)
            print(json.dumps({"step": step, "round": part, "loss": round(loss.item(), 4), "images/s": round(speed)}),
                  flush=True)  # fmt: skip
    net.error.copy_(error)
    made = {"images": step * args.batch, "minutes": args.minutes, "seed": args.seed, "rounds": len(ROUNDS)}
    save_net(net.eval(), args.out, made)
    print(f"expected error: eyes {error[36:48].mean() * 128:.1f}, lips {error[48:].mean() * 128:.1f}, jaw "
          f"{error[:17].mean() * 128:.1f} px of 256")  # fmt: skip


if __name__ == "__main__":
    main()
