"""Preset `fast`: one pass, feed-forward; identity from the first second, then a segment as soon as it is complete."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from .encoding import FAST_MOTION, Encoding, pictures_of
from .motion import fit_motion
from .paper.fitter import PaperFitter
from .reuse import AT_ONCE
from .survey import Seen, Survey


class Streaming(Encoding):
    """Holds no more than a segment's frames."""

    def work(self, survey: Survey, dst: BinaryIO) -> int:
        lead: list[Seen] = []
        block: list[Seen] = []
        before: np.ndarray | None = None
        need = self._segment_frames()
        done = 0
        for seen in survey:
            if lead:
                self.out.flush()
            block.append(seen)
            if len(block) < need:
                continue
            if not lead:
                lead = block
                self._begin(survey, lead, dst)
            before = self._segment(block, before)
            done += len(block)
            self.progress("encode", done, self.info.frames_hint or 0)
            block = []
        if not lead:
            self._begin(survey, block, dst)
        if block:
            self._segment(block, before)
            done += len(block)
        self.out.close()
        return done

    def _begin(self, survey: Survey, lead: list[Seen], dst: BinaryIO) -> None:
        crops = [s.crop for s in lead if s.crop is not None]
        pictures = pictures_of(crops)
        look = self.look = self.fitter.at_once(pictures, self.fitter.guess(pictures))
        self._start(survey, dst, look, self._background(survey, lead))
        self.pivoted = look.pivot is not None and self.model.shared is not None

    def _segment(self, block: list[Seen], before: np.ndarray | None) -> np.ndarray:
        crops = [s.crop for s in block if s.crop is not None]
        motion = torch.zeros(len(block), self.header.params)
        if crops:
            motion[[i for i, s in enumerate(block) if s.crop is not None]] = self._motion(pictures_of(crops))
        held = np.array([s.crop is None for s in block])
        q = self._quantise(motion, held, before)
        self.out.write([s.pts for s in block], q, [s.placement for s in block], held)
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
