"""The wavelet coefficients of a clip's modes while they are fitted.

They are kept in quantiser steps, so that one rate and one price suit all of them. What they make of
a picture is in `fev.codec.model.planes`; how they are found, in `modefit`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...format.modes import Modes
from ..draw.modes import CHROMA_STEP, FLOW_UNIT, TEXTURE_UNIT
from ..draw.units import step_code, step_size
from ..model.planes import analyse, colour, decompose, synthesise, warp
from .optimise import DEAD_ZONE, shrink_round, straight_through

TEXTURE_STEP = 5.0  # quantiser step of plane 0 in grey levels of 256
FLOW_STEP = 0.2  # the same of its flow, in 256ths of the picture's side
# Of a parameter, root mean square: one that moves less has the steps of this, and none is so coarse
# that few values hold what its plane shows.
LEAST_SPREAD = 0.4

# Of the first planes' least squares. Parameters are uncertain: planes that trusted them would hold
# noise. What is there always is known well.
SHRINK = 0.03  # of a parameter's energy, over all frames
LEAST_SHRINK = 1e-4  # keeps the equations solvable where a parameter is still
MOVED_AT_ONCE = 32  # frames: at full size they take the most memory


class Coefficients:
    """Texture and flow of K planes: plane 0 is always there, plane k goes with parameter k - 1.

    Args:
        values: real coefficients: luma (K, T, T) and chroma (K, 2, T/2, T/2) in grey levels, flow
            (K, 2, G, G) in 256ths of the picture's side.
        codes: (N, K - 1), the parameters of N frames. What moves far is coded finely: a quantiser
            step costs the pictures the same in every plane.
    """

    def __init__(self, values: Sequence[Tensor], codes: Tensor):
        spread = torch.cat([torch.ones(1), codes.square().mean(0).sqrt().clamp_min(LEAST_SPREAD)])
        self.texture_step_codes = np.array([step_code(TEXTURE_STEP / float(v)) for v in spread])
        self.flow_step_codes = np.array([step_code(FLOW_STEP / float(v)) for v in spread])
        self._texture_steps = torch.tensor([step_size(int(c)) for c in self.texture_step_codes]).view(-1, 1, 1)
        self._flow_steps = torch.tensor([step_size(int(c)) for c in self.flow_step_codes]).view(-1, 1, 1, 1)
        # Adam, and the sum of a gradient's parts, are slow on tensors that are not contiguous, as
        # what a solver returns may be.
        self.values = [
            (value / steps).contiguous().requires_grad_() for value, steps in zip(values, self._steps(), strict=True)
        ]

    @classmethod
    def of(cls, texture: Tensor, flow: Tensor, codes: Tensor) -> Coefficients:
        """Those of planes in pictures' units.

        Args:
            texture: (K, 3, T, T), where pictures are -1 to 1.
            flow: (K, 2, G, G) in half picture sides.
            codes: (N, K - 1), the parameters of N frames.
        """
        luma, chroma = decompose(texture / TEXTURE_UNIT)
        return cls([analyse(luma), analyse(chroma), analyse(flow / FLOW_UNIT)], codes)

    def __len__(self) -> int:
        return len(self.values[0])

    def _steps(self) -> list[Tensor]:
        return [self._texture_steps, self._texture_steps[:, None] * CHROMA_STEP, self._flow_steps]

    def changed(self, matrix: Tensor, codes: Tensor) -> Coefficients:
        """The last planes mixed by a matrix.

        Args:
            matrix: (F, F), rows are the new ones of the last F planes.
            codes: (N, K - 1), the parameters as they then are.
        """
        first = len(self) - len(matrix)
        planes = []
        for value, steps in zip(self.values, self._steps(), strict=True):
            plane = value.detach() * steps
            plane[first:] = (matrix @ plane[first:].flatten(1)).view_as(plane[first:])
            planes.append(plane)
        return Coefficients(planes, codes)

    def planes(self, coded: bool) -> tuple[Tensor, Tensor]:
        """Texture (K, 3, T, T) and flow (K, 2, G, G), as in `of`; quantised where `coded`."""
        return self.planes_of(slice(None), coded, *self.values)

    def planes_of(self, part: slice, coded: bool, luma: Tensor, chroma: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
        """As `planes`, of some of the planes out of their values: no plane knows of another."""
        if coded:
            luma, chroma, flow = (straight_through(v, 1.0, DEAD_ZONE) for v in (luma, chroma, flow))
        steps, flow_steps = self._texture_steps[part], self._flow_steps[part]
        luma, chroma = synthesise(luma * steps), synthesise(chroma * steps[:, None] * CHROMA_STEP)
        return colour(luma, chroma) * TEXTURE_UNIT, synthesise(flow * flow_steps) * FLOW_UNIT

    def quantised(self, dead: float, mix: np.ndarray, mix_code: int) -> Modes:
        """The integers of a file.

        Args:
            dead: dead zone in steps.
            mix: (params, 1 + driven) integers, what drives the model.
            mix_code: step code of `mix`.
        """
        luma, chroma, flow = (shrink_round(v.detach(), dead).numpy().astype(np.int32) for v in self.values)
        return Modes(mix, mix_code, luma, chroma, flow, self.texture_step_codes, self.flow_step_codes)


def least_squares(codes: Tensor, seen: Tensor) -> Tensor:
    """Planes whose mix is nearest to what is seen; shrunk a little.

    Args:
        codes: (N, K) parameters.
        seen: (N, ...).

    Returns:
        (K + 1, ...), the first one for what is there always.
    """
    ones = torch.cat([torch.ones(len(codes), 1), codes], 1)
    energy = torch.cat([torch.zeros(1), codes.square().mean(0)])
    penalty = SHRINK * len(codes) * torch.eye(ones.shape[1]) * energy
    normal = ones.t() @ ones + penalty + LEAST_SHRINK * torch.eye(len(penalty))
    planes: Tensor = torch.linalg.solve(normal, ones.t() @ seen.flatten(1))
    return planes.view(-1, *seen.shape[1:])


def missing_before(drawn: Tensor, truth: Tensor, flow: Tensor, size: int) -> Tensor:
    """What frames lack, moved back to where textures are: a small flow is undone by its negative.

    Args:
        drawn: (N or 1, 3, S, S) what is drawn without modes.
        truth: (N, 3, S, S) the frames.
        flow: (N, 2, G, G) in half picture sides.
        size: side of the textures in pixels.

    Returns:
        (N, 3, size, size).
    """
    parts = zip(torch.split(truth, MOVED_AT_ONCE), torch.split(flow, MOVED_AT_ONCE), strict=True)
    back = torch.cat([F.interpolate(warp(t, -f), size=size, mode="area") for t, f in parts])
    return back - F.interpolate(drawn, size=size, mode="area")
