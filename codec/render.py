"""From the integers of a file to aligned pictures: what the encoder fits against and the decoder shows.

Two steps: the model draws (`draw_model`), and the clip's modes, if it has any, are put on top (`finish`).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..format.delta import DeltaTensor
from ..format.errors import DamagedError
from ..format.modes import Modes
from .delta import apply_delta, step_size
from .model import Model, pick_dtype
from .modes import ClipModes


class Renderer:
    """A clip's identity and tuned generator, ready to draw.

    identity: (rank,) integers; fewer are filled up with zeros.  motion_code, identity_code: step
    codes of the header.  dtype: None picks what is fastest on the device.
    """

    def __init__(
        self,
        model: Model,
        identity: np.ndarray,
        delta: Sequence[DeltaTensor],
        modes: Modes | None = None,
        *,
        identity_code: int,
        motion_code: int,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ):
        rank = model.latents.basis.shape[0]
        if len(identity) > rank:
            raise DamagedError(f"{len(identity)} identity coefficients, the model has {rank}")
        self.device = device or torch.device("cpu")
        self.dtype = dtype or pick_dtype(self.device)
        self.motion_step = step_size(motion_code)
        generator, latents = apply_delta(model, delta)
        if self.device.type != "cpu" and generator is model.generator:
            generator = copy.deepcopy(generator)  # the model itself stays on the processor
        self.generator = generator.to(self.device, memory_format=torch.channels_last)
        values = torch.zeros(rank)
        values[: len(identity)] = torch.from_numpy(np.asarray(identity, np.float32)) * step_size(identity_code)
        latent = torch.einsum("r,rkw->kw", values * model.identity_scale, latents.basis)
        self.base = (latents.mean + latent).to(self.device)
        self.directions = latents.directions.to(self.device)
        self.size = model.size
        params = latents.directions.shape[0]
        self.modes = None if modes is None else ClipModes(modes, params, self.device)

    @torch.no_grad()
    def draw(self, motion: np.ndarray, size: int | None = None) -> Tensor:
        """Motion integers (N, 35) -> pictures (N, 3, S, S), float32 on the CPU, about -1 to 1."""
        values = torch.from_numpy(np.asarray(motion, np.float32)).to(self.device) * self.motion_step
        return self.draw_values(values, size).cpu()

    def draw_values(self, motion: Tensor, size: int | None = None) -> Tensor:
        """The same from unquantised parameters; differentiable in them."""
        return self.finish(self.draw_model(motion, size), motion)

    def finish(self, drawn: Tensor, motion: Tensor) -> Tensor:
        """What the model drew (N, 3, S, S) -> the pictures of the clip."""
        return drawn if self.modes is None else self.modes.apply(drawn.float(), motion)

    def draw_model(self, motion: Tensor, size: int | None = None) -> Tensor:
        """What the model alone draws of unquantised parameters (N, 35): (N, 3, S, S)."""
        if self.modes is not None:
            motion = self.modes.drive(motion)
        shift = torch.einsum("np,pkw->nkw", motion, self.directions)
        moving = shift.shape[1]
        ws = torch.cat([self.base[None, :moving] + shift, self.base[None, moving:].expand(len(motion), -1, -1)], 1)
        return self.generator(ws, moving=moving, size=size, dtype=self.dtype)
