"""Preset `fast`: one pass, feed-forward; identity from the first seconds, then a segment as soon as it is complete.

Reading, following the face and fitting the motion run side by side (`ahead`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import chain
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from ..face.light import DARKEST, contrast, gain, lit, reference, relit
from ..face.portrait import Conditions
from ..face.survey import Survey, SurveyedFrame
from ..fit.motion import fit_motion
from ..fit.reuse import AT_ONCE
from ..model.pictures import from_numpy
from ..paper.fitter import PaperFitter
from ..threads.ahead import Ahead, threads_for_tensors
from .encoding import FAST_MOTION, Encoding

LEAD = 2.0  # seconds from the first face on in which the pivot is looked for
MOST_LEAD = 8.0  # ... where they show no face that is whole and lit
SETTLED = 1.03  # how much a picture may gain in contrast within a quarter of the lead when a fade is over


class Streaming(Encoding):
    """Holds no more than the lead's frames, or a segment's."""

    def work(self, survey: Survey, dst: BinaryIO) -> int:
        with threads_for_tensors(1), closing(iter(survey)) as frames:
            lead = self._lead(frames)
            self._begin(survey, lead, dst)
            with Ahead(frames, self._segment_frames()) as rest:
                return self._send(chain(lead, rest))

    def _lead(self, frames: Iterator[SurveyedFrame]) -> list[SurveyedFrame]:
        """The first frames, as many as tell what the person and the place look like."""
        lead: list[SurveyedFrame] = []
        for seen in frames:
            lead.append(seen)
            if self._enough(lead):
                break
        return lead

    def _send(self, frames: Iterable[SurveyedFrame]) -> int:
        """Write the segments, each as soon as it is complete.  Returns the number of frames."""
        waiting: list[SurveyedFrame] = []
        before: np.ndarray | None = None
        need, done = self._segment_frames(), 0
        for seen in frames:
            self.out.flush()
            waiting.append(seen)
            if len(waiting) == need:
                before = self._segment(waiting, before)
                done += need
                waiting = []
                self.progress("encode", done, self.info.frames_hint or 0)
        if waiting:
            self._segment(waiting, before)
        self.out.close()
        return done + len(waiting)

    def _enough(self, lead: list[SurveyedFrame]) -> bool:
        """Whether the first frames show what the person and the place look like."""
        rate = float(self.info.fps)
        faces = [s for s in lead if s.crop is not None]
        if len(faces) < LEAD * rate:
            return False
        if len(lead) - next(i for i, s in enumerate(lead) if s.crop is not None) >= MOST_LEAD * rate:
            return True
        tones = np.stack([s.tone for s in faces])
        bright, back = contrast(tones), max(1, round(LEAD / 4 * rate))
        whole = np.array([s.inside >= 0.98 and not s.damaged for s in faces]) & lit(tones)
        return bool(whole.any() and bright[-1] <= SETTLED * bright[-1 - back])

    def _begin(self, survey: Survey, lead: list[SurveyedFrame], dst: BinaryIO) -> None:
        faces = [s for s in lead if s.crop is not None]
        tones = np.stack([s.tone for s in faces])
        self.lit_tone = reference(tones)
        light = np.array([gain(t, self.lit_tone) for t in tones])
        faces = [s for s, (g, _) in zip(faces, light, strict=True) if g > DARKEST] or faces
        light = np.array([gain(s.tone, self.lit_tone) for s in faces])
        pictures = from_numpy([relit(s.crop, g, o) for s, (g, o) in zip(faces, light, strict=True)])  # type: ignore
        conditions = Conditions(np.array([s.inside for s in faces]), light[:, 0], np.array([s.damaged for s in faces]))
        if self.info.duration is not None:
            self._need(float(self.info.duration), [s.placement for s in faces])
        look = self.look = self.fitter.at_once(pictures, self.fitter.guess(pictures), conditions)
        self._start(survey, dst, look, self._background(survey))
        self.pivoted = look.pivot is not None and self.model.shared is not None

    def _segment(self, block: list[SurveyedFrame], before: np.ndarray | None) -> np.ndarray:
        light = self._light([s.tone for s in block])
        rows = [i for i, s in enumerate(block) if s.crop is not None and light[i][0] > DARKEST]
        motion = torch.zeros(len(block), self.header.params)
        if rows:
            crops = [relit(block[i].crop, *light[i]) for i in rows]  # type: ignore[arg-type]
            motion[rows] = self._motion(from_numpy(crops))
        held = np.ones(len(block), bool)
        held[rows] = False
        q = self._quantise(motion, held, before)
        places = self._places([s.placement for s in block], [s.absent for s in block])
        self.out.write([s.pts for s in block], q, places, held)
        return q[-1]

    def _motion(self, pictures: Tensor) -> Tensor:
        """Parameters (N, 35) of the frames of a block, by the inverter; where shared modes move a pivot, fitted."""
        guess = self.fitter.guess(pictures)
        if isinstance(self.fitter, PaperFitter):
            return self.fitter.moves(self.look, guess)
        if self.look.start is not None:
            driven = self.look.start.drive(guess.motion)
            motion = self._refined(pictures, self.look.start, driven, self.last, AT_ONCE)
            self.last = motion[-1]
            return motion
        if not self.pivoted:
            return guess.motion
        motion = fit_motion(self.renderer, pictures, guess.moves, FAST_MOTION, self.last)
        self.last = motion[-1]
        return motion
