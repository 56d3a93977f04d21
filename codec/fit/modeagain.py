"""A clip's modes fitted a second time, from where the first fit ended, with frames that count more
than others and planes for what those lack."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..face.regions import inner_face
from ..model.planes import mixed
from .coefficients import Coefficients, missing_before
from .modebasis import PARAMETER_UNIT, ModeBasis
from .modefit import ModeFit, ModeSettings
from .optimise import Group, Schedule

RATE = 0.4  # of the first fit's: values are near where they belong
LEAST_PRICE = 0.5  # of the price with which the first fit ended; without one, thousands of values leave the dead zone
AIM = 0.99  # share of the budget that the bits are steered to: they are near it from the start
# In quantiser steps: what of a new plane is less begins with nothing.  A plane of least squares is
# dense, and its bits would drive up the price of all.
SPARSE = 2.0
SHRINK = 0.03  # of the new planes' least squares, as a share of their parameters' energy


@dataclass(frozen=True)
class FittedModes:
    """Where a fit ended, without its frames, which take memory.

    Args:
        drawn: (1, 3, S, S), the pivot.
        mix, settings, motion_step, scale, basis, price: as `ModeFit` has them.
        texture, flow: planes, not quantised.
        free: how many parameters move them.
    """

    drawn: Tensor
    mix: np.ndarray
    settings: ModeSettings
    motion_step: float
    scale: float
    basis: ModeBasis
    price: float
    texture: Tensor
    flow: Tensor
    free: int

    @classmethod
    @torch.no_grad()
    def of(cls, fit: ModeFit) -> FittedModes:
        """Of a fit in which nothing drives the model."""
        planes = fit.coefficients.planes(coded=False)
        return cls(
            fit.drawn, fit.mix, fit.settings, fit.motion_step, fit.scale, fit.basis, fit.price, *planes,
            fit.motion.shape[1],
        )  # fmt: skip


@dataclass(frozen=True)
class KeyFrames:
    """What the second fit looks at.

    Args:
        frames: (N, 3, S, S), -1 to 1.
        shown: (N, 3, S, S), as they are drawn.
        motion: (N, F), the parameters with which they are.
    """

    frames: Tensor
    shown: Tensor
    motion: Tensor


class ModesAgain(ModeFit):
    """Goes on from a fit under which one picture, the pivot, is drawn of all frames.

    Args:
        first: where that fit ended.
        keys: the frames.
        weight: (N,), how often each of them counts, 1 or more.
        extra: planes more, for what the heavy frames lack.
        settings: of this fit.
        budget: bytes of the chunk's payload.
    """

    def __init__(
        self,
        first: FittedModes,
        keys: KeyFrames,
        weight: np.ndarray,
        extra: int,
        settings: ModeSettings,
        budget: int,
    ):
        self._first, self._keys = first, keys
        self._weight_of = torch.from_numpy(weight).float()
        self._rows = torch.arange(len(weight)).repeat_interleave(self._weight_of.round().long())
        self._extra = min(extra, len(keys.frames), len(first.mix) - keys.motion.shape[1])
        driven = torch.zeros(len(keys.frames), 0)
        super().__init__(first.drawn, keys.frames, driven, first.mix, settings, budget, first.motion_step)
        self.scale, self._least_price = first.scale, LEAST_PRICE * first.price
        del self._first, self._keys

    def _begin(self, moved: Tensor | None) -> None:
        keys, first = self._keys, self._first
        self.basis = first.basis
        codes, planes = self._lacking(mixed(first.flow, keys.motion))
        self.motion = torch.cat([keys.motion, codes], 1).requires_grad_()
        still = torch.zeros(len(planes), *first.flow.shape[1:])
        self.coefficients = Coefficients.of(
            torch.cat([first.texture, planes]), torch.cat([first.flow, still]), self.motion.detach()
        )
        with torch.no_grad():
            for value in self.coefficients.values:
                new = value[len(first.texture) :]
                new[new.abs() < SPARSE] = 0

    def _lacking(self, flow: Tensor) -> tuple[Tensor, Tensor]:
        """Principal axes of what the heavy frames lack: parameters (N, E) and textures (E, 3, T, T).

        Frames of weight 1 have no part in them.

        Args:
            flow: (N, 2, G, G) of the frames.
        """
        keys, size = self._keys, self.settings.size
        weight = self._weight_of[:, None]
        pull = weight - 1
        pull = pull / pull.max().clamp_min(1e-6)
        lack = keys.frames - keys.shown
        features = ModeBasis.features(F.interpolate(lack, size=size, mode="area"))
        axes = torch.linalg.svd(pull.sqrt() * features, full_matrices=False)[2][: self._extra]
        codes = pull * (features @ axes.t()) / (PARAMETER_UNIT * features.shape[1] ** 0.5)
        back = missing_before(torch.zeros_like(keys.shown[:1]), lack, flow, size)
        energy = codes.t() @ (weight * codes)
        normal = energy + SHRINK * torch.diag(energy.diagonal()) + 1e-4 * torch.eye(len(axes))
        planes = torch.linalg.solve(normal, (weight * codes).t() @ back.flatten(1))
        return codes, planes.view(-1, *back.shape[1:])

    @property
    def frames(self) -> int:
        return len(self._rows)

    def groups(self) -> list[Group]:
        return [replace(group, rate=RATE * group.rate) for group in super().groups()]

    def set_size(self, size: int) -> None:
        super().set_size(size)
        face = inner_face(size)
        self._face = face / face.max()

    def weight_of(self, rows: Tensor) -> Tensor:
        more = 1 - 1 / self._weight_of[rows].view(-1, 1, 1, 1)
        return self._weight * (1 - more * (1 - self._face))

    def begin_coding(self) -> bool:
        return False  # the parameters are independent already

    def backward(self, index: Tensor, coded: bool, price: float) -> None:
        super().backward(self._rows[index], coded, price)

    def schedule(self) -> Schedule:
        return replace(super().schedule(), coded_from=0.0, aim=AIM, lowest_price=self._least_price)
