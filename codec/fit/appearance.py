"""The carrier of models with an inverter: identity, and what the clip adds to the model, within one
budget of bytes.

By default a pivot and the modes on top of it; without a pivot, where the effort has steps for it, a
weight delta, then modes.  The parts are found by `pivotcoding`, `tune` and `modefit`; here they
share the budget.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...format.delta import DeltaTensor
from ...format.errors import FevError
from ...format.identity import encode_identity
from ...format.modes import Modes
from ...format.still import Pivot
from ..draw.units import DEFAULT_QUALITY, IDENTITY_STEP_CODE, motion_step_code, step_size
from ..face.portrait import Conditions, best_frame
from ..model.modelfile import Model
from .budget import DEFAULT_BUDGET, by_need
from .carrier import Appearance, CarrierSettings, Spending
from .cropstore import CropStore
from .keyframes import best_identity, spread_out, successors, with_successors, within
from .modeagain import FittedModes
from .modebasis import MIX_STEP_CODE, driven_by, principal_drive
from .modefit import ModeFit, ModeSettings, ModeStart
from .motion import MotionSettings, corrected, fit_motion, linear_correction, quantise_motion
from .pivotcoding import code_pivot
from .reading import InverterReading, ReadsByInverter
from .refine import RefineAll, RefineModes
from .revision import Onward, Revising
from .stages import Stages
from .tune import ClipFit, TuneSettings, coded_size
from .worst import WorstFrames

# By how many times the model's side the square has: of the budget, what the pivot may take; and bytes
# of a pivot that is not fitted to.
PIVOT_SHARE = {1: 0.3, 2: 0.4, 4: 0.5}
FAST_PIVOT = {1: 2_500, 2: 3_500, 4: 5_500}
TUNE_SHARE = 0.25  # of the budget: what the weight delta may take
DRIVEN = 8  # combinations of the model's parameters that a file with modes but no pivot keeps
LEAST_MODES = 600  # bytes; with less the modes are left out
BATCH = 16  # frames drawn at once

T = TypeVar("T")


def first_moves(
    model: Model,
    pivot: Pivot,
    frames: Tensor,
    motion: Tensor,
    code: int,
    settings: MotionSettings,
    device: torch.device | None = None,
) -> Tensor:
    """How a pivot moves to become frames, as the model's shared modes see it.

    Args:
        frames: (N, 3, S, S), -1 to 1.
        motion: (N, P), a guess of their parameters.
        code: of the motion's step.
        settings: of the fit of their parameters.

    Returns:
        (N, 2, G, G), half picture sides.
    """
    nobody = Appearance(np.zeros(1, np.int32), code, pivot=pivot)
    renderer = nobody.renderer(model, device)
    return renderer.movement(fit_motion(renderer, frames, motion, settings))


class Fitter(ReadsByInverter):
    """Fits pivot, modes and weight delta to the frames of a clip.

    Args:
        model: one with an inverter.
        settings: the caller's wishes.
        stages: told what is done.

    Raises:
        FevError: the model has no inverter.
    """

    can_aim = True
    can_bound = True
    sends_identity = True

    def __init__(self, model: Model, settings: CarrierSettings, stages: Stages):
        if model.inverter is None:
            raise FevError(f"model {model.name} has no inverter to begin a fit with")
        super().__init__(model)
        self.settings, self.effort, self.stages = settings, settings.effort, stages
        self.gives_way = settings.pivot
        self.draws_finer = settings.pivot and model.shared is not None
        # Without a pivot the generator draws anew in every step, whose tensors are large enough for
        # torch's threads.
        self.tensor_threads = 1 if settings.pivot else 0

    def usual_budget(self, seconds: float | None, side: float) -> int:
        """By how long the face is seen and how large it is."""
        return DEFAULT_BUDGET if seconds is None else by_need(seconds, side)

    def at_once(
        self, frames: Tensor, reading: InverterReading, conditions: Conditions, spending: Spending
    ) -> Appearance:
        """From the first frames of a clip, nothing fitted."""
        budget, code = spending.budget, motion_step_code(spending.quality)
        quantised = within(self._quantised(reading.identity.mean(0) / self.model.identity_scale), budget)
        room = min(of_side(FAST_PIVOT, self.settings.finer), budget - len(encode_identity(quantised)))
        pivot = self._pivot(frames, reading.moves, room, conditions, code)
        stretched = pivot is not None and self.model.shared is not None
        refine = RefineAll(self.effort.pivot_motion if stretched else self.effort.motion)

        def begin(later: InverterReading) -> Tensor:
            return later.motion if pivot is None else later.moves

        return Appearance(quantised, code, pivot=pivot, budget=budget, begin=begin, refine=refine)

    def fit(self, store: CropStore, reading: InverterReading, conditions: Conditions, spending: Spending) -> Appearance:
        """From all frames of a clip."""
        code, motion = motion_step_code(spending.quality), reading.motion
        usable = conditions.usable
        chosen = best_identity(reading.identity[usable], motion[usable]) / self.model.identity_scale
        delta: list[DeltaTensor] = []
        if self.effort.tune and not self.settings.pivot:
            chosen, delta, motion = self._tune(store, chosen, motion, spending)
        left = spending.budget - coded_size(delta)
        identity = within(self._quantised(chosen), left)
        left -= len(encode_identity(identity))
        keys = [usable[i] for i in with_successors(motion[usable], self.effort.mode_keys)]
        frames = store.read(keys)
        room = round(left * of_side(PIVOT_SHARE, self.settings.finer))
        if left - room < LEAST_MODES:
            room = left  # there will be no modes
        pivot = self._pivot(frames, reading.moves[keys], room, conditions[keys], code)
        if pivot is not None:
            motion = reading.moves
            left -= len(pivot.pack())
        begin = _moves if pivot else _tuned(reading.motion, motion)
        plain = Appearance(
            identity, code, delta=delta, pivot=pivot, budget=spending.budget, start=motion, begin=begin,
            refine=RefineAll(self.effort.motion),
        )  # fmt: skip
        if left < LEAST_MODES:
            return plain
        first = self._with_modes(plain, frames, keys, left, spending.quality)
        del frames  # pictures of all key frames
        return self._bounded(first, keys, store, usable)

    def go_on(
        self, before: Appearance, store: CropStore, reading: InverterReading, conditions: Conditions, spending: Spending
    ) -> Appearance:
        """A later chapter: the appearance before, or its modes fitted again where that pays."""
        onward, refine = before.onward, before.refine
        if isinstance(onward, Onward):
            refine = RefineModes(onward.first, onward.first.driven, self.effort.mode_motion)
        old = replace(before, start=before.begin(reading), refine=refine, step_is_free=False, worst=None)
        if not isinstance(onward, Onward) or onward.fitted is None:
            return old
        revising = Revising(self.model, self.settings, self.stages, self.quantiser)
        new, keys = revising.revised(old, store, reading.moves, conditions, spending)
        room = revising.room(old, spending) if new is old else None
        return self._bounded(new, keys, store, conditions.usable, room)

    def _bounded(
        self, first: Appearance, keys: list[int], store: CropStore, usable: list[int], room: int | None = None
    ) -> Appearance:
        """An appearance with its worst frames within the bound, where there is one.

        Args:
            keys: rows of the key frames.
            usable: rows of the frames that may be judged.
            room: see `WorstFrames.bounded`.
        """
        if self.settings.worst is None or first.modes is None:
            return first
        worst = WorstFrames(self.model, self.settings, self.stages, self.quantiser, store, usable)
        return self.stages.run("worst", lambda: worst.bounded(first, keys, room))

    def _pivot(self, frames: Tensor, motion: Tensor, room: int, conditions: Conditions, code: int) -> Pivot | None:
        if not self.settings.pivot:
            return None
        which = best_frame(frames, conditions, motion)
        reference = quantise_motion(motion[which], code)
        finer = None
        if conditions.closer is not None:
            finer = code_pivot(conditions.closer(which), reference, room, thorough=self.effort.thorough_still)
        return finer or code_pivot(frames[which], reference, room, thorough=self.effort.thorough_still)

    @staticmethod
    def _price(quality: float) -> float:
        """Of a bit of the appearance: the finer the motion, the less."""
        return 2e-7 * 2 ** ((DEFAULT_QUALITY - quality) / 10)

    @staticmethod
    def _quantised(identity: Tensor) -> np.ndarray:
        return (identity / step_size(IDENTITY_STEP_CODE)).round().numpy().astype(np.int32)

    def _tune(
        self, store: CropStore, identity: Tensor, motion: Tensor, spending: Spending
    ) -> tuple[Tensor, list[DeltaTensor], Tensor]:
        """Identity, weight delta and the model's parameters of all frames, fitted to a few of
        them."""
        steps = self.effort.steps_for(self.effort.tune, len(motion))
        settings = TuneSettings(steps=steps, price=self._price(spending.quality))
        keys = spread_out(motion, min(len(motion), self.effort.tune_keys))
        fit = ClipFit(
            self.model, store.read(keys), identity * self.model.identity_scale, motion[keys], settings,
            round(spending.budget * TUNE_SHARE), step_size(IDENTITY_STEP_CODE),
            step_size(motion_step_code(spending.quality)),
        )  # fmt: skip
        self.stages.run("tune", lambda: fit.run(self.stages.counter("tune", sum(n for _, n in steps))))
        quantised, delta = fit.finish()
        correction = linear_correction(motion[keys], fit.motion.detach())
        tuned = torch.from_numpy(quantised).float() * step_size(IDENTITY_STEP_CODE)
        return tuned, delta, corrected(motion, correction)

    def _with_modes(
        self, plain: Appearance, frames: Tensor, keys: list[int], budget: int, quality: float
    ) -> Appearance:
        """Texture and flow modes within a budget, on top of an appearance; as it was where they
        have no room.  frames: (K, 3, S, S), those of `keys`.

        With a pivot nothing drives the model: what its pictures add to the pivot's made every clip
        measured so far worse at equal bytes (docs/measurements/pivot.md).
        """
        code, motion = plain.motion_step_code, plain.start
        mix, driven = principal_drive(motion, 0 if plain.pivot else DRIVEN, step_size(code))
        pivot = replace(plain.pivot, reference=()) if plain.pivot else None
        renderer = replace(plain, pivot=pivot, modes=Modes.empty(mix, MIX_STEP_CODE)).renderer(
            self.model, self.settings.device
        )
        steps = self.effort.steps_for(self.effort.modes, len(motion))
        settings = ModeSettings(steps=steps, price=self._price(quality) / 10)
        start = F.pad(driven, (0, motion.shape[1] - driven.shape[1]))
        shown = start[keys][:1] if pivot else start[keys]  # one picture for all frames
        with torch.no_grad():
            drawn = torch.cat([renderer.draw_model(part).cpu() for part in shown.split(BATCH)])
        moved = None
        if plain.pivot is not None and self.model.shared is not None:
            known = plain.pivot, frames, motion[keys], code, self.effort.first_moves, self.settings.device
            moved = self.stages.run("movement", lambda: first_moves(self.model, *known))
        fit = ModeFit(
            drawn, frames, driven[keys], mix, settings, budget, step_size(code), moved, successors(keys)
        )  # fmt: skip
        self.stages.run("modes", lambda: fit.run(self.stages.counter("modes", sum(n for _, n in steps))))
        modes = fit.finish()
        if modes is None:
            return plain
        first = ModeStart(fit)

        def begin(later: InverterReading) -> Tensor:
            moved = driven_by(mix, plain.begin(later), step_size(code))
            return F.pad(moved, (0, motion.shape[1] - moved.shape[1]))

        return replace(
            plain, modes=modes, pivot=pivot, motion_step_code=fit.motion_step_code(quality), start=start, begin=begin,
            refine=RefineModes(first, driven.shape[1], self.effort.mode_motion),
            onward=Onward(None if driven.shape[1] else FittedModes.of(fit), first), step_is_free=driven.shape[1] == 0,
        )  # fmt: skip


def _moves(later: InverterReading) -> Tensor:
    """Where the parameters of a pivot begin."""
    return later.moves


def _tuned(seen: Tensor, fitted: Tensor) -> Callable[[InverterReading], Tensor]:
    """Where the model's parameters begin, as a fit has corrected them.

    Args:
        seen, fitted: (N, P) without the correction and with it.
    """
    if seen is fitted:
        return lambda later: later.motion
    correction = linear_correction(seen, fitted)
    return lambda later: corrected(later.motion, correction)


def of_side(table: Mapping[int, T], finer: int) -> T:
    """What a table of sides has for one, or for the next smaller one."""
    return table[max(side for side in table if side <= finer)]
