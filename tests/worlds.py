"""Worlds that a camera looks at, with somebody before it: what tests of moving cameras look at."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from fev.codec.face.camera import similarity_of
from fev.codec.face.keypicture import Similarity
from fev.codec.face.paste import paste
from people import looks

WIDTH, HEIGHT = 320, 240


def texture(width: int, height: int, seed: int = 0) -> np.ndarray:
    """Something to see at several sizes, (height, width, 3) uint8."""
    dice, total = np.random.default_rng(seed), 0
    for size, strength in ((64, 40), (24, 25), (8, 18), (4, 9)):
        coarse = torch.from_numpy(dice.normal(0, strength, (1, 3, height // size + 2, width // size + 2)))
        total = total + F.interpolate(coarse, size=(height, width), mode="bicubic")[0]
    return (total + 120).clamp(0, 255).byte().permute(1, 2, 0).numpy().copy()


def view(world: np.ndarray, at: Similarity, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """What a camera sees of a world, whose middle a camera at rest has in its own."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH] + 0.5
    p = (x - WIDTH / 2 + 1j * (y - HEIGHT / 2) - at.t) / at.z
    grid = np.stack([p.real / (world.shape[1] / 2), p.imag / (world.shape[0] / 2)], 2)
    source = torch.from_numpy(world).permute(2, 0, 1)[None].double()
    out = F.grid_sample(source, torch.from_numpy(grid)[None], align_corners=False)[0].permute(1, 2, 0).numpy()
    out = out + np.random.default_rng(seed).normal(0, noise, out.shape)
    return np.clip(np.round(out), 0, 255).astype(np.uint8)


def away(found: np.ndarray, true: Similarity) -> float:
    """Pixels by which the corner that is farthest off is off."""
    corners = np.array([WIDTH + 1j * HEIGHT, WIDTH - 1j * HEIGHT, -WIDTH + 1j * HEIGHT, -WIDTH - 1j * HEIGHT]) / 2
    at = similarity_of(found)
    return float(np.abs(at.t + at.z * corners - true.t - true.z * corners).max())


def spin(scale: float, degrees: float) -> complex:
    return complex(scale * np.exp(1j * np.radians(degrees)))


def shaken(n: int) -> list[Similarity]:
    """A hand: it sways, breathes and trembles."""
    out = []
    for k in range(n):
        t = complex(9 * np.sin(k / 5) + 3 * np.sin(1.9 * k), 7 * np.sin(k / 7) + 2 * np.sin(2.3 * k))
        out.append(Similarity(t, spin(1 + 0.01 * np.sin(k / 6), 0.8 * np.sin(k / 4))))
    first = out[0].inverse()
    return [s.after(first) for s in out]


def persons(k: int) -> np.ndarray:
    """Where somebody is who moves before the camera."""
    return np.array([150 + 40 * np.sin(k / 9), 120 + 6 * np.sin(k / 5), 55.0, 0])


def with_person(picture: np.ndarray, k: int, place: np.ndarray | None = None) -> np.ndarray:
    """A head and, below it, a body of another colour that goes with it."""
    place = persons(k) if place is None else place
    cx, cy, half, _ = place
    out = picture.copy()
    left, right, top = (int(v) for v in (cx - 1.3 * half, cx + 1.3 * half, cy + 0.6 * half))
    body = texture(400, 240, 9)[: HEIGHT - top, : right - left]
    out[top:, left:right] = body
    return paste(out, looks(0)[k // 3 % 4], place)
