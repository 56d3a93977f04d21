"""A clip's appearance: identity, and what the clip adds to the model, within one budget of bytes.

By default a pivot and the modes on top of it; without a pivot, for `slow`, a weight delta, then modes.  The parts are
found by `pivot`, `tune` and `modefit`; here they share the budget.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...format.delta import DeltaTensor
from ...format.identity import encode_identity
from ...format.modes import Modes
from ...format.still import Pivot
from ..draw.render import Renderer
from ..draw.units import DEFAULT_QUALITY, IDENTITY_CODE, motion_code, step_size
from ..encode.options import FAST, SLOW, EncodeOptions
from ..face.portrait import Conditions, best_frame
from ..model.modelfile import Model
from .cropstore import CropStore
from .keyframes import best_identity, spread_out, successors, with_successors, within
from .modefit import MIX_CODE, ModeFit, ModeSettings, ModeStart, principal_drive
from .motion import MotionSettings, corrected, fit_motion, linear_correction, quantise_motion
from .pivotcoding import code_pivot
from .tune import ClipFit, TuneSettings, coded_size

PIVOT_SHARE = 0.3  # of the budget: what the pivot may take
FAST_PIVOT = 2_500  # bytes of a pivot that is not fitted to
TUNE_STEPS = ((64, 100), (128, 200), (256, 90))  # picture size and optimiser steps, coarse to fine
TUNE_SHARE = 0.25  # of the budget: what the weight delta may take
TUNE_KEYS = 160
MODE_STEPS = ((128, 1200), (256, 600))
MODE_KEYS = 320  # frames that the modes are fitted on
DRIVEN = 8  # combinations of the model's parameters that a file with modes but no pivot keeps
LEAST_MODES = 600  # bytes; with less the modes are left out
BATCH = 16
FIRST_MOVES = MotionSettings(64, 60, 0.4, 0.0)  # of the shared modes, where the clip's own begin


@dataclass
class Guess:
    """What the inverter sees in N frames.

    identity: (N, rank).  motion: (N, 35), for the generator.  moves: (N, 35), for the shared modes; the same as
    `motion` where the model has none.
    """

    identity: Tensor
    motion: Tensor
    moves: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, model: Model, pictures: Tensor) -> Guess:
        """pictures: (N, 3, S, S), -1 to 1."""
        features = model.inverter.features(pictures)
        motion = model.inverter.motion(features)
        moves = motion if model.shared is None else model.shared.guess(features)
        return cls(model.inverter.identity(features), motion, moves)

    @classmethod
    def joined(cls, parts: Sequence[Guess]) -> Guess:
        return cls(*(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(cls)))


@dataclass
class Appearance:
    """identity: (up to rank,) quantised.  motion: (N, 35) the model's parameters of all frames, not quantised.

    start: how the parameters of any frame begin where there are modes.  motion_code: of the motion's step.
    """

    identity: np.ndarray
    motion: Tensor
    motion_code: int
    delta: list[DeltaTensor] = field(default_factory=list)
    pivot: Pivot | None = None
    modes: Modes | None = None
    start: ModeStart | None = None


def first_moves(
    model: Model, pivot: Pivot, frames: Tensor, motion: Tensor, code: int, device: torch.device | None = None
) -> Tensor:
    """How a pivot moves to become frames (N, 3, S, S), as the model's shared modes see it.

    motion: (N, 35), a guess of their parameters.  code: of the motion's step.
    Returns (N, 2, G, G), half picture sides.
    """
    nobody = np.zeros(1, np.int32)
    renderer = Renderer(
        model,
        nobody,
        [],
        None,
        pivot,
        identity_code=IDENTITY_CODE,
        motion_code=code,
        device=device,
        dtype=torch.float32,
    )
    return renderer.movement(fit_motion(renderer, frames, motion, FIRST_MOVES))


class Fitter:
    """progress: called with stage, done, total.  stage: runs a piece of work under a name and keeps its time."""

    def __init__(
        self,
        model: Model,
        options: EncodeOptions,
        device: torch.device,
        progress: Callable[[str, int, int], None],
        stage: Callable[[str, Callable[[], Any]], Any],
    ):
        self.model, self.options, self.device, self.progress, self.stage = model, options, device, progress, stage
        self.choose(options.fineness, options.budget)

    def choose(self, quality: float, budget: int) -> None:
        """What the options left open, once it is known.  budget: most bytes of identity, pivot, delta and modes."""
        self.quality, self.budget = quality, budget
        self.motion_code = motion_code(quality)

    def guess(self, pictures: Tensor) -> Guess:
        """What is known of frames (N, 3, S, S) when they are first seen."""
        return Guess.of(self.model, pictures)

    def at_once(self, frames: Tensor, guess: Guess, conditions: Conditions) -> Appearance:
        """From the first frames of a clip, nothing fitted."""
        quantised = within(self._quantised(guess.identity.mean(0) / self.model.identity_scale), self.budget)
        room = min(FAST_PIVOT, self.budget - len(encode_identity(quantised)))
        pivot = self._pivot(frames, guess.moves, room, conditions)
        return Appearance(quantised, guess.moves if pivot else guess.motion, self.motion_code, pivot=pivot)

    def fit(self, store: CropStore, guess: Guess, conditions: Conditions) -> Appearance:
        """From all frames of a clip."""
        budget, motion = self.budget, guess.motion
        usable = conditions.usable
        chosen, delta = best_identity(guess.identity[usable], motion[usable]) / self.model.identity_scale, []
        if self.options.preset == SLOW and not self.options.pivot:
            chosen, delta, motion = self._tune(store, chosen, motion, round(budget * TUNE_SHARE))
        left = budget - coded_size(delta)
        look = Appearance(within(self._quantised(chosen), left), motion, self.motion_code, delta)
        left -= len(encode_identity(look.identity))
        keys = [usable[i] for i in with_successors(motion[usable], MODE_KEYS)]
        frames = store.read(keys)
        room = round(left * PIVOT_SHARE)
        if left - room < LEAST_MODES:
            room = left  # there will be no modes
        look.pivot = self._pivot(frames, guess.moves[keys], room, conditions[keys])
        if look.pivot is not None:
            look.motion = guess.moves
            left -= len(look.pivot.pack())
        if left >= LEAST_MODES:
            self._fit_modes(look, frames, keys, left)
        return look

    def _pivot(self, frames: Tensor, motion: Tensor, budget: int, conditions: Conditions) -> Pivot | None:
        if not self.options.pivot:
            return None
        which = best_frame(frames, conditions, motion)
        reference = quantise_motion(motion[which], self.motion_code)
        return code_pivot(frames[which], reference, budget, thorough=self.options.preset != FAST)

    def _share(self, frames: int) -> float:
        """The work grows with the clip up to a ceiling, so that a short clip is not kept waiting."""
        return float(np.clip(frames / 300, 0.25, 1.0)) * (3 if self.options.preset == SLOW else 1)

    def _price(self) -> float:
        return 2e-7 * 2 ** ((DEFAULT_QUALITY - self.quality) / 10)

    @staticmethod
    def _quantised(identity: Tensor) -> np.ndarray:
        return (identity / step_size(IDENTITY_CODE)).round().numpy().astype(np.int32)

    def _tune(
        self, store: CropStore, identity: Tensor, motion: Tensor, budget: int
    ) -> tuple[Tensor, list[DeltaTensor], Tensor]:
        """Identity, weight delta and the model's parameters of all frames, fitted to a few of them."""
        share = self._share(len(motion))
        settings = TuneSettings(
            steps=tuple((size, max(8, round(count * share))) for size, count in TUNE_STEPS), price=self._price()
        )
        keys = spread_out(motion, min(len(motion), TUNE_KEYS))
        fit = ClipFit(
            self.model, store.read(keys), identity * self.model.identity_scale, motion[keys], settings, budget,
            step_size(IDENTITY_CODE), step_size(self.motion_code),
        )  # fmt: skip
        total = sum(n for _, n in settings.steps)
        ticks = iter(range(1, total + 1))
        self.stage("tune", lambda: fit.run(lambda n: self.progress("tune", next(ticks), total)))
        quantised, delta = fit.finish()
        correction = linear_correction(motion[keys], fit.motion.detach())
        tuned = torch.from_numpy(quantised).float() * step_size(IDENTITY_CODE)
        return tuned, delta, corrected(motion, correction)

    def _fit_modes(self, look: Appearance, frames: Tensor, keys: list[int], budget: int) -> None:
        """Texture and flow modes within a budget, into `look`.  frames: (K, 3, S, S), those of `keys`.

        With a pivot nothing drives the model: what its pictures add to the pivot's made every clip measured so far
        worse at equal bytes (docs/measurements/pivot.md).
        """
        count = 0 if look.pivot else DRIVEN
        mix, driven = principal_drive(look.motion, count, step_size(self.motion_code))
        pivot = replace(look.pivot, reference=()) if look.pivot else None
        renderer = Renderer(
            self.model, look.identity, look.delta, Modes.empty(mix, MIX_CODE), pivot,
            identity_code=IDENTITY_CODE, motion_code=self.motion_code, device=self.device, dtype=torch.float32,
        )  # fmt: skip
        share = self._share(len(look.motion))
        settings = ModeSettings(
            steps=tuple((size, max(8, round(count * share))) for size, count in MODE_STEPS), price=self._price() / 10
        )
        here = F.pad(driven[keys], (0, look.motion.shape[1] - driven.shape[1]))
        shown = here[:1] if pivot else here  # one picture for all frames
        with torch.no_grad():
            drawn = torch.cat([renderer.draw_model(part).cpu() for part in shown.split(BATCH)])
        moved = None
        if look.pivot is not None and self.model.shared is not None:
            started = look.pivot, frames, look.motion[keys], self.motion_code, self.device
            moved = self.stage("movement", lambda: first_moves(self.model, *started))
        fit = ModeFit(
            drawn, frames, driven[keys], mix, settings, budget, step_size(self.motion_code), moved, successors(keys)
        )  # fmt: skip
        total = sum(n for _, n in settings.steps)
        ticks = iter(range(1, total + 1))
        self.stage("modes", lambda: fit.run(lambda n: self.progress("modes", next(ticks), total)))
        look.modes = fit.finish()
        if look.modes is not None:
            look.motion_code = fit.motion_code(self.quality)
            look.start, look.pivot = ModeStart(fit, driven), pivot
