"""The squares of the second decoder, `fev_draw.py`: sections 1, 3 and 6 to 10 of `spec/codec-1.md` with numpy only.

How pictures are resampled, what a still is, and an actor's square out of its integers, all in double precision.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from . import fev_model, fev_read
else:  # in a package, or in a folder
    fev_read, fev_model = (
        importlib.import_module(f".{name}" if __package__ else name, __package__) for name in ("fev_read", "fev_model")
    )
need, step = fev_read.need, fev_model.step

Array = NDArray[np.float64]
Rule = Callable[[Array], list[tuple[int, Array]]]  # how far from a place, 0 to 1, to its taps and their weights
Planes = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]  # Y, U, V

LOW = (0.788485616405664, 0.418092273222212, -0.0406894176095584, -0.0645388826289385)
HIGH = (0.852698679009403, -0.377402855612654, -0.110624404418423, 0.0238494650193800, 0.0378284555069955)
TO_RGB = np.array([[1, 0, 1.402], [1, -0.344136, -0.714136], [1, 1.772, 0]])
MATRICES = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114)}


# -- spec 1: Resampling. Weights of taps, and matrices that bring one axis from n to m samples


def bilinear(t: Array) -> list[tuple[int, Array]]:
    return [(0, 1 - t), (1, t)]


def bicubic(t: Array) -> list[tuple[int, Array]]:
    taps = []
    for j in (-1, 0, 1, 2):
        d = abs(t - j)
        taps.append((j, np.where(d <= 1, 1.25 * d**3 - 2.25 * d**2 + 1, -0.75 * d**3 + 3.75 * d**2 - 6 * d + 3)))
    return taps


def between(n: int, m: int, rule: Rule) -> Array:
    out = np.zeros((m, n))
    s = (np.arange(m) + 0.5) * n / m - 0.5
    k = np.floor(s).astype(int)
    for j, weight in rule(s - k):
        np.add.at(out, (np.arange(m), np.clip(k + j, 0, n - 1)), weight)
    return out


def means(n: int, m: int) -> Array:
    out = np.zeros((m, n))
    for i in range(m):
        first, end = i * n // m, -(-(i + 1) * n // m)
        out[i, first:end] = 1 / (end - first)
    return out


def resampled(planes: Array, height: int, width: int, rule: Rule | None) -> Array:
    """(..., n, n') -> (..., height, width). rule: None is the mean."""
    rows, columns = (
        means(n, m) if rule is None else between(n, m, rule)
        for n, m in ((planes.shape[-2], height), (planes.shape[-1], width))
    )
    out: Array = rows @ planes @ columns.T
    return out


def fetched(picture: Array, row: Array, column: Array, rule: Rule) -> Array:
    """(3, m, n) at places between its pixels -> (3, ...)."""
    m, n = picture.shape[-2:]
    k, j = np.floor(row).astype(int), np.floor(column).astype(int)
    out = np.zeros((3, *row.shape))
    for down, a in rule(row - k):
        for across, b in rule(column - j):
            out += a * b * picture[:, np.clip(k + down, 0, m - 1), np.clip(j + across, 0, n - 1)]
    return out


# -- spec 6: Stills


def still_to_rgb(still: dict[str, Any], planes: Planes) -> Array:
    """The planes that an AV1 decoder gives -> (3, height, width), bytes as float64."""
    y, u, v = (np.asarray(plane, np.float64) for plane in planes)
    u, v = (resampled(plane, y.shape[0], y.shape[1], bilinear) for plane in (u, v))
    if still["full"]:
        light, b, r = y / 255, (u - 128) / 255, (v - 128) / 255
    else:
        light, b, r = (y - 16) / 219, (u - 128) / 224, (v - 128) / 224
    need(still["matrix"] in MATRICES, "matrix of a still")
    kr, kb = MATRICES[still["matrix"]]
    red, blue = light + 2 * (1 - kr) * r, light + 2 * (1 - kb) * b
    green = (light - kr * red - kb * blue) / (1 - kr - kb)
    rgb = np.rint(np.clip(255 * np.stack([red, green, blue]), 0, 255))
    return rgb[:, : still["height"], : still["width"]]


# -- spec 8 and 9: Texture and flow


def inverse(values: Array) -> Array:
    """spec 9: Inverse transform, (..., n, n)."""
    out: Array = values.copy()
    side = 8
    while side <= values.shape[-1]:
        axis = np.zeros((side, side))
        for j in range(side):
            for i in range(j - 4, j + 5):
                taps = HIGH if i % 2 else LOW
                if abs(i - j) < len(taps):
                    k = abs(i)
                    k = 2 * (side - 1) - k if k >= side else k
                    axis[j, k // 2 + (side // 2 if k % 2 else 0)] += taps[abs(i - j)]
        out[..., :side, :side] = axis @ out[..., :side, :side] @ axis.T
        side *= 2
    return out


class Modes:
    """Planes of texture (K, 3, t, t) and of flow (K, 2, g, g)."""

    def __init__(self, luma: Array, chroma: Array, flow: Array) -> None:
        t = luma.shape[-1]
        parts = np.concatenate([luma[:, None], resampled(chroma, t, t, bilinear)], 1)
        self.texture, self.flow = np.einsum("rc,kcyx->kryx", TO_RGB, parts), flow

    def moved(self, picture: Array, weights: Array) -> Array:
        """spec 8: (3, S, S) with the texture, warped by the flow."""
        side = picture.shape[-1]
        texture, flow = np.tensordot(weights, self.texture, 1), np.tensordot(weights, self.flow, 1)
        if texture.shape[-1] != side:
            texture = resampled(texture, side, side, None if texture.shape[-1] > side else bilinear)
        across, down = resampled(flow, side, side, bicubic) * side / 2
        y, x = np.mgrid[0:side, 0:side]
        row, column = np.clip(y + down, 0, side - 1), np.clip(x + across, 0, side - 1)
        return fetched(picture + texture, row, column, bilinear)


def clip_modes(modes: dict[str, Any]) -> Modes:
    """spec 9: the planes of MODE."""
    luma, blue, red, across, down = (np.array(part, np.float64) for part in modes["components"])
    codes = modes["steps"]
    steps = np.array([step(code) for code in codes[: len(luma)]])[:, None, None]
    flow_steps = np.array([step(code) for code in codes[len(luma) :]])[:, None, None]
    return Modes(
        inverse(luma * steps) / 128,
        np.stack([inverse(part * steps * 0.5) / 128 for part in (blue, red)], 1),
        np.stack([inverse(part * flow_steps) * 2 / 256 for part in (across, down)], 1),
    )


# -- spec 10: Order


class Actor:
    """One revision of an actor that `fev_read.read` has read.

    planes: Y, U, V of its pivot's decoded AV1 picture, where it has one.
    """

    def __init__(self, actor: dict[str, Any], model: fev_model.Model, planes: Planes | None):
        need(actor["reference"] is None, "the identity lies in another stream")
        self.model = model
        self.tensors = fev_model.changed(model, actor["delta"] or [])
        self.motion_step = step(actor["steps"][0])
        scale = self.tensors["identity_scale"]
        need(len(actor["identity"]) <= len(scale), "too many coefficients")
        identity = np.zeros(len(scale))
        identity[: len(actor["identity"])] = actor["identity"]
        identity *= step(actor["steps"][1]) * scale
        self.face = self.tensors["latents.mean"] + np.tensordot(identity, self.tensors["latents.basis"], 1)
        self.mix, self.modes = None, None
        if "modes" in actor:
            self.mix = np.array(actor["modes"]["mix"], np.float64).T * step(actor["modes"]["mix_step_code"][0])
            self.modes = clip_modes(actor["modes"])
            need(len(self.mix) == model.params and len(self.modes.flow) <= model.params + 1, "modes of another model")
        self.pivot, self.shared = None, None
        if "pivot" in actor:
            assert planes is not None
            reference, still = actor["pivot"]
            need(len(reference) <= model.params, "too many parameters of the pivot")
            self.pivot = still_to_rgb(still, planes) / 127.5 - 1
            side = model.side
            if "shared.luma" in model.tensors or (self.mix is not None and self.mix.shape[1] == 1):
                while side < max(self.pivot.shape[1:]) and 2 * side <= 1024:
                    side *= 2
            if self.pivot.shape[1:] != (side, side):
                self.pivot = resampled(self.pivot, side, side, None if min(self.pivot.shape[1:]) >= side else bicubic)
            values = np.zeros(model.params)
            values[: len(reference)] = reference
            self.reference = self.driven(values * self.motion_step)
            if "shared.luma" in model.tensors:
                self.shared = Modes(*(model.tensors[f"shared.{part}"] for part in ("luma", "chroma", "flow")))

    def driven(self, c: Array) -> Array:
        """spec 3: the file's parameters -> the model's."""
        return c if self.mix is None else self.mix[:, 0] + self.mix[:, 1:] @ c[: self.mix.shape[1] - 1]

    def generator(self, p: Array) -> Array:
        """spec 3 and 5: G(p)."""
        w, moves = self.face.copy(), self.tensors["latents.directions"]
        w[: moves.shape[1]] += np.tensordot(p, moves, 1)
        return fev_model.generated(self.model, self.tensors, w)

    def square(self, motion: list[int]) -> Array:
        """spec 7 and 9: motion integers of a frame -> (3, S, S)."""
        c = np.array(motion, np.float64) * self.motion_step
        p = self.driven(c)
        if self.pivot is None:
            picture = self.generator(p)
        elif self.mix is not None and self.mix.shape[1] == 1:
            picture = self.pivot
        elif self.shared is not None:
            picture = self.shared.moved(self.pivot, p - self.reference)
        else:
            picture = self.generator(p) + self.pivot - self.generator(self.reference)
        if self.modes is None:
            return picture
        weights = np.concatenate([[1.0], c])[: len(self.modes.flow)]
        return self.modes.moved(picture, weights)
