"""The faces that `directions` trains on: codes drawn from a generator, codes of real pictures, and pairs of a clip.

A model of our own has an inverter and a linear space of faces; imported networks have a mapping network and e4e.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ....codec.model import library
from ....codec.model.inverter import LatentSpace
from ....codec.model.modelfile import Model, load_model
from ....codec.model.pictures import from_numpy
from ....codec.model.stylegan2 import Generator
from ....codec.paper.inversion import by_e4e
from ....codec.paper.networks import Networks
from ....format.errors import FevError, UsageError

PHASES = ("synthetic", "real_synthetic", "paired")
CHUNK = 8  # pictures at a time where no gradient is wanted


class Codes(Protocol):
    """generator: draws from W+ (N, num_ws, w_dim).  origin: name and sha256, kept in what is trained."""

    generator: Generator
    origin: dict[str, str]

    def to(self, device: torch.device) -> None: ...

    def synthetic(self, count: int, truncation: float, rng: torch.Generator) -> Tensor:
        """W+ of faces that do not exist; truncation 1 as wide as the training faces, 0 all alike."""

    def inverted(self, pictures: Tensor) -> Tensor:
        """W+ of FFHQ squares (N, 3, S, S), -1 to 1.  Raises FevError where nothing can find them."""


class PriorCodes:
    """Of a model of our own: the truncation shrinks the coefficients of identity and motion towards the mean face."""

    def __init__(self, model: Model):
        if model.inverter is None or not isinstance(model.latents, LatentSpace):
            raise UsageError(f"{model.name} is no model of our own; name it as imported networks")
        self.generator, self.latents, self.inverter = model.generator, model.latents, model.inverter
        self.identity = model.identity_scale
        self.motion = torch.tensor(model.config.get("motion_spread", [1.0] * model.latents.params))
        self.origin = {"name": model.name, "sha256": model.sha256}

    def to(self, device: torch.device) -> None:
        for part in (self.generator, self.latents, self.inverter):
            part.to(device)

    def synthetic(self, count: int, truncation: float, rng: torch.Generator) -> Tensor:
        parts = [truncation * s * torch.randn(count, len(s), generator=rng) for s in (self.identity, self.motion)]
        device = self.latents.mean.device
        ws: Tensor = self.latents(parts[0].to(device), parts[1].to(device))
        return ws

    def inverted(self, pictures: Tensor) -> Tensor:
        ws: Tensor = self.latents(*self.inverter(pictures))
        return ws


class MappedCodes:
    """Of imported networks: the truncation is StyleGAN's, towards the mean of W."""

    def __init__(self, networks: Networks):
        self.networks, self.generator = networks, networks.generator
        if self.generator.mapping is None:
            raise FevError(f"{networks.name} has no mapping network: no faces can be drawn from it")
        data = library.find(networks.name)[0].read_bytes()
        self.origin = {"name": networks.name, "sha256": hashlib.sha256(data).hexdigest()}

    def to(self, device: torch.device) -> None:
        self.generator.to(device)

    def synthetic(self, count: int, truncation: float, rng: torch.Generator) -> Tensor:
        g, mean = self.generator, self.generator.w_avg
        assert g.mapping is not None
        w: Tensor = g.mapping(torch.randn(count, g.config.z_dim, generator=rng).to(mean.device))
        return (mean + truncation * (w - mean))[:, None].repeat(1, g.config.num_ws, 1)

    def inverted(self, pictures: Tensor) -> Tensor:
        return by_e4e(self.networks.e4e.to(pictures.device), pictures)


def codes_of(name: str) -> Codes:
    """By a model's name or file.  Raises FevError where there is none, or it cannot be trained on."""
    if name in library.imported() and name not in library.built_in():
        return MappedCodes(Networks(name))
    return PriorCodes(load_model(name))


class Pictures:
    """Real faces and clips: the folder that `fev.tools.lab.train.data` makes.  What is held out is left alone."""

    def __init__(self, folder: Path):
        try:
            faces = json.loads((folder / "faces.json").read_text())
            clips = json.loads((folder / "frames.json").read_text())
            self.faces = np.load(folder / "faces.npy", mmap_mode="r")
            self.frames = np.load(folder / "frames.npy", mmap_mode="r")
        except (OSError, ValueError) as error:
            raise FevError(f"{folder} is no folder of training data: {error}") from error
        self.kept = np.array([i for i, r in enumerate(faces) if not r["held_out"]])
        self.clips = [(c["first"], c["count"]) for c in clips if not c["held_out"] and c["count"] > 1]

    def single(self, count: int, rng: torch.Generator) -> Tensor:
        rows = self.kept[torch.randint(len(self.kept), (count,), generator=rng).numpy()]
        return from_numpy(self.faces[rows])

    def pairs(self, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Two frames each of one clip; every clip equally often."""
        rows = []
        for clip in torch.randint(len(self.clips), (count,), generator=rng).tolist():
            first, length = self.clips[clip]
            rows.append((first + torch.randperm(length, generator=rng)[:2]).tolist())
        first, second = (from_numpy(self.frames[[r[i] for r in rows]]) for i in (0, 1))
        return first, second


@dataclass(frozen=True)
class Batch:
    """codes: W+ of the sources.  sources, targets: pictures (N, 3, S, S)."""

    codes: Tensor
    sources: Tensor
    targets: Tensor


@torch.no_grad()
def draw(
    codes: Codes, pictures: Pictures | None, phase: str, count: int, size: int, truncation: float, rng: torch.Generator
) -> Batch:
    """A batch of a phase of training.

    A real source is the picture itself, as in the public code, not what its code draws.

    Args:
        pictures: real ones, for the phases that need them.
        phase: "synthetic", sources and targets are drawn; "real_synthetic", every other source is a real
            face with its inversion, so that both halves of a batch have both kinds; "paired", source and
            target are frames of one clip.
        count: of the batch.
        size: side of the pictures, pixels.
        truncation: of drawn codes, 0 to 1.

    Raises UsageError where pictures are missing.
    """
    device = codes.generator.const.device

    def rendered(ws: Tensor) -> Tensor:
        return torch.cat([codes.generator(part, size=size).clamp(-1, 1) for part in ws.split(CHUNK)])

    def sized(x: Tensor) -> Tensor:
        return F.interpolate(x, size=(size, size), mode="area") if x.shape[-1] != size else x

    if phase != "synthetic" and pictures is None:
        raise UsageError(f"phase {phase} needs real pictures: --data")
    if phase == "paired":
        assert pictures is not None
        first, second = (x.to(device) for x in pictures.pairs(count, rng))
        return Batch(codes.inverted(first), sized(first), sized(second))
    ws = codes.synthetic(count, truncation, rng)
    sources = rendered(ws)
    if phase == "real_synthetic":
        assert pictures is not None
        real = pictures.single(len(ws[::2]), rng).to(device)
        ws[::2], sources[::2] = codes.inverted(real), sized(real)
    return Batch(ws, sources, rendered(codes.synthetic(count, truncation, rng)))
