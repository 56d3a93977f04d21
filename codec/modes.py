"""Texture and flow modes: what a clip adds to the model's pictures, moved by the same 35 parameters.

An active appearance model (Cootes, Edwards and Taylor 1998) on top of the generator:

    picture = warp(G(w + A (M c)) + T_0 + sum_k c_k T_k,  F_0 + sum_k c_k F_k)

c: the 35 numbers of a frame.  M: the mix, what of them drives the model's own directions A.  T: textures, YCbCr
wavelet planes.  F: flow, where a pixel is fetched from.  Pixels describe one face's appearance in far fewer bytes than
weights do (figures: docs/measurements/modes.md), and what is linear in the parameters is fitted in seconds.
`fev.format.modes` holds the bytes, `fev.codec.modefit` finds the values.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..format.errors import DamagedError
from ..format.modes import SMALLEST, Modes
from .delta import step_size

# Synthesis filters of Cohen, Daubechies and Feauveau's 9/7 wavelet, from the middle outwards.
LOW = (0.788485616405664, 0.418092273222212, -0.0406894176095584, -0.0645388826289385)
HIGH = (0.852698679009403, -0.377402855612654, -0.110624404418423, 0.0238494650193800, 0.0378284555069955)
TEXTURE_UNIT = 1 / 128  # texture 1.0 is about one grey level of 256
CHROMA_STEP = 0.5  # quantiser step of colour, of that of light: coarser blotches the skin
FLOW_UNIT = 2 / 256  # flow 1.0 is a 256th of the picture's side
YCC_TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136, -0.714136), (1.0, 1.772, 0.0))


@lru_cache
def synthesis_matrix(side: int) -> Tensor:
    """(side, side): one level of the inverse wavelet transform; the first half of the columns is the coarse
    signal, the second the details.  Mirrored at both ends without repeating the last sample."""
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
    return torch.linalg.inv(synthesis_matrix(side).double()).float()


def _sides(size: int) -> list[int]:
    return [2 * SMALLEST << i for i in range((size // SMALLEST).bit_length() - 1)]


def synthesise(values: Tensor) -> Tensor:
    """Wavelet coefficients (..., S, S), each level's four squares in one, the coarse one top left -> planes."""
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
    """(fine, coarse): bicubic interpolation of one axis.  Two products with it take a fifth of the time that
    F.interpolate takes there and back."""
    return F.interpolate(torch.eye(coarse)[None, :, None], size=(1, fine), mode="bicubic", align_corners=False)[
        0, :, 0
    ].t()


def warp(pictures: Tensor, flow: Tensor) -> Tensor:
    """Fetch every pixel of (N, 3, S, S) from a place (N, 2, G, G) away, in units of half the picture's side."""
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
    """What the model drew (N, 3, S, S) -> what the clip shows.  texture: (K, 3, T, T).  flow: (K, 2, G, G)."""
    size = pictures.shape[-1]
    extra = mixed(texture, motion)
    if extra.shape[-1] > size:
        extra = F.avg_pool2d(extra, extra.shape[-1] // size)
    elif extra.shape[-1] < size:
        extra = F.interpolate(extra, size=size, mode="bilinear", align_corners=False)
    return warp(pictures + extra, mixed(flow, motion))


class ClipModes:
    """A file's modes as tensors.

    mix: (params, 1 + driven).  texture: (K, 3, T, T), picture values.  flow: (K, 2, G, G), half picture sides.
    Raises DamagedError where they do not fit a model with `params` parameters.
    """

    def __init__(self, modes: Modes, params: int, device: torch.device):
        if len(modes.mix) != params or modes.planes > params + 1:
            raise DamagedError(f"modes of {len(modes.mix)} parameters, the model has {params}")
        mix = torch.from_numpy(modes.mix.astype(np.float32)) * step_size(modes.mix_step)
        steps, flow_steps = (
            torch.tensor([step_size(int(code)) for code in codes]).view(-1, 1, 1)
            for codes in (modes.texture_steps, modes.flow_steps)
        )
        luma = synthesise(torch.from_numpy(modes.luma.astype(np.float32)) * steps)
        chroma = synthesise(torch.from_numpy(modes.chroma.astype(np.float32)) * steps[:, None] * CHROMA_STEP)
        flow = synthesise(torch.from_numpy(modes.flow.astype(np.float32)) * flow_steps[:, None])
        self.mix = mix.to(device)
        self.plain = not (modes.luma.any() or modes.chroma.any() or modes.flow.any())  # a mix and nothing else
        self.texture = (colour(luma, chroma) * TEXTURE_UNIT).to(device)
        self.flow = (flow * FLOW_UNIT).to(device)

    def drive(self, motion: Tensor) -> Tensor:
        """The model's own parameters (N, params) for the file's (N, params)."""
        return self.mix[:, 0] + motion[:, : self.mix.shape[1] - 1] @ self.mix[:, 1:].t()

    def apply(self, pictures: Tensor, motion: Tensor) -> Tensor:
        if self.plain:
            return pictures
        return apply_modes(pictures, self.texture.to(pictures.dtype), self.flow, motion)
