#!/usr/bin/env python3
"""A second decoder, written from `spec/codec-1.md` with numpy only: draws the pictures of a .fev stream.

`fev_read.py` gives the integers, `fev_model.py` holds the generator. It shares no code with `codec/`, and a test
compares the two. Everything is in double precision. AV1 is left to whoever calls `Drawing` with decoded stills.
Usage: fev_draw.py FILE MODEL FRAME PICTURE.ppm, for streams without stills.
"""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Callable
from pathlib import Path
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
Stream = dict[str, Any]  # as `fev_read.read` returns it

LOW = (0.788485616405664, 0.418092273222212, -0.0406894176095584, -0.0645388826289385)
HIGH = (0.852698679009403, -0.377402855612654, -0.110624404418423, 0.0238494650193800, 0.0378284555069955)
TO_RGB = np.array([[1, 0, 1.402], [1, -0.344136, -0.714136], [1, 1.772, 0]])
MATRICES = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114)}
EDGE = 0.12


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
    """(3, n, n) at places between its pixels -> (3, ...)."""
    n = picture.shape[-1]
    k, j = np.floor(row).astype(int), np.floor(column).astype(int)
    out = np.zeros((3, *row.shape))
    for down, a in rule(row - k):
        for across, b in rule(column - j):
            out += a * b * picture[:, np.clip(k + down, 0, n - 1), np.clip(j + across, 0, n - 1)]
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


# -- The stream


class Drawing:
    """Draws a stream that `fev_read.read` has read.

    stills: "PIVT" and "SETT", where the stream has them -> the planes Y, U, V of the decoded AV1 picture.
    """

    def __init__(self, stream: Stream, model: fev_model.Model, stills: dict[str, Planes]):
        head = self.head = stream["head"]
        need(head["model"] == model.sha256 and head["params"] == model.params, "another model")
        need(set(stream["actors"]) == {(0, 0)} and set(stream["sets"]) <= {0}, "one actor and one set are drawn so far")
        actor = stream["actors"][0, 0]
        need(actor["reference"] is None, "the identity lies in another stream")
        need(head["flags"] & 3, "neither the square nor a placement")
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
            reference, still = actor["pivot"]
            need(len(reference) <= model.params, "too many parameters of the pivot")
            side = model.side
            self.pivot = still_to_rgb(still, stills["PIVT"]) / 127.5 - 1
            if self.pivot.shape[1:] != (side, side):
                self.pivot = resampled(self.pivot, side, side, None if min(self.pivot.shape[1:]) >= side else bicubic)
            values = np.zeros(model.params)
            values[: len(reference)] = reference
            self.reference = self.driven(values * self.motion_step)
            if "shared.luma" in model.tensors:
                self.shared = Modes(*(model.tensors[f"shared.{part}"] for part in ("luma", "chroma", "flow")))
        self.background = None if head["flags"] & 1 else self.plate(stream, stills)

    def plate(self, stream: Stream, stills: dict[str, Planes]) -> Array:
        """spec 11: the set, bytes."""
        height, width = self.head["height"], self.head["width"]
        if not stream["sets"]:
            return np.zeros((3, height, width))
        rgb = still_to_rgb(stream["sets"][0]["still"], stills["SETT"])
        if rgb.shape[1:] != (height, width):
            rgb = resampled(rgb, height, width, None if height < rgb.shape[1] else bicubic)
        return np.rint(np.clip(rgb, 0, 255))

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

    def frame(self, motion: list[int], placement: list[int] | None) -> NDArray[np.uint8]:
        """spec 11: integers of a frame -> (height, width, 3), uint8."""
        if self.background is None:
            square = self.square(motion)
            height, width = self.head["height"], self.head["width"]
            if square.shape[1:] != (height, width):
                square = resampled(square, height, width, None if height < square.shape[1] else bicubic)
            values: Array = (np.clip(square, -1, 1) + 1) * 127.5
        elif not placement:
            raise fev_read.Fault("no placement")
        elif placement[2] <= 0:
            values = self.background
        else:
            values = self.pasted(self.square(motion), self.background, placement)
        picture: NDArray[np.uint8] = np.rint(values).astype(np.uint8).transpose(1, 2, 0)
        return picture

    def pasted(self, square: Array, background: Array, placement: list[int]) -> Array:
        """spec 11: Pasted."""
        centre_x, centre_y, half = (value / 8 for value in placement[:3])
        angle = placement[3] * 2 * math.pi / 16384
        y, x = np.mgrid[0 : self.head["height"], 0 : self.head["width"]] + 0.5
        dx, dy = (x - centre_x) / half, (y - centre_y) / half
        u, v = math.cos(angle) * dx + math.sin(angle) * dy, -math.sin(angle) * dx + math.cos(angle) * dy
        d = np.clip((1 - np.maximum(abs(u), abs(v))) / EDGE, 0, 1)
        weight = d * d * (3 - 2 * d)
        z = square.shape[-1] / (2 * half)
        if z > 1.5:
            n = max(1, math.floor(square.shape[-1] * (1 / z)))
            square = resampled(square, n, n, None)
        n = square.shape[-1]
        seen = weight > 0
        row, column = (v[seen] + 1) * n / 2 - 0.5, (u[seen] + 1) * n / 2 - 0.5
        face = (np.clip(fetched(square, row, column, bicubic if z < 0.9 else bilinear), -1, 1) + 1) * 127.5
        out: Array = background.copy()
        out[:, seen] += (face - background[:, seen]) * weight[seen]
        return out


def frames(stream: Stream) -> list[tuple[list[int], list[int] | None]]:
    """Motion and placement of all frames in order."""
    out: list[tuple[list[int], list[int] | None]] = []
    for segment in stream["segments"]:
        need(len(segment["actors"]) == 1 and segment["set"] == 0, "one actor and one set are drawn so far")
        need(segment["camera"] is None and not segment["patches"], "cameras and patches are not drawn so far")
        motion, placement = segment["actors"][0]["motion"], segment["actors"][0]["placement"]
        out += zip(motion, placement or [None] * len(motion))
    return out


def main() -> int:
    if len(sys.argv) != 5:
        print("usage: fev_draw.py FILE MODEL FRAME PICTURE.ppm", file=sys.stderr)
        return 2
    try:
        stream = fev_read.read(Path(sys.argv[1]).read_bytes())
        stills = bool(stream["sets"]) or any("pivot" in actor for actor in stream["actors"].values())
        need(not stills, "a still needs an AV1 decoder: call Drawing from Python")
        all_frames, number = frames(stream), int(sys.argv[3])
        need(0 <= number < len(all_frames), f"there are {len(all_frames)} frames")
        picture = Drawing(stream, fev_model.Model(Path(sys.argv[2]).read_bytes()), {}).frame(*all_frames[number])
        head = f"P6\n{picture.shape[1]} {picture.shape[0]}\n255\n"
        Path(sys.argv[4]).write_bytes(head.encode() + picture.tobytes())
    except (fev_read.Fault, OSError, ValueError) as fault:
        print(f"fev_draw: {fault}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
