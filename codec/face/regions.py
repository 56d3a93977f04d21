"""Where people look in the FFHQ square: weights of its pixels."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor


@lru_cache
def _square() -> tuple[Tensor, Tensor]:
    """Places (256, 256) across and down the FFHQ square, -1 to 1."""
    axis = (torch.arange(256) + 0.5) / 128 - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return x, y


def _blob(cx: float, cy: float, rx: float, ry: float, edge: int = 1) -> Tensor:
    """1 in the middle of an ellipse; a larger edge makes it flat inside and steep at its border."""
    x, y = _square()
    return torch.exp(-((((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2) ** edge))


def _shrunk(weight: Tensor, size: int) -> Tensor:
    return F.interpolate((weight / weight.mean())[None, None], size=size, mode="area")


def importance(size: int) -> Tensor:
    """Weight of a pixel of the FFHQ square, mean 1: the face above the background, eyes and mouth
    above the face.

    Returns:
        (1, 1, size, size).
    """
    weight = 0.6 + 0.8 * _blob(0, 0.15, 0.65, 0.8) + 1.5 * _blob(0, 0.42, 0.3, 0.2)
    weight = weight + 1.5 * (_blob(-0.25, -0.06, 0.17, 0.1) + _blob(0.25, -0.06, 0.17, 0.1))
    return _shrunk(weight, size)


def attention(size: int) -> Tensor:
    """The same for the fit of a clip's modes, where few bytes have to go where people look: the
    inner face counts four times what hair and background do, eyes, brows and mouth two to three
    times that.  With a sixth instead of a quarter the background tore at the edge of a head that
    turned, though the figures of the face rose.
    """
    weight = 0.45 + 1.5 * _blob(0, 0.15, 0.52, 0.65, 2) + 2.0 * _blob(0, 0.42, 0.3, 0.2, 2)
    weight = weight + 3.0 * (_blob(-0.25, -0.1, 0.21, 0.18, 2) + _blob(0.25, -0.1, 0.21, 0.18, 2))
    return _shrunk(weight, size)


def inner_face(size: int) -> Tensor:
    """What of the square is measured where a frame is judged: brows to chin, without hair and
    background; mean 1.
    """
    return _shrunk(_blob(0, 0.15, 0.52, 0.65, 2), size)


def lids(size: int) -> Tensor:
    """Both eyes with their lids, without brows; mean 1."""
    return _shrunk(_blob(-0.25, -0.07, 0.15, 0.09, 2) + _blob(0.25, -0.07, 0.15, 0.09, 2), size)


def lips(size: int) -> Tensor:
    """Mouth and lips; mean 1."""
    return _shrunk(_blob(0, 0.42, 0.28, 0.18, 2), size)


def head(size: int) -> Tensor:
    """1 on the head in the FFHQ square, 0 away from it: (size, size)."""
    return F.interpolate(_blob(0, 0.12, 0.6, 0.8, 2)[None, None], size=size, mode="area")[0, 0]
