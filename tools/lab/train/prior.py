"""Train the built-in prior: generator, feed-forward encoder and directions together.

A sample is a pair of pictures of one person: `identity` is read from the first, `motion` from the
second, and the second must come back.  Pairs are two frames of a clip, or one face and its copy
under a small warp.  The generator grows with the schedule (64, 128, 256 pixels); the loss is
absolute error over an image pyramid plus its gradients, weighted towards eyes and mouth.

    python -m fev.tools.lab.train.prior --data DIR --run DIR --size 64 --minutes 15
    python -m fev.tools.lab.train.prior --data DIR --run DIR --size 128 --minutes 40   (resumes)
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from ....codec.face.regions import importance
from ....codec.fit.loss import pyramid_loss
from ....codec.model.inverter import Inverter, LatentSpace
from ....codec.model.modelfile import load_model
from ....codec.model.pictures import from_numpy, to_levels
from ....codec.model.stylegan2 import Generator, GeneratorConfig, StyleLayer
from ..parts import parts_of

CHANNELS = (256, 256, 256, 128, 64, 32, 16)
W_DIM = 256
RANK = 384
MOTION_WS = 9  # W+ vectors up to 64x64


class Prior(nn.Module):
    """Everything that is trained together."""

    def __init__(self) -> None:
        super().__init__()
        config = GeneratorConfig(256, CHANNELS, W_DIM, W_DIM, 0, noise_size=64)
        self.generator = Generator(config)
        self.inverter = Inverter(RANK)
        self.latents = LatentSpace(config.num_ws, W_DIM, RANK, MOTION_WS)
        for layer in self.generator.layers:
            assert isinstance(layer, StyleLayer)
            if layer.spec.kind == "rgb" and layer.spec.size > 64:
                nn.init.zeros_(layer.weight)  # a new resolution starts as the upsampled old one

    def forward(self, source: Tensor, target: Tensor, size: int, noise: float) -> tuple[Tensor, Tensor, Tensor]:
        n = source.shape[0]
        identity, motion = self.inverter(torch.cat([source, target]))
        identity, motion = identity[:n], motion[n:]
        shaken = motion + noise * torch.randn_like(motion)
        return self.generator(self.latents(identity, shaken), size=size), identity, motion


class Pairs:
    """Draws training pairs: `faces` of the batch are stills, the rest frame pairs of clips."""

    def __init__(self, data: Path, seed: int):
        self.rng = np.random.default_rng(seed)
        self.faces = np.load(data / "faces.npy")
        rows = json.loads((data / "faces.json").read_text())
        self.face_index = np.array([i for i, r in enumerate(rows) if not r["held_out"]])
        self.frames = np.load(data / "frames.npy", mmap_mode="r")
        self.clips = [
            (r["first"], r["count"]) for r in json.loads((data / "frames.json").read_text()) if not r["held_out"]
        ]

    def draw(self, stills: int, pairs: int) -> tuple[Tensor, Tensor]:
        a = [self.faces[i] for i in self.rng.choice(self.face_index, stills)]
        b = list(a)
        for k in self.rng.integers(0, len(self.clips), pairs):
            first, count = self.clips[k]
            i, j = self.rng.integers(0, count, 2)
            a.append(self.frames[first + i])
            b.append(self.frames[first + j])
        source, target = (from_numpy(v) for v in (a, b))
        n = stills + pairs
        flip = torch.from_numpy(self.rng.random(n) < 0.5)
        source[flip], target[flip] = source[flip].flip(3), target[flip].flip(3)
        gain = self.rng.uniform(0.8, 1.15, (n, 1, 1, 1)) * self.rng.uniform(0.92, 1.08, (n, 3, 1, 1))
        bias = torch.from_numpy(self.rng.uniform(-0.1, 0.1, (n, 1, 1, 1))).float()
        source, target = ((v + 1) * torch.from_numpy(gain).float() - 1 + bias for v in (source, target))
        moved = torch.from_numpy(self.rng.random(n) < 0.5)
        if moved.any():
            target[moved] = self._warp(target[moved])
        return source.clamp_(-1, 1), target.clamp_(-1, 1)

    def _warp(self, x: Tensor) -> Tensor:
        """Small similarity transforms: the motion that placement leaves behind."""
        n = x.shape[0]
        angle = self.rng.normal(0, 0.05, n)
        scale = np.exp(self.rng.normal(0, 0.03, n))
        shift = self.rng.normal(0, 0.03, (n, 2))
        c, s = scale * np.cos(angle), scale * np.sin(angle)
        theta = np.stack([np.stack([c, -s, shift[:, 0]], 1), np.stack([s, c, shift[:, 1]], 1)], 1)
        grid = F.affine_grid(torch.from_numpy(theta).float(), list(x.shape), align_corners=False)
        return F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)


def learning_rates(prior: Prior, rate: float) -> list[dict[str, Any]]:
    """Plain layers learn ten times slower than equalised ones, or training stalls."""
    return [
        {"params": list(prior.generator.parameters()), "scale": rate},
        {"params": list(prior.inverter.parameters()), "scale": rate / 5},
        {"params": list(prior.latents.parameters()), "scale": rate / 5},
    ]


def preview(prior: Prior, pairs: tuple[Tensor, Tensor], size: int, path: Path) -> None:
    with torch.no_grad():
        out, _, _ = prior(*pairs, size, 0.0)
    rows = [F.interpolate(v, size=128, mode="area" if v.shape[-1] >= 128 else "bilinear") for v in (*pairs, out)]
    sheet = torch.cat([torch.cat(list(r), 2) for r in rows], 1)
    array = to_levels(sheet).byte().permute(1, 2, 0).numpy()
    Image.fromarray(array).save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--final-rate", type=float, default=0.3, help="share of the rate left at the end")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--from", dest="start", help="model name or file to start from, where the run has no checkpoint"
    )
    parser.add_argument("--no-compile", action="store_true")
    args = parser.parse_args()
    args.run.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(args.seed)
    prior = Prior().to(device)
    optimiser = torch.optim.Adam(learning_rates(prior, args.rate), lr=1e-4, betas=(0.5, 0.99))
    average = copy.deepcopy(prior)
    step = 0
    checkpoint = args.run / "prior.pt"
    if args.start and not checkpoint.exists():
        model = load_model(args.start)
        for own in (prior, average):
            own.generator.load_state_dict(model.generator.state_dict())
            own.inverter.load_state_dict(parts_of(model).inverter.state_dict())
            own.latents.load_state_dict(model.latents.state_dict())
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        prior.load_state_dict(state["prior"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        step = state["step"]
        for group, fresh in zip(optimiser.param_groups, learning_rates(prior, args.rate), strict=True):
            group["scale"] = fresh["scale"]
    pairs = Pairs(args.data, args.seed + step)
    held = Pairs(args.data, 7)
    first_held, second_held = (v.to(device) for v in held.draw(6, 6))
    fixed = (first_held, second_held)
    weight = importance(args.size).to(device)

    def loss_of(source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        out, identity, motion = prior(source, target, args.size, 0.05)
        truth = F.interpolate(target, size=args.size, mode="area")
        error = pyramid_loss(out, truth, weight)
        return error + 1e-3 * (motion.square().mean() + 0.1 * identity.square().mean()), error

    compiled = loss_of if args.no_compile else torch.compile(loss_of)
    start, first, saved, total = time.time(), step, time.time(), 0.0
    while (done := (time.time() - start) / 60 / args.minutes) < 1:
        warm = min(1.0, (step - first + 1) / 100)
        share = args.final_rate + (1 - args.final_rate) * (0.5 + 0.5 * math.cos(math.pi * min(1.0, done)))
        for group in optimiser.param_groups:
            group["lr"] = group["scale"] * warm * share
        source, target = (v.to(device) for v in pairs.draw(args.batch * 5 // 8, args.batch - args.batch * 5 // 8))
        loss, error = compiled(source, target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        step += 1
        total = 0.98 * total + 0.02 * error.item() if step > first + 1 else error.item()
        decay = 0.997  # a run is a few thousand steps; a longer memory would lag behind it
        with torch.no_grad():
            for mean, value in zip(average.parameters(), prior.parameters(), strict=True):
                mean.lerp_(value, 1 - decay)
            for kept, constant in zip(average.buffers(), prior.buffers(), strict=True):
                kept.copy_(constant)
        if step % 50 == 0:
            speed = (step - first) * args.batch / (time.time() - start)
            print(f"size {args.size} step {step} loss {total:.4f} {speed:.1f} images/s {done * 100:.0f} %", flush=True)
        if time.time() - saved > 240:
            saved = time.time()
            save(checkpoint, prior, average, optimiser, step)
            preview(average, fixed, args.size, args.run / f"preview_{args.size}.png")
    save(checkpoint, prior, average, optimiser, step)
    preview(average, fixed, args.size, args.run / f"preview_{args.size}.png")


def save(path: Path, prior: Prior, average: Prior, optimiser: torch.optim.Optimizer, step: int) -> None:
    temporary = path.with_suffix(".tmp")
    torch.save(
        {
            "prior": prior.state_dict(),
            "average": average.state_dict(),
            "optimiser": optimiser.state_dict(),
            "step": step,
        },
        temporary,
    )
    temporary.replace(path)


if __name__ == "__main__":
    main()
