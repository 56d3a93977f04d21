"""Train the shared modes (`fev.codec.model.shared`) of a model, and the guess of their parameters.

A sample is two frames of one clip: the first, moved by the planes, must become the second.  The parameters of a frame
are a linear guess from the inverter's features, which stay as they are, plus a small correction of their own
that lives during training only: the encoder fits the parameters too, and the planes are to be the best for that.
Afterwards every parameter is scaled so that one unit moves a picture by the same amount, and the planes are put
into the model file; nothing else in it changes but its sha256.

    python -m fev.tools.lab.train.shared --data DIR --model base-256 --out DIR [--steps 1600]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load, save
from torch import Tensor, nn

from ....codec.face.regions import attention, head
from ....codec.fit.loss import fitting_loss
from ....codec.fit.modebasis import PARAMETER_UNIT
from ....codec.model.library import find
from ....codec.model.modelfile import Model, load_bytes, quantise, read_config
from ....codec.model.pictures import LEVELS_PER_UNIT, from_levels, from_numpy, to_bytes
from ....codec.model.planes import mixed, synthesise
from ....codec.model.shared import SharedModes
from ..parts import parts_of

SIZE = 128  # of the pictures that are compared
TEXTURE, GRID = 64, 32
BATCH = 24
RATES = {"planes": 0.02, "guess": 1e-3, "own": 0.05}
NOISE = 0.2  # of the normalised features: no guess may hang on one of them
BENDING = 60.0  # price of a flow that bends: glasses and jaws are stiff
LAPLACE = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]
SPARSE, SMALL = 1e-3, 1e-3  # prices of the planes' coefficients, and of the frames' own corrections


class ModeTraining(nn.Module):
    """Planes as wavelet coefficients, so that what moves together is learnt together."""

    seen: Tensor

    def __init__(self, params: int, features: Tensor):
        super().__init__()
        self.params = params
        self.guess = nn.Linear(features.shape[1], params)
        nn.init.normal_(self.guess.weight, std=0.02)
        self.luma = nn.Parameter(torch.zeros(params, TEXTURE, TEXTURE))
        self.chroma = nn.Parameter(torch.zeros(params, 2, TEXTURE // 2, TEXTURE // 2))
        self.flow = nn.Parameter(0.02 * torch.randn(params, 2, GRID, GRID))
        self.own = nn.Parameter(torch.zeros(len(features), params))
        self.mean, self.spread = features.mean(0), features.std()
        self.register_buffer("seen", (features - self.mean) / self.spread)

    def modes(self) -> SharedModes:
        """The planes in picture values, differentiable; the guess stays here until `normalised`."""
        out = SharedModes(self.params, TEXTURE, GRID)
        for name, plane in (
            ("luma", 0.05 * synthesise(self.luma) * head(TEXTURE)),  # nobody else's background
            ("chroma", 0.05 * synthesise(self.chroma) * head(TEXTURE // 2)),
            ("flow", 0.02 * synthesise(self.flow)),
        ):
            delattr(out, name)
            setattr(out, name, plane)
        return out

    def parameters_of(self, rows: np.ndarray) -> Tensor:
        seen = self.seen[rows]
        guessed: Tensor = self.guess(seen + NOISE * torch.randn_like(seen))
        return guessed + self.own[rows]

    def loss(self, first: Tensor, second: Tensor, rows: tuple[np.ndarray, np.ndarray]) -> Tensor:
        change = self.parameters_of(rows[1]) - self.parameters_of(rows[0])
        modes = self.modes()
        out = modes.move(first, change)
        price = SPARSE * (self.luma.abs().mean() + self.chroma.abs().mean() + self.flow.abs().mean())
        price = price + SMALL * self.own[rows[1]].square().mean() + 1e-4 * change.square().mean()
        bent = F.conv2d(mixed(modes.planes()[1], change).flatten(0, 1)[:, None], LAPLACE)
        return fitting_loss(out, second, attention(SIZE)) + price + BENDING * bent.square().mean()


def train(pictures: Tensor, features: Tensor, clips: list[np.ndarray], steps: int, params: int) -> ModeTraining:
    """pictures: (N, 3, SIZE, SIZE), uint8.  clips: the rows of each."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    training = ModeTraining(params, features)
    planes = [training.luma, training.chroma, training.flow]
    optimiser = torch.optim.AdamW(
        [
            {"params": planes, "weight_decay": 0.0},
            {"params": training.guess.parameters(), "weight_decay": 0.05},
            {"params": [training.own], "weight_decay": 0.0},
        ]
    )
    for step in range(steps):
        pace = min(1, (step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * step / steps))
        for group, rate in zip(optimiser.param_groups, RATES.values(), strict=True):
            group["lr"] = rate * pace
        chosen = [clips[k] for k in rng.choice(len(clips), BATCH)]
        before, after = (np.array([rng.choice(clip) for clip in chosen]) for _ in range(2))
        light = torch.exp(0.12 * torch.randn(BATCH, 1, 1, 1))
        first, second = ((pictures[r].float() / LEVELS_PER_UNIT) * light - 1 for r in (before, after))
        loss = training.loss(first, second, (before, after))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 200 == 199:
            print(f"{step + 1} steps: loss {float(loss.detach()):.4f}", flush=True)
    return training


@torch.no_grad()
def normalised(training: ModeTraining, pictures: Tensor) -> SharedModes:
    """Modes whose parameters move a picture equally, the most used first; the guess takes plain features."""
    made, spread = training.modes(), training.guess(training.seen).std(0)
    sample = from_levels(pictures[:: max(1, len(pictures) // 24)])
    moved = torch.stack(
        [(made.move(sample, s * row.expand(len(sample), -1)) - sample).square().mean().sqrt() / s
         for s, row in zip(spread, torch.eye(len(spread)), strict=True)]
    ) / PARAMETER_UNIT  # fmt: skip
    order = (spread * moved).argsort(descending=True)
    out = SharedModes(len(spread), TEXTURE, GRID)
    for name in ("luma", "chroma", "flow"):
        plane = getattr(made, name)
        getattr(out, name).copy_((plane / moved.view(-1, *[1] * (plane.ndim - 1)))[order])
    weight = training.guess.weight * moved[:, None] / training.spread
    out.guess.weight.copy_(weight[order])
    out.guess.bias.copy_((training.guess.bias * moved - weight @ training.mean)[order])
    return out


def put_into(data: bytes, modes: SharedModes) -> bytes:
    """The model file with these shared modes instead of its own."""
    config = read_config(data) | {"shared": {"texture": modes.luma.shape[-1], "grid": modes.flow.shape[-1]}}
    tensors = {k: v for k, v in load(data).items() if not k.startswith("shared.")}
    for key, value in modes.state_dict().items():
        tensors |= quantise(f"shared.{key}", value)
    return save(tensors, {"config": json.dumps(config, sort_keys=True)})


@torch.no_grad()
def look(model: Model, frames: np.ndarray) -> tuple[Tensor, Tensor]:
    """Small pictures (N, 3, SIZE, SIZE), uint8, and the inverter's features (N, F) of frames (N, 256, 256, 3)."""
    inverter, small, features = parts_of(model).inverter, [], []
    for i in range(0, len(frames), 32):
        x = from_numpy(np.array(frames[i : i + 32]))
        features.append(inverter.features(x))
        small.append(to_bytes(F.interpolate(x, size=SIZE, mode="area")))
    return torch.cat(small), torch.cat(features)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="base-256")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1600)  # those of the shipped model
    args = parser.parse_args()
    path, _ = find(args.model)
    data = path.read_bytes()
    model = load_bytes(data)
    kept = [c for c in json.loads((args.data / "frames.json").read_text()) if not c["held_out"]]
    rows = np.concatenate([np.arange(c["first"], c["first"] + c["count"]) for c in kept])
    ends = np.cumsum([c["count"] for c in kept])
    clips = [np.arange(end - c["count"], end) for c, end in zip(kept, ends, strict=True)]
    pictures, features = look(model, np.load(args.data / "frames.npy", mmap_mode="r")[rows])
    training = train(pictures, features, clips, args.steps, parts_of(model).latents.params)
    data = put_into(data, normalised(training, pictures))
    load_bytes(data)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / path.name).write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    (args.out / f"{path.stem}.sha256").write_text(f"{digest}  {path.name}\n")
    print(f"{path.name}: {len(data) / 1e6:.2f} MB, sha256 {digest}")


if __name__ == "__main__":
    main()
