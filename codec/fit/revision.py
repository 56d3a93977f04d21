"""The modes of a later chapter: those of the chapter before, fitted again to its frames, where that
pays.

Whether it does is told by a few runs of frames, drawn with the modes before and with the new ones:
the new ones cost their bytes and must gain as many dB as the same bytes gain elsewhere in a file.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ...format.motion import motion_bits
from ..draw.render import Renderer
from ..face.portrait import Conditions
from ..face.regions import attention
from ..model.modelfile import Model
from .carrier import Appearance, CarrierSettings, Spending
from .cropstore import CropStore
from .keyframes import with_successors
from .modeagain import FittedModes, KeyFrames, ModesAgain
from .modefit import ModeStart, coded_size
from .quantiser import Quantiser
from .refine import RefineModes
from .stages import Stages

RUN = 16  # frames in succession that are looked at
RUNS = 8  # of them, over the chapter
# Of the bytes of the modes before, with less of which new ones are not tried: a short chapter's 1,610
# drew it worse than the 6,829 before (docs/measurements/long-talks.md).
LEAST_SHARE = 0.5


@dataclass(frozen=True)
class Onward:
    """What the next chapter begins with.

    Args:
        fitted: where the fit of the modes ended; None where parameters drive the model, whose
            pictures of all key frames would have to be kept.
        first: how the parameters of frames begin under them.
    """

    fitted: FittedModes | None
    first: ModeStart


@dataclass(frozen=True)
class Looked:
    """How some runs of frames are drawn.

    Args:
        error: mean square, where people look.
        bits: of a frame's motion, beyond the first of a run.
    """

    error: float
    bits: float


def looked_at(
    appearance: Appearance, renderer: Renderer, quantise: Quantiser, store: CropStore, runs: list[range]
) -> Looked:
    """Draw runs of frames as a file would show them."""
    weight = attention(renderer.size)
    errors: list[Tensor] = []
    bits = 0.0
    for rows in runs:
        frames = store.read(rows)
        found = appearance.refine(renderer, frames, appearance.start[list(rows)], None)
        integers = quantise(found, np.zeros(len(rows), bool), None)
        drawn = renderer.draw(integers).clamp(-1, 1).cpu()
        errors.append(((drawn - frames).square() * weight).mean((1, 2, 3)))
        bits += float(motion_bits(integers)[1:].sum())
    return Looked(float(torch.cat(errors).mean()), bits / max(1, sum(len(rows) - 1 for rows in runs)))


def runs_of(count: int) -> list[range]:
    """RUNS runs of frames, evenly over all."""
    firsts = np.linspace(0, max(0, count - RUN), RUNS).round().astype(int)
    return [range(first, min(first + RUN, count)) for first in sorted(set(firsts.tolist()))]


def pays(before: Looked, after: Looked, new_bytes: int, frames: int, octave: float) -> bool:
    """Whether a revision is worth its bytes.

    Args:
        before, after: a chapter without it and with it.
        new_bytes: of the revision.
        frames: of the chapter.
        octave: dB that twice the bytes must gain.
    """
    gain = 10 * math.log10(max(before.error, 1e-12) / max(after.error, 1e-12))
    octaves = math.log2((after.bits * frames / 8 + new_bytes) / max(1.0, before.bits * frames / 8))
    return gain > octave * octaves


class Revising:
    """Fits the modes of an appearance to a later chapter.

    Args:
        model: that draws.
        settings: the caller's wishes.
        stages: told what is done.
        quantiser: of what a renderer draws.
    """

    def __init__(
        self,
        model: Model,
        settings: CarrierSettings,
        stages: Stages,
        quantiser: Callable[[Renderer], Quantiser],
    ):
        self.model, self.settings, self.stages, self.quantiser = model, settings, stages, quantiser

    def revised(
        self, old: Appearance, store: CropStore, motion: Tensor, conditions: Conditions, spending: Spending
    ) -> tuple[Appearance, list[int]]:
        """A revision that pays, or the appearance as it was; and the key frames of the chapter.

        Args:
            old: with modes that nothing but the clip's own parameters move; `start` is that of the
                chapter.
            store: all frames of the chapter.
            motion: (N, P), a guess of their parameters that tells them apart.
            conditions: of the frames.
            spending: its budget is that of the complete revision.
        """
        usable = conditions.usable
        keys = [usable[i] for i in with_successors(motion[usable], self.settings.effort.mode_keys)]
        assert old.modes is not None
        room, new = self.room(old, spending), None
        if room >= LEAST_SHARE * coded_size(old.modes):
            new = self.stages.run("modes", lambda: self._again(old, store, keys, spending, room))
        if new is None:
            return old, keys
        runs = runs_of(store.count)
        looks = [self.stages.run("compare", partial(self._looked, one, store, runs)) for one in (old, new)]
        assert new.modes is not None
        worth = pays(looks[0], looks[1], coded_size(new.modes), store.count, spending.octave)
        return (new if worth else old), keys

    @staticmethod
    def room(old: Appearance, spending: Spending) -> int:
        """Bytes that the modes of a revision may take."""
        assert old.modes is not None
        return spending.budget - (old.actor().size - coded_size(old.modes))

    def _looked(self, appearance: Appearance, store: CropStore, runs: list[range]) -> Looked:
        renderer = appearance.renderer(self.model, self.settings.device)
        return looked_at(appearance, renderer, self.quantiser(renderer), store, runs)

    def _again(
        self, old: Appearance, store: CropStore, keys: list[int], spending: Spending, room: int
    ) -> Appearance | None:
        """The modes fitted again; None where they have no room."""
        onward, effort = old.onward, self.settings.effort
        assert isinstance(onward, Onward) and onward.fitted is not None
        frames = store.read(keys)
        known = onward.first.guess(onward.fitted.drawn, frames, torch.zeros(len(keys), 0))
        steps = effort.steps_for(effort.modes_again, store.count)
        fit = ModesAgain(
            onward.fitted, KeyFrames(frames, frames, known), np.ones(len(keys)), 0,
            replace(onward.fitted.settings, steps=steps), room,
        )  # fmt: skip
        fit.run(self.stages.counter("modes", sum(count for _, count in steps)))
        modes = fit.finish()
        if modes is None:
            return None
        first = ModeStart(fit)
        return replace(
            old, modes=modes, motion_step_code=fit.motion_step_code(spending.quality), budget=spending.budget,
            refine=RefineModes(first, 0, effort.mode_motion), onward=Onward(FittedModes.of(fit), first),
            step_is_free=True,
        )  # fmt: skip
