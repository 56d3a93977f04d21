"""The small coded change of a generator's weights: which tensors may change, and how integers
become one.

Every tensor that a clip may change is a `Tunable` with a fixed key, its place in `tunables(model)`.
A kernel changes by a low-rank product, `delta W = scale * U V` with U (O, r) and V (r, I*k*k); all
else changes densely.  `scale` is the model's measured size of a change that moves the picture by
one unit, so one quantiser step fits all tensors.  `fev.format.delta` holds the bytes,
`fev.codec.fit.tune` finds the values.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...format.delta import DeltaTensor
from ...format.errors import DamagedError
from ..model.inverter import LatentSpace
from ..model.modelfile import Model
from ..model.stylegan2 import Generator
from ..model.stylespace import StyleSpace
from .units import step_size

DENSE, FACTOR_U, FACTOR_V = 0, 1, 2
MAX_RANK = 32


@dataclass(frozen=True)
class Tunable:
    """A tensor that a clip may change.

    Args:
        key: its number in the file.
        name: its name in the generator, or `directions`.
        low_rank: whether it changes by a product of factors.
    """

    key: int
    name: str
    shape: tuple[int, ...]
    low_rank: bool

    @property
    def factor_shapes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Shapes of U and V for rank 1."""
        return (self.shape[0], 1), (1, int(np.prod(self.shape[1:])))


def tunables(generator: Generator, latents: LatentSpace | StyleSpace) -> list[Tunable]:
    """All tunable tensors in key order, which the architecture fixes."""
    out: list[Tunable] = []

    def add(name: str, shape: Sequence[int], low_rank: bool = False) -> None:
        out.append(Tunable(len(out), name, tuple(shape), low_rank))

    add("const", generator.const.shape)
    for i, layer in enumerate(generator.style_layers):
        add(f"layers.{i}.weight", layer.weight.shape, layer.spec.kind != "rgb")
        add(f"layers.{i}.bias", layer.bias.shape)
        add(f"layers.{i}.affine.bias", layer.affine.bias.shape)
        if layer.has_noise:
            add(f"layers.{i}.noise", layer.noise.shape)
    if isinstance(latents, LatentSpace):
        add("directions", latents.directions.shape)
    return out


def expand(tunable: Tunable, parts: Mapping[int, Tensor], scale: float) -> Tensor:
    """Values in normalised units -> the change of the tensor, in its own shape.

    Args:
        parts: variant -> values; {DENSE: flat} or {FACTOR_U: (O, r), FACTOR_V: (r, rest)}.
    """
    if DENSE in parts:
        return parts[DENSE].reshape(tunable.shape) * scale
    u, v = parts[FACTOR_U], parts[FACTOR_V]
    out: Tensor = (u @ v).reshape(tunable.shape) * (scale / tunable.shape[0] ** 0.5)
    return out


def read_parts(model: Model, tensors: Sequence[DeltaTensor]) -> dict[int, dict[int, Tensor]]:
    """Integers of a file -> key -> variant -> values; every key, shape and rank is checked."""
    known = tunables(model.generator, model.latents)
    out: dict[int, dict[int, Tensor]] = {}
    for t in tensors:
        if t.key >= len(known):
            raise DamagedError(f"weight delta names tensor {t.key}, the model has {len(known)}")
        tunable = known[t.key]
        if (t.variant == DENSE) == tunable.low_rank or t.variant > FACTOR_V:
            raise DamagedError(f"weight delta of tensor {t.key} has variant {t.variant}")
        shape: tuple[int, ...] = (int(np.prod(tunable.shape)),)
        if t.variant != DENSE:
            if not 1 <= t.rank <= MAX_RANK:
                raise DamagedError(f"weight delta of tensor {t.key} has rank {t.rank}")
            (rows, _), (_, columns) = tunable.factor_shapes
            shape = (rows, t.rank) if t.variant == FACTOR_U else (t.rank, columns)
        if len(t.values) != int(np.prod(shape)) or t.variant in out.get(t.key, {}):
            raise DamagedError(f"weight delta of tensor {t.key} does not fit the model")
        values = torch.from_numpy(np.asarray(t.values, np.float32)) * step_size(t.step_code)
        out.setdefault(t.key, {})[t.variant] = values.reshape(shape)
    for key, parts in out.items():
        if known[key].low_rank and (set(parts) != {FACTOR_U, FACTOR_V} or parts[1].shape[1] != parts[2].shape[0]):
            raise DamagedError(f"weight delta of tensor {key} lacks a factor")
    return out


def apply_delta(model: Model, tensors: Sequence[DeltaTensor]) -> tuple[Generator, LatentSpace | StyleSpace]:
    """The generator and latent space of a clip; the model itself is left as it is."""
    if not tensors:
        return model.generator, model.latents
    generator, latents = copy.deepcopy(model.generator), copy.deepcopy(model.latents)
    known = tunables(generator, latents)
    state = dict(generator.state_dict())
    if isinstance(latents, LatentSpace):
        state["directions"] = latents.directions.data
    for key, parts in read_parts(model, tensors).items():
        tunable = known[key]
        state[tunable.name].add_(expand(tunable, parts, model.tuning_scale.get(tunable.name, 1.0)))
    return generator, latents
