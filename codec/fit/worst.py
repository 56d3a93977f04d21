"""The bound on the worst frame: every frame is drawn and measured, and the modes are fitted again
where frames fall below it.

A clip's mean hides its rare moments: a blink, or lips that close among open ones.  So few frames
show them that a fit which counts all frames alike leaves them out.  `modeagain` fits the modes a
second time, with the worst frames counted more often and a few planes for what they lack.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...format.motion import motion_bits
from ..draw.render import Renderer
from ..model.modelfile import Model
from .carrier import Appearance, CarrierSettings, as_read
from .cropstore import CropStore
from .modeagain import FittedModes, KeyFrames, ModesAgain
from .modefit import ModeStart, coded_size
from .moments import POOL, Shown, with_moments
from .motion import corrected, linear_correction
from .quantiser import Quantiser
from .refine import RefineStarted
from .revision import Onward
from .spread import Spread, WorstMeans, WorstReport
from .stages import Stages
from .weighing import Weighing, frame_errors

BLOCK = 150  # frames whose motion is fitted together
BATCH = 16  # frames drawn at once
MORE = 0.099  # of what identity and motion take: what the bound may cost
AGAIN = 0.6  # of that: what the second fit's planes may grow by
EXTRA = 6  # planes more, which only the worst frames move; no clip had all its parameters in use
WORST_KEYS = 0.5  # of the key frames: how many may be the worst ones


@dataclass(frozen=True)
class DrawnClip:
    """A clip as the decoder will draw it.

    Args:
        motion: (N, P), before it was quantised.
        integers: (N, P), after.
        errors: (N, 3), as `frame_errors` has them.
        motion_bytes: that the parameters take.
    """

    motion: Tensor
    integers: np.ndarray
    errors: np.ndarray
    motion_bytes: int


def draw_clip(appearance: Appearance, renderer: Renderer, quantise: Quantiser, store: CropStore) -> DrawnClip:
    """Fit, quantise and draw all frames of a clip, block by block."""
    motion: list[Tensor] = []
    values: list[np.ndarray] = []
    errors: list[np.ndarray] = []
    before: Tensor | None = None
    last: np.ndarray | None = None
    bits = 0.0
    for first in range(0, store.count, BLOCK):
        rows = list(range(first, min(first + BLOCK, store.count)))
        frames = store.read(rows)
        found = appearance.refine(renderer, frames, appearance.start[rows], before)
        integers = quantise(found, np.zeros(len(rows), bool), last)
        for i in range(0, len(rows), BATCH):
            errors.append(frame_errors(renderer.draw(integers[i : i + BATCH]), frames[i : i + BATCH]))
        motion.append(found)
        values.append(integers)
        bits += float(motion_bits(integers).sum())
        before, last = found[-1], integers[-1]
    return DrawnClip(torch.cat(motion), np.concatenate(values), np.concatenate(errors), round(bits / 8))


def keys_again(keys: list[int], weight: np.ndarray) -> list[int]:
    """The key frames of the second round: as many, the heaviest frames of the clip among them.

    Args:
        keys: those of the first round.
        weight: (N,) of all frames.
    """
    known = set(keys)
    bad = [int(i) for i in np.argsort(-weight, kind="stable") if weight[i] > 1 and int(i) not in known]
    bad = bad[: round(WORST_KEYS * len(keys))]
    light = sorted(keys, key=lambda i: weight[i])[: len(bad)]
    return sorted((known - set(light)) | set(bad))


class WorstFrames:
    """Keeps the frames of a clip within a bound, as far as `MORE` goes.

    Args:
        model: that draws.
        settings: the caller's wishes; `worst` is the bound.
        stages: told what is done.
        quantiser: of what a renderer draws.
        store: all frames.
        usable: rows of those that may be judged.
    """

    def __init__(
        self,
        model: Model,
        settings: CarrierSettings,
        stages: Stages,
        quantiser: Callable[[Renderer], Quantiser],
        store: CropStore,
        usable: list[int],
    ):
        self.model, self.settings, self.stages = model, settings, stages
        self.quantiser, self.store, self.usable = quantiser, store, usable
        assert settings.worst is not None
        self.weighing = Weighing(settings.worst)

    def bounded(self, first: Appearance, keys: list[int], known: int | None = None) -> Appearance:
        """An appearance that keeps the bound better, or as it was where nothing helped.

        Each means goes on from what the one before left, and stays where the worst frames gain.

        Args:
            first: with a pivot and modes, which nothing but the clip's own parameters move.
            keys: rows of the key frames of that fit.
            known: bytes that other modes may take, where the file has those of `first` already; they
                are then sent whole.
        """
        assert first.modes is not None
        before = drawn = self._drawn(first)
        whole = 0 if known is None else coded_size(first.modes)
        if known is not None and known < whole:
            return self._told(first, before, drawn, [], 0)
        found = replace(first, start=before.motion, refine=as_read)
        room = round(MORE * self._size(found, before))
        means: list[WorstMeans] = []
        for name, work in (("again", partial(self._again, keys)), ("moments", self._with_moments)):
            spread = self._spread(drawn)
            if not self.weighing.below(drawn.errors[self.usable]):
                break
            left = room - sum(done.more_bytes for done in means)
            tried = work(found, drawn, left)
            if tried is None:
                continue
            after = self._drawn(tried)
            more = self._size(tried, after) - self._size(found, drawn)
            if more <= left and self._spread(after).worst_percent > spread.worst_percent:
                found, drawn = replace(tried, start=after.motion, refine=as_read), after
                means.append(WorstMeans(name, more, self._spread(after).worst_percent - spread.worst_percent))
        found = replace(found, budget=None if found.budget is None else found.budget + room)
        return self._told(found, before, drawn, means, whole if means else 0)

    def _told(
        self, found: Appearance, before: DrawnClip, drawn: DrawnClip, means: list[WorstMeans], whole: int
    ) -> Appearance:
        """What was found, with its report.  whole: bytes of modes that are sent again."""
        below = [self.weighing.below(clip.errors[self.usable]) for clip in (before, drawn)]
        spreads = self._spread(before), self._spread(drawn)
        more = whole + sum(done.more_bytes for done in means)
        report = WorstReport(self.weighing.bound, *spreads, below[0], below[1], more, tuple(means))
        return replace(found, start=drawn.motion, refine=as_read, worst=report)

    def _size(self, appearance: Appearance, drawn: DrawnClip) -> int:
        """Bytes of identity and motion."""
        return appearance.actor().size + drawn.motion_bytes

    def _spread(self, drawn: DrawnClip) -> Spread:
        return Spread.of(drawn.errors[self.usable, 0])

    def _drawn(self, appearance: Appearance) -> DrawnClip:
        renderer = appearance.renderer(self.model, self.settings.device)
        return draw_clip(appearance, renderer, self.quantiser(renderer), self.store)

    def _again(self, keys: list[int], first: Appearance, drawn: DrawnClip, left: int) -> Appearance | None:
        """The modes fitted again; None where they have no room."""
        assert first.modes is not None and isinstance(first.onward, Onward) and first.onward.fitted is not None
        ended = first.onward.fitted
        weight = np.ones(self.store.count)
        weight[self.usable] = self.weighing.weights(drawn.errors[self.usable])
        keys = keys_again(keys, weight)
        known = drawn.motion[keys][:, : ended.free]
        frames = self.store.read(keys)
        renderer = first.renderer(self.model, self.settings.device)
        with torch.no_grad():
            shown = torch.cat([renderer.draw_values(part).cpu() for part in drawn.motion[keys].split(BATCH)])
        more = round(AGAIN * left)
        effort = self.settings.effort
        steps = effort.steps_for(effort.modes_again, self.store.count)
        again = ModesAgain(
            ended, KeyFrames(frames, shown, known), weight[keys], EXTRA,
            replace(ended.settings, steps=steps), coded_size(first.modes) + more,
        )  # fmt: skip
        again.run(self.stages.counter("worst", sum(count for _, count in steps)))
        modes = again.finish()
        if modes is None:
            return None
        fitted = again.fitted()
        start = corrected(drawn.motion[:, : ended.free], linear_correction(known, fitted[:, : ended.free]))
        start = F.pad(start, (0, drawn.motion.shape[1] - start.shape[1]))
        start[keys] = F.pad(fitted, (0, start.shape[1] - fitted.shape[1]))
        return replace(
            first, modes=modes, start=start, refine=RefineStarted(again.scale, effort.mode_motion),
            onward=Onward(FittedModes.of(again), ModeStart(again)),
        )  # fmt: skip

    def _with_moments(self, found: Appearance, drawn: DrawnClip, left: int) -> Appearance | None:
        """With planes for single moments; None where none is worth its bytes."""
        assert found.modes is not None
        renderer = found.renderer(self.model, self.settings.device)
        worst = np.argsort(-drawn.errors[self.usable, 0], kind="stable")[:POOL]
        pool = np.sort(np.array(self.usable)[worst])
        with torch.no_grad():
            under = renderer.draw_model(torch.zeros(1, drawn.motion.shape[1])).cpu()
        shown = Shown(under, found.modes, drawn.integers, renderer.motion_step)
        made = with_moments(shown, pool, self.store.read(pool), drawn.errors[:, 0], left)
        new = slice(found.modes.planes - 1, made.modes.planes - 1)
        if new.start == new.stop:
            return None
        motion = drawn.motion.clone()
        motion[:, new] = torch.from_numpy(made.integers[:, new]).float() * renderer.motion_step
        return replace(found, modes=made.modes, start=motion, refine=as_read)
