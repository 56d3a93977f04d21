"""Texture and flow modes: what a clip adds to the model's pictures, moved by the same 35
parameters.

An active appearance model (Cootes, Edwards and Taylor 1998) on top of the generator:

    picture = warp(G(w + A (M c)) + T_0 + sum_k c_k T_k,  F_0 + sum_k c_k F_k)

c: the 35 numbers of a frame.  M: the mix, what of them drives the model's own directions A.  T:
textures, YCbCr wavelet planes.  F: flow, where a pixel is fetched from.  Pixels describe one face's
appearance in far fewer bytes than weights do (figures: docs/measurements/modes.md), and what is
linear in the parameters is fitted in seconds.  `fev.format.modes` holds the bytes,
`fev.codec.fit.modefit` finds the values.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ...format.errors import DamagedError
from ...format.modes import Modes
from ..model.planes import apply_modes, colour, synthesise
from .units import step_size

TEXTURE_UNIT = 1 / 128  # texture 1.0 is about one grey level of 256
CHROMA_STEP = 0.5  # quantiser step of colour, of that of light: coarser blotches the skin
FLOW_UNIT = 2 / 256  # flow 1.0 is a 256th of the picture's side


class ClipModes:
    """A file's modes as tensors.

    Attributes:
        mix: (params, 1 + driven).
        texture: (K, 3, T, T), picture values.
        flow: (K, 2, G, G), half picture sides.

    Raises:
        DamagedError: where they do not fit a model with `params` parameters.
    """

    def __init__(self, modes: Modes, params: int, device: torch.device):
        if len(modes.mix) != params or modes.planes > params + 1:
            raise DamagedError(f"modes of {len(modes.mix)} parameters, the model has {params}")
        mix = torch.from_numpy(modes.mix.astype(np.float32)) * step_size(modes.mix_step_code)
        steps, flow_steps = (
            torch.tensor([step_size(int(code)) for code in codes]).view(-1, 1, 1)
            for codes in (modes.texture_step_codes, modes.flow_step_codes)
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
