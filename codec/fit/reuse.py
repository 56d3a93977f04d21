"""The carrier of a clip whose identity another file holds: only its motion is found.

Where that file has no modes of its own its parameters mean the same as in any other of its kind,
and the inverter's guess begins the fit.  What the parameters of modes mean was fitted to the first
clip, and how they began (`modefit.ModeStart`) is not in the file.  There the first file's own
frames are drawn again, and what the inverter sees in them is regressed to their parameters, as in
`puppet`; the rest is the fit's.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...format.errors import FevError
from ..draw.modes import ClipModes
from ..draw.render import Renderer
from ..face.portrait import Conditions
from ..media.identities import ReusedIdentity
from ..model.modelfile import Model
from .carrier import Appearance, CarrierSettings, Spending
from .cropstore import CropStore
from .modebasis import PARAMETER_UNIT
from .rdoq import metric_of
from .reading import InverterReading, ReadsByInverter
from .refine import RefineAll, RefineModes
from .regression import regression

BATCH = 16  # frames drawn at once
STAY = 0.016  # price of leaving the start: saves a seventh of the bits for 0.05 dB, and unseen poses melt less


class ReadStart:
    """How the parameters of any frame begin under known modes: by what the inverter sees in it.

    Args:
        model: one with an inverter.
        known: an identity with modes, and parameters of frames that it was seen in.
        renderer: draws it.

    Attributes:
        scale: what one unit of a parameter is to the pictures, as in `ModeStart`.
    """

    def __init__(self, model: Model, known: ReusedIdentity, renderer: Renderer):
        assert known.identity.modes is not None
        self.model, self.step = model, renderer.motion_step
        self.modes = ClipModes(known.identity.modes, model.latents.params, torch.device("cpu"))
        self.free = known.identity.modes.planes - 1
        moved = metric_of(renderer, torch.zeros(1, model.latents.params)).diagonal()[: self.free] / self.step**2
        self.scale = PARAMETER_UNIT / max(float(np.sqrt(moved.mean())), 0.1 * PARAMETER_UNIT) if self.free else 1.0
        self.mean, self.rest, self.map = torch.zeros(1), torch.zeros(self.free), None
        if len(known.motion) > 1:
            own = torch.from_numpy(known.motion).float()[:, : self.free] * self.step
            parts = (known.motion[i : i + BATCH] for i in range(0, len(own), BATCH))
            seen = torch.cat([self._seen(renderer.draw(part).clamp(-1, 1)) for part in parts])
            self.mean, self.rest, self.map = seen.mean(0), own.mean(0), regression(seen, own)

    def _seen(self, pictures: Tensor) -> Tensor:
        reading = InverterReading.of(self.model, pictures)
        return torch.cat([reading.moves, reading.motion], 1)

    def drive(self, motion: Tensor) -> Tensor:
        """The model's parameters (N, P) -> the file's first ones (N, d), quantised: least squares
        through the mix."""
        mix = self.modes.mix.double()
        solved = (motion.double() - mix[:, 0]) @ torch.linalg.pinv(mix[:, 1:]).t()
        steps: Tensor = (solved / self.step).round()
        return (steps * self.step).float()

    def guess(self, drawn: Tensor, truth: Tensor, driven: Tensor) -> Tensor:
        """Parameters (N, planes - 1) of frames; the driven ones as they are."""
        out = self.rest.expand(len(truth), -1)
        if self.map is not None:
            out = out + torch.cat([self._seen(t) - self.mean for t in truth.split(BATCH)]) @ self.map
        return torch.cat([driven, out[:, driven.shape[1] :]], 1)


class ReuseFitter(ReadsByInverter):
    """Finds nothing but how the parameters begin.

    Args:
        model: the one that the identity was made with.
        known: the identity, as another file holds it.
        settings: the caller's wishes.

    Raises:
        FevError: the identity does not fit the model.
    """

    can_aim = True
    gives_way = True
    draws_finer = False  # than the other file's pivot
    can_bound = False
    sends_identity = False
    tensor_threads = 1

    def __init__(self, model: Model, known: ReusedIdentity, settings: CarrierSettings):
        who, params = known.identity, model.latents.params
        if who.header.params != params:
            raise FevError(f"the identity has {who.header.params} motion parameters, the model {params}")
        if model.inverter is None:
            raise FevError(f"model {model.name} is of imported networks; with those every clip has its own identity")
        super().__init__(model)
        effort = settings.effort
        plain = Appearance(
            who.values, who.motion_step_code, who.identity_step_code, who.delta, who.pivot,
            who.modes, known.found, begin=self._begin,
        )  # fmt: skip
        self._start: ReadStart | None = None
        if who.modes is not None:
            self._start = ReadStart(model, known, plain.renderer(model, settings.device))
            driven = who.modes.mix.shape[1] - 1
            self.appearance = replace(plain, refine=RefineModes(self._start, driven, effort.known_motion, STAY))
        else:
            stretched = who.pivot is not None and model.shared is not None
            self.appearance = replace(plain, refine=RefineAll(effort.pivot_motion if stretched else effort.motion))

    def usual_budget(self, seconds: float | None, side: float) -> int:
        """Nothing of the identity is sent."""
        return 0

    def at_once(
        self, frames: Tensor, reading: InverterReading, conditions: Conditions, spending: Spending
    ) -> Appearance:
        """What the file holds."""
        return self.appearance

    def fit(self, store: CropStore, reading: InverterReading, conditions: Conditions, spending: Spending) -> Appearance:
        """What the file holds, and where the parameters of all frames begin."""
        return replace(self.appearance, start=self._begin(reading))

    def go_on(
        self, before: Appearance, store: CropStore, reading: InverterReading, conditions: Conditions, spending: Spending
    ) -> Appearance:
        """The same: nothing goes on from an identity that lies in another file."""
        return replace(before, start=self._begin(reading))

    def _begin(self, reading: InverterReading) -> Tensor:
        if self._start is not None:
            driven = self._start.drive(reading.motion)
            return F.pad(driven, (0, self.model.latents.params - driven.shape[1]))
        return reading.motion if self.appearance.pivot is None else reading.moves
