"""A clip of somebody whose identity is there already, in another file: only its motion is found.

The stand-in for `appearance.Fitter`.  Where a file has no modes of its own its parameters mean the same as in any other
of its kind, and the inverter's guess begins the fit.  What the parameters of modes mean was fitted to the first clip,
and how they began (`modefit.ModeStart`) is not in the file.  There the first file's own frames are drawn again, and
what the inverter sees in them is regressed to their parameters, as in `puppet`; the rest is the fit's.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ...format.errors import FevError
from ..draw.modes import ClipModes
from ..draw.render import Renderer
from ..face.portrait import Conditions
from ..media.identities import ReusedIdentity
from ..model.modelfile import Model
from .appearance import Appearance, Guess
from .cropstore import CropStore
from .modefit import PARAMETER_UNIT
from .rdoq import metric_of
from .regression import regression

BATCH = 16
# From a start that is only read off the pictures; with modes, coarse to fine, and for `fast`.
Passes = tuple[tuple[int, int, float], ...]  # picture size, steps and rate of each
FITTED: Passes = ((64, 40, 0.5), (128, 24, 0.35), (256, 10, 0.12))
AT_ONCE: Passes = ((64, 40, 0.5), (128, 8, 0.25))
STAY = 0.016  # price of leaving the start: saves a seventh of the bits for 0.05 dB, and unseen poses melt less


class ReadStart:
    """How the parameters of any frame begin under known modes: by what the inverter sees in it.

    driven: (N, d) of all frames of a clip, for who knows them all; the first d parameters drive the model.
    scale: as in `ModeStart`.
    """

    def __init__(self, model: Model, known: ReusedIdentity, renderer: Renderer):
        assert known.identity.modes is not None
        self.model, self.step = model, renderer.motion_step
        self.modes = ClipModes(known.identity.modes, model.latents.params, torch.device("cpu"))
        self.free = known.identity.modes.planes - 1
        self.driven = torch.zeros(0, 0)
        moved = metric_of(renderer, torch.zeros(1, model.latents.params)).diagonal()[: self.free] / self.step**2
        self.scale = PARAMETER_UNIT / max(float(np.sqrt(moved.mean())), 0.1 * PARAMETER_UNIT) if self.free else 1.0
        self.mean, self.rest, self.map = torch.zeros(1), torch.zeros(self.free), None
        if len(known.motion) > 1:
            own = torch.from_numpy(known.motion).float()[:, : self.free] * self.step
            parts = (known.motion[i : i + BATCH] for i in range(0, len(own), BATCH))
            seen = torch.cat([self._seen(renderer.draw(part).clamp(-1, 1)) for part in parts])
            self.mean, self.rest, self.map = seen.mean(0), own.mean(0), regression(seen, own)

    def _seen(self, pictures: Tensor) -> Tensor:
        guess = Guess.of(self.model, pictures)
        return torch.cat([guess.moves, guess.motion], 1)

    def drive(self, motion: Tensor) -> Tensor:
        """The model's parameters (N, P) -> the file's first ones (N, d), quantised: least squares through the mix."""
        mix = self.modes.mix.double()
        solved = (motion.double() - mix[:, 0]) @ torch.linalg.pinv(mix[:, 1:]).t()
        return ((solved / self.step).round() * self.step).float()

    def guess(self, drawn: Tensor, truth: Tensor, driven: Tensor) -> Tensor:
        """Parameters (N, planes - 1) of frames; the driven ones as they are."""
        out = self.rest.expand(len(truth), -1)
        if self.map is not None:
            out = out + torch.cat([self._seen(t) - self.mean for t in truth.split(BATCH)]) @ self.map
        return torch.cat([driven, out[:, driven.shape[1] :]], 1)


class ReuseFitter:
    """Finds nothing but how the parameters begin.  Raises FevError where the identity does not fit the model."""

    def __init__(self, model: Model, known: ReusedIdentity, device: torch.device):
        who, params = known.identity, model.latents.params
        if who.header.params != params:
            raise FevError(f"the identity has {who.header.params} motion parameters, the model {params}")
        if model.inverter is None:
            raise FevError(f"model {model.name} is of imported networks; with those every clip has its own identity")
        self.model, self.who, self.device = model, who, device
        self.start: ReadStart | None = None
        if who.modes is not None:
            renderer = Renderer(
                model, who.values, who.delta, who.modes, who.pivot, identity_code=who.header.identity_qp,
                motion_code=who.header.motion_qp, device=device, dtype=torch.float32,
            )  # fmt: skip
            self.start = ReadStart(model, known, renderer)

    def guess(self, pictures: Tensor) -> Guess:
        """What is known of frames (N, 3, S, S) when they are first seen."""
        return Guess.of(self.model, pictures)

    def at_once(self, frames: Tensor, guess: Guess, conditions: Conditions) -> Appearance:
        return self._look(guess)

    def fit(self, store: CropStore, guess: Guess, conditions: Conditions) -> Appearance:
        return self._look(guess)

    def _look(self, guess: Guess) -> Appearance:
        who = self.who
        if self.start is not None:
            self.start.driven = self.start.drive(guess.motion)
        motion = guess.motion if who.pivot is None else guess.moves
        return Appearance(who.values, motion, who.header.motion_qp, who.delta, who.pivot, who.modes, self.start)
