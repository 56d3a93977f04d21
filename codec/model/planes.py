"""Planes of texture and flow: their wavelets, colours and mixing, and how they move a picture.

The model's shared modes (`shared`) and a clip's own (`fev.codec.draw.modes`) are both made of them.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...format.modecontexts import SMALLEST

# Synthesis filters of Cohen, Daubechies and Feauveau's 9/7 wavelet, from the middle outwards.
LOW = (0.788485616405664, 0.418092273222212, -0.0406894176095584, -0.0645388826289385)
HIGH = (0.852698679009403, -0.377402855612654, -0.110624404418423, 0.0238494650193800, 0.0378284555069955)
YCC_TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136, -0.714136), (1.0, 1.772, 0.0))


@lru_cache
def synthesis_matrix(side: int) -> Tensor:
    """(side, side): one level of the inverse wavelet transform; the first half of the columns is
    the coarse signal, the second the details.  Mirrored at both ends without repeating the last
    sample.
    """
    matrix = np.zeros((side, side))
    for place in range(-side, 2 * side):
        inside = place % (2 * side - 2)
        inside = min(inside, 2 * side - 2 - inside)
        column = inside // 2 + (inside % 2) * (side // 2)
        taps = HIGH if place % 2 else LOW
        for offset in range(1 - len(taps), len(taps)):
            if 0 <= place + offset < side:
                matrix[place + offset, column] += taps[abs(offset)]
    return torch.from_numpy(matrix).float()


@lru_cache
def analysis_matrix(side: int) -> Tensor:
    out: Tensor = torch.linalg.inv(synthesis_matrix(side).double()).float()
    return out


def _sides(size: int) -> list[int]:
    return [2 * SMALLEST << i for i in range((size // SMALLEST).bit_length() - 1)]


def synthesise(values: Tensor) -> Tensor:
    """Wavelet coefficients (..., S, S), each level's four squares in one, the coarse one top left
    -> planes.
    """
    out = values[..., :SMALLEST, :SMALLEST]
    for side in _sides(values.shape[-1]):
        half = side // 2
        rows = torch.cat([torch.cat([out, values[..., :half, half:side]], -1), values[..., half:side, :side]], -2)
        matrix = synthesis_matrix(side).to(values)
        out = matrix @ rows @ matrix.t()
    return out


def analyse(planes: Tensor) -> Tensor:
    """The inverse of `synthesise`."""
    out = planes.clone()
    for side in reversed(_sides(planes.shape[-1])):
        matrix = analysis_matrix(side).to(planes)
        out[..., :side, :side] = matrix @ out[..., :side, :side] @ matrix.t()
    return out


def colour(luma: Tensor, chroma: Tensor) -> Tensor:
    """Planes (K, S, S) and (K, 2, S/2, S/2) -> RGB (K, 3, S, S)."""
    wide = F.interpolate(chroma, size=luma.shape[-1], mode="bilinear", align_corners=False)
    return torch.einsum("rc,kchw->krhw", luma.new_tensor(YCC_TO_RGB), torch.cat([luma[:, None], wide], 1))


def decompose(rgb: Tensor) -> tuple[Tensor, Tensor]:
    """The inverse of `colour`, chroma averaged."""
    ycc = torch.einsum("cr,krhw->kchw", torch.linalg.inv(rgb.new_tensor(YCC_TO_RGB)), rgb)
    return ycc[:, 0], F.avg_pool2d(ycc[:, 1:], 2)


@lru_cache
def _grid(size: int) -> Tensor:
    axis = (torch.arange(size) + 0.5) * (2 / size) - 1
    return torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1)[None]


@lru_cache
def _bicubic(coarse: int, fine: int) -> Tensor:
    """(fine, coarse): bicubic interpolation of one axis.  Two products with it take a fifth of the
    time that F.interpolate takes there and back.
    """
    return F.interpolate(torch.eye(coarse)[None, :, None], size=(1, fine), mode="bicubic", align_corners=False)[
        0, :, 0
    ].t()


def warp(pictures: Tensor, flow: Tensor) -> Tensor:
    """Fetch every pixel of (N, 3, S, S) from a place (N, 2, G, G) away, in units of half the
    picture's side.
    """
    size = pictures.shape[-1]
    matrix = _bicubic(flow.shape[-1], size).to(flow)
    wide = matrix @ flow @ matrix.t()
    places = _grid(size).to(pictures) + wide.permute(0, 2, 3, 1)
    return F.grid_sample(pictures, places, mode="bilinear", padding_mode="border", align_corners=False)


def mixed(planes: Tensor, motion: Tensor) -> Tensor:
    """Plane 0 plus the sum of parameter k times plane k + 1: (K, ...), (N, params) -> (N, ...)."""
    flat = planes.flatten(1)
    out = torch.addmm(flat[:1], motion[:, : len(planes) - 1], flat[1:])
    return out.view(len(motion), *planes.shape[1:])


def apply_modes(pictures: Tensor, texture: Tensor, flow: Tensor, motion: Tensor) -> Tensor:
    """What the model drew (N, 3, S, S) -> what the clip shows.

    Args:
        texture: (K, 3, T, T).
        flow: (K, 2, G, G).
    """
    size = pictures.shape[-1]
    extra = mixed(texture, motion)
    if extra.shape[-1] > size:
        extra = F.avg_pool2d(extra, extra.shape[-1] // size)
    elif extra.shape[-1] < size:
        extra = F.interpolate(extra, size=size, mode="bilinear", align_corners=False)
    return warp(pictures + extra, mixed(flow, motion))
