"""The model of the second decoder, `fev_draw.py`: sections 2, 4 and 5 of `spec/codec-1.md` with numpy only.

A model file as arrays, what a stream's DELT changes of them, and the generator, all in double precision.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from . import fev_read
else:  # in a package, or in a folder
    fev_read = importlib.import_module(".fev_read" if __package__ else "fev_read", __package__)
need = fev_read.need

Array = NDArray[np.float64]

TYPES = {"F32": "<f4", "F16": "<f2", "I8": "i1", "I64": "<i8"}
FILTER = (0.25, 0.75, 0.75, 0.25)


def step(code: int) -> float:
    """spec 1: Step codes."""
    return 2**-10 * 2 ** (code / 4)


class Model:
    """The tensors as float64, 8-bit rows multiplied out, and the config."""

    def __init__(self, data: bytes) -> None:
        self.sha256 = hashlib.sha256(data).digest()
        end = 8 + int.from_bytes(data[:8], "little")
        head = json.loads(data[8:end])
        self.config = json.loads(head.pop("__metadata__")["config"])
        need(self.config["format"] == "fev-model/1", "format of the model")
        need(self.config["basis"] == "directions", "basis of the model")
        stored = {}
        for name, entry in head.items():
            first, last = entry["data_offsets"]
            values = np.frombuffer(data[end + first : end + last], TYPES[entry["dtype"]])
            stored[name] = values.reshape(entry["shape"]).astype(np.float64)
        self.tensors = {}
        for name, values in stored.items():
            if name.endswith(".q8"):
                scale = stored[name[:-3] + ".scale8"].reshape(-1, *[1] * (values.ndim - 1))
                self.tensors[name[:-3]] = values * scale
            elif not name.endswith(".scale8"):
                self.tensors[name] = values
        self.side = self.config["generator"]["resolution"]
        self.params = len(self.tensors["latents.directions"])


def layer_names(model: Model) -> list[str]:
    """spec 5: the style layers in order, each the beginning of its tensors' names."""
    count = 3 * int(math.log2(model.side)) - 4
    return [f"generator.layers.{i}." for i in range(count)]


def keys(model: Model) -> list[str]:
    """spec 4: names of the tensors that DELT can change, by key."""
    names = ["generator.const"]
    for layer in layer_names(model):
        names += [layer + part for part in ("weight", "bias", "affine.bias", "noise")]
    return [name for name in [*names, "latents.directions"] if name in model.tensors]


def changed(model: Model, delta: list[tuple[int, int, int, int, list[int]]]) -> dict[str, Array]:
    """spec 4: the stream's tensors."""
    tensors, names = dict(model.tensors), keys(model)
    parts: dict[str, dict[int, tuple[int, Array]]] = {}
    for key, variant, rank, code, values in delta:
        need(key < len(names) and variant < 3, "tensor of the delta")
        parts.setdefault(names[key], {})[variant] = (rank, np.array(values, np.float64) * step(code))
    for name, given in parts.items():
        old = tensors[name]
        scale = model.config["tuning_scale"].get(name.split(".", 1)[1], 1.0)
        factors = old.ndim == 4 and old.shape[2:] == (3, 3)
        need(set(given) == ({1, 2} if factors else {0}), "variants of the delta")
        if factors:
            (rank, u), (other, v) = given[1], given[2]
            need(rank == other and 1 <= rank <= 32, "rank of the delta")
            need(u.size == len(old) * rank and v.size * len(old) == old.size * rank, "values of the delta")
            change = u.reshape(-1, rank) @ v.reshape(rank, -1) / math.sqrt(len(old))
        else:
            change = given[0][1]
            need(change.size == old.size, "values of the delta")
        tensors[name] = old + change.reshape(old.shape) * scale
    return tensors


# -- spec 5: The generator


def convolved(x: Array, v: Array) -> Array:
    n = x.shape[1]
    wide = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    y = np.zeros((len(v), n, n))
    for a in range(3):
        for b in range(3):
            y += np.tensordot(v[:, :, a, b], wide[:, a : a + n, b : b + n], 1)
    return y


def enlarged(x: Array, v: Array) -> Array:
    n = x.shape[1]
    t = np.zeros((len(v), 2 * n + 3, 2 * n + 3))  # with one zero around
    for a in range(3):
        for b in range(3):
            t[:, 1 + a : 2 * n + a : 2, 1 + b : 2 * n + b : 2] += np.tensordot(v[:, :, a, b], x, 1)
    y = np.zeros((len(v), 2 * n, 2 * n))
    for a, down in enumerate(FILTER):
        for b, across in enumerate(FILTER):
            y += down * across * t[:, a : a + 2 * n, b : b + 2 * n]
    return y


def twice(x: Array) -> Array:
    n = x.shape[-1]
    axis = np.zeros((2 * n, n))
    for i in range(n):
        axis[2 * i, i] = axis[2 * i + 1, i] = 0.75
        if i:
            axis[2 * i, i - 1] = axis[2 * i - 1, i] = 0.25
    out: Array = axis @ x @ axis.T
    return out


def generated(model: Model, tensors: dict[str, Array], w: Array) -> Array:
    """W+ -> G, (3, S, S)."""
    clamp = model.config["generator"].get("conv_clamp")
    x, picture = tensors["generator.const"][0], np.zeros((3, 2, 2))
    for index, layer in enumerate(layer_names(model)):
        own = {name[len(layer) :]: value for name, value in tensors.items() if name.startswith(layer)}
        level, kind = divmod(index + 1, 3)  # kind 0 is up, 1 is conv, 2 is rgb
        vector = index if level == 0 else 2 * level - 1 + kind
        style = own["affine.weight"] @ w[vector] / math.sqrt(w.shape[1]) + own["affine.bias"]
        v = own["weight"] * style[:, None, None]
        bias = own["bias"][:, None, None]
        if kind == 2:
            y = np.tensordot(v[:, :, 0, 0] / math.sqrt(v.shape[1]), x, 1) + bias
        else:
            v = v / math.sqrt(9 * v.shape[1])
            v = v / np.sqrt((v**2).sum((1, 2, 3), keepdims=True) + 1e-8)
            y = convolved(x, v) if kind == 1 else enlarged(x, v)
            if "noise" in own:
                y = y + own["noise_strength"] * own["noise"][0]
            y = y + bias
            y = math.sqrt(2) * np.where(y > 0, y, 0.2 * y)
        if clamp is not None:
            y = np.clip(y, -clamp, clamp)
        if kind == 2:
            picture = twice(picture) + y
        else:
            x = y
    return picture
