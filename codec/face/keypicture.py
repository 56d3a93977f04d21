"""Where what one picture shows lies in another: a similarity, by direct alignment of its points.

A key picture keeps points of strong gradient, spread over tiles, on a pyramid of grey pictures.
Another picture is fetched at these points, and the similarity is moved until the grey levels agree
(inverse compositional Gauss-Newton, Baker and Matthews, IJCV 2004), coarse to fine.  Gain and offset
of the light are solved for with it, the weights are Geman and McClure's.  `camera` follows a shot
with it.

A similarity is two complex numbers: a place p, counted from the middle of the picture, lies at
t + z p.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

WIDE = 400  # pixels along the larger side that are looked at, at most
NARROW = 80  # ... of the coarsest picture
GRID = 12  # tiles across and down from which points are taken
POINTS = 1200  # of a level, at most
LEAST = 3.0  # grey levels a pixel: what a point's gradient has at least
ROUNDS = (3, 4, 6)  # of a level, from the finest; coarser ones have the last
ENOUGH = 0.02  # pixels of a level: a step that ends the rounds
BORDER = 2  # pixels
FEWEST = 60  # points that an alignment takes
HEAD, CHEST, CHIN = 0.85, 1.8, 0.45  # a person, in half sides: half widths above and below the chin
GAIN_UNIT = 64  # grey levels
LEAST_GAIN = 0.4  # of the light: of what is darker or flatter too little can be told
NOISE = 2.0  # grey levels that say nothing


class Similarity(NamedTuple):
    """t: pixels."""

    t: complex = 0j
    z: complex = 1 + 0j

    def after(self, first: Similarity) -> Similarity:
        """This one of what the other has moved."""
        return Similarity(self.t + self.z * first.t, self.z * first.z)

    def inverse(self) -> Similarity:
        return Similarity(-self.t / self.z, 1 / self.z)


class Pyramid(NamedTuple):
    """Grey pictures of one picture, the finest first.

    Args:
        levels: (h, w) float32 each.
        factors: pixels of the picture for one of the level.
        middle: of the picture, in its pixels.
    """

    levels: list[np.ndarray]
    factors: list[int]
    middle: complex


def pyramid(rgb: np.ndarray) -> Pyramid:
    """rgb: (H, W, 3) uint8.  Its green stands for grey: a third of the time."""
    height, width = rgb.shape[:2]
    factor = max(1, -(-max(width, height) // WIDE))
    part = rgb[: height // factor * factor, : width // factor * factor, 1]
    taken = range(0, factor, 1 if factor < 4 else 2)  # rows of a block
    rows = part[::factor].astype(np.uint16 if factor <= 16 else np.uint32)
    for i in taken[1:]:
        rows += part[i::factor]
    total = rows[:, ::factor].astype(np.float32)
    for i in range(1, factor):
        total += rows[:, i::factor]
    levels, factors = [total / np.float32(factor * len(taken))], [factor]
    while max(levels[-1].shape) > NARROW and min(levels[-1].shape) >= 32:
        a = levels[-1][: levels[-1].shape[0] // 2 * 2, : levels[-1].shape[1] // 2 * 2]
        levels.append(0.25 * (a[::2, ::2] + a[1::2, ::2] + a[::2, 1::2] + a[1::2, 1::2]))
        factors.append(2 * factors[-1])
    return Pyramid(levels, factors, complex(width / 2, height / 2))


def on_people(x: np.ndarray, y: np.ndarray, people: list[np.ndarray]) -> np.ndarray:
    """Which places, in pixels, show a head or a body that moves by itself.

    Args:
        people: placements (cx, cy, half, angle) of their faces.
    """
    out = np.zeros(np.broadcast(x, y).shape, bool)
    for cx, cy, half, _ in people:
        across, down = np.abs(x - cx), y - cy
        out |= (down > -1.1 * half) & (across < np.where(down > CHIN * half, CHEST, HEAD) * half)
    return out


@dataclass(frozen=True)
class _Level:
    """Points of a key picture.

    Args:
        places: (n,) complex, from the middle, in pixels of the level.
        values: (n,) grey levels.
        slopes: (n, 6) change of the grey level with shift (2), scale and turn (over `reach`), gain
            and offset.
        steep: (n,) gradient.
        reach: pixels of the level.
    """

    places: np.ndarray
    values: np.ndarray
    slopes: np.ndarray
    steep: np.ndarray
    reach: float


@dataclass(frozen=True)
class Located:
    """Where a key picture lies in another.

    Args:
        at: the similarity.
        agreed: share of the points in sight that agree.
        seen: share of the points in sight.
        points: (n,) places of the points in sight in the key picture, from its middle, over half its
            larger side.
        rest: (n,) what the grey levels still differ by.
        before: (n,) ... if nothing had moved.
    """

    at: Similarity
    agreed: float
    seen: float
    points: np.ndarray
    rest: np.ndarray
    before: np.ndarray


class KeyPicture:
    """Args:
    picture: that others are compared with.
    people: placements in it, of which nothing is looked at.
    """

    def __init__(self, picture: Pyramid, people: list[np.ndarray]):
        self.middle = picture.middle
        self.coarse = picture.levels[-1]
        self.levels = [
            _points(image, factor, picture.middle, people)
            for image, factor in zip(picture.levels, picture.factors, strict=True)
        ]

    @property
    def points(self) -> int:
        """Of the finest level."""
        return len(self.levels[0].values)

    def locate(self, picture: Pyramid, starts: list[Similarity], people: list[np.ndarray]) -> Located | None:
        """Where what this picture shows lies in another.

        Args:
            starts: where to begin; the best of them is taken.
            people: placements in the other picture.

        Returns:
            None where too few points are in sight, or too faint.
        """
        at = starts[0]
        for depth in range(len(self.levels) - 1, -1, -1):
            image, factor = picture.levels[depth], picture.factors[depth]
            view = _View(image, factor, self.middle, people)
            if depth == len(self.levels) - 1 and len(starts) > 1:
                at = min(starts, key=lambda s: view.misfit(self.levels[depth], s))
            at = view.aligned(self.levels[depth], at, ROUNDS[min(depth, len(ROUNDS) - 1)])
        level = self.levels[0]
        here, there = view.compared(level, at), view.compared(level, Similarity())
        both = here.seen & there.seen
        if here.seen.sum() < FEWEST or here.gain < LEAST_GAIN:
            return None
        agreed = np.abs(here.rest) < 0.5 * level.steep + NOISE
        return Located(
            at, float(agreed[here.seen].mean()), float(here.seen.mean()),
            level.places[both] * (2 / max(picture.levels[0].shape)), here.rest[both], there.rest[both],
        )  # fmt: skip

    def shift(self, picture: Pyramid) -> Similarity:
        """Roughly how far all of it has moved, however far: the peak of the phase correlation."""
        a, b = (v - v.mean() for v in (self.coarse, picture.levels[-1]))
        window = np.outer(np.hanning(a.shape[0] + 2)[1:-1], np.hanning(a.shape[1] + 2)[1:-1])
        cross = np.fft.rfft2(b * window) * np.conj(np.fft.rfft2(a * window))
        peaks = np.fft.irfft2(cross / np.maximum(np.abs(cross), 1e-3 * np.abs(cross).max() + 1e-9), a.shape)
        top = np.unravel_index(int(peaks.argmax()), peaks.shape)
        y, x = (int(v) - n if v > n // 2 else int(v) for v, n in zip(top, peaks.shape, strict=True))
        return Similarity(complex(x, y) * picture.factors[-1])


def _points(image: np.ndarray, factor: int, middle: complex, people: list[np.ndarray]) -> _Level:
    down, across = np.gradient(image)
    steep = np.hypot(across, down)
    steep[:BORDER] = steep[-BORDER:] = steep[:, :BORDER] = steep[:, -BORDER:] = 0
    height, width = image.shape
    y, x = np.ogrid[0:height, 0:width]
    steep[on_people((x + 0.5) * factor, (y + 0.5) * factor, people)] = 0
    most, taken = POINTS // GRID**2, []
    for rows in np.array_split(np.arange(height), min(GRID, height)):
        for columns in np.array_split(np.arange(width), min(GRID, width)):
            tile = steep[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].ravel()
            best = np.argpartition(tile, -most)[-most:] if len(tile) > most else np.arange(len(tile))
            best = best[tile[best] > LEAST]
            taken.append((best // len(columns) + rows[0]) * width + best % len(columns) + columns[0])
    at = np.concatenate(taken)
    places = at % width + 0.5 + 1j * (at // width + 0.5) - middle / factor
    gx, gy, values = (v.ravel()[at].astype(np.float64) for v in (across, down, image))
    reach = max(height, width) / 2
    px, py = places.real / reach, places.imag / reach
    centred = (values - values.mean()) / GAIN_UNIT if len(values) else values
    slopes = np.stack([gx, gy, gx * px + gy * py, gy * px - gx * py, centred, np.ones_like(gx)], 1)
    return _Level(places, values, slopes, np.hypot(gx, gy), reach)


class _Compared(NamedTuple):
    """rest: (n,) differences without those of the light.  seen: (n,) which are in sight.  gain: of
    the light."""

    rest: np.ndarray
    seen: np.ndarray
    gain: float


class _View:
    """A level of the picture in which a key picture is looked for."""

    def __init__(self, image: np.ndarray, factor: int, middle: complex, people: list[np.ndarray]):
        self.image, self.flat, self.factor, self.people = image, image.ravel(), factor, people
        self.origin = middle / factor - (0.5 + 0.5j)

    def fetched(self, level: _Level, at: Similarity) -> tuple[np.ndarray, np.ndarray]:
        """Grey levels at a key picture's points, bilinear, and which of them are in sight."""
        height, width = self.image.shape
        q = at.t / self.factor + at.z * level.places + self.origin
        x, y = q.real, q.imag
        seen = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
        x, y = np.clip(x, 0, width - 1.001), np.clip(y, 0, height - 1.001)
        i, j = x.astype(np.int64), y.astype(np.int64)
        fx, fy, k = x - i, y - j, j * width + i
        upper = self.flat[k] * (1 - fx) + self.flat[k + 1] * fx
        k += width
        lower = self.flat[k] * (1 - fx) + self.flat[k + 1] * fx
        return upper * (1 - fy) + lower * fy, seen

    def visible(self, level: _Level, at: Similarity) -> np.ndarray:
        """Which points nobody hides."""
        q = (at.t / self.factor + at.z * level.places + self.origin + (0.5 + 0.5j)) * self.factor
        return ~on_people(q.real, q.imag, self.people)

    def misfit(self, level: _Level, at: Similarity) -> float:
        """Mean difference, large ones cut off."""
        values, seen = self.fetched(level, at)
        seen &= self.visible(level, at)
        if not seen.any():
            return float("inf")
        rest = (values - level.values)[seen]
        return float(np.minimum(np.abs(rest - np.median(rest)), 30).mean())

    def compared(self, level: _Level, at: Similarity) -> _Compared:
        values, seen = self.fetched(level, at)
        seen &= self.visible(level, at)
        rest = values - level.values
        light = level.slopes[:, 4:]
        weight, change = seen.astype(np.float64), np.zeros(2)
        for _ in range(2):
            change = change + _solved(light, rest - light @ change, weight)
            weight = _weights(rest - light @ change, seen)
        return _Compared(rest - light @ change, seen, 1 + change[0] / GAIN_UNIT)

    def aligned(self, level: _Level, at: Similarity, rounds: int) -> Similarity:
        """The similarity near `at` under which the grey levels agree."""
        if len(level.values) < FEWEST // 2:
            return at
        visible, light = self.visible(level, at), np.zeros(2)
        for _ in range(rounds):
            values, seen = self.fetched(level, at)
            seen &= visible
            if seen.sum() < FEWEST // 2:
                return at
            rest = values - level.values
            if not light.any():
                light = np.array([0, np.median(rest[seen])])
            weight = _weights(rest - level.slopes[:, 4:] @ light, seen)
            step = _solved(level.slopes, rest, weight)
            light = step[4:]
            moved = Similarity(complex(*step[:2]) * self.factor, 1 + complex(*step[2:4]) / level.reach)
            at = at.after(moved.inverse())
            if np.abs(step[:4]).max() < ENOUGH:
                break
        return at


def _weights(rest: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """How much each point counts: little where it differs by more than points usually do."""
    usual = max(NOISE, 2.5 * float(np.median(np.abs(rest[seen])))) if seen.any() else NOISE
    out: np.ndarray = (usual**2 / (usual**2 + rest**2)) ** 2 * seen
    return out


def _solved(slopes: np.ndarray, rest: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Least squares."""
    weighted = (slopes * weight[:, None]).T
    left = weighted @ slopes
    size = len(left)
    left.flat[:: size + 1] += 1e-6 * np.trace(left) / size + 1e-9
    out: np.ndarray = np.linalg.solve(left, weighted @ rest)
    return out
