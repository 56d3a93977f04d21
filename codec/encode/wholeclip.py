"""Presets `medium` and `slow`: the whole clip is looked at first, its aligned squares wait in a temporary file.

With a bitrate the file is written again and again to nowhere, until it has its size (`aim`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from ..face.light import DARKEST, reference
from ..face.portrait import Conditions
from ..face.survey import Survey
from ..fit.appearance import Appearance
from ..fit.cropstore import CropStore
from ..fit.motion import MotionSettings, fit_motion
from ..fit.reuse import FITTED
from ..paper.fitter import Found, PaperFitter
from ..threads.ahead import threads_for_tensors
from .aim import Aim
from .encoding import FAST_MOTION, Encoding
from .options import SLOW

BATCH = 16

Block = tuple[Tensor, np.ndarray]  # of a segment: parameters (n, 35), unquantised; (n,) which frames are held


@dataclass
class Clip:
    """What the survey leaves behind: a row a frame, squares on disk for the frames with a face.

    crop_row: place in the store, -1 for a held frame.
    """

    pts: list[int] = field(default_factory=list)
    placement: list[np.ndarray] = field(default_factory=list)
    crop_row: list[int] = field(default_factory=list)
    absent: list[bool] = field(default_factory=list)
    tones: list[np.ndarray] = field(default_factory=list)
    inside: list[float] = field(default_factory=list)
    damaged: list[bool] = field(default_factory=list)

    @property
    def faces(self) -> list[int]:
        """Frames whose squares are in the store, in its order."""
        return [i for i, row in enumerate(self.crop_row) if row >= 0]


class WholeClip(Encoding):
    """Survey, fit, then motion against what was quantised."""

    def work(self, survey: Survey, dst: BinaryIO) -> int:
        # Networks that draw anew in every step are large enough for torch's threads; nothing else here is (`split`).
        generator = isinstance(self.fitter, PaperFitter) or not self.options.pivot
        with threads_for_tensors(0 if generator else 1):
            return self._work(survey, dst)

    def _work(self, survey: Survey, dst: BinaryIO) -> int:
        store = CropStore(self.model.size)
        self.stack.callback(store.close)
        clip = self._stage("survey", lambda: self._read(survey, store))
        conditions = self._lit(clip, store)
        self._need(len(clip.faces) / float(self.info.fps), [clip.placement[i] for i in clip.faces])
        parts = [self.fitter.guess(store.read(rows)) for rows in _batches(store.count)]
        guesses = type(parts[0]).joined(parts)

        def fit() -> Appearance | Found:
            return self.fitter.fit(store, guesses, conditions)

        if self.options.bitrate is not None:
            Aim(self, survey, clip).write(fit, lambda look: self._fitted(clip, store, look), dst)
        else:
            look = fit()
            self._start(survey, dst, look, self._background(survey))
            self._stage("motion", lambda: self._send(clip, self._fitted(clip, store, look)))
        return len(clip.pts)

    def _read(self, survey: Survey, store: CropStore) -> Clip:
        clip = Clip()
        with threads_for_tensors(1):
            for seen in survey:
                clip.pts.append(seen.pts)
                clip.placement.append(seen.placement)
                clip.absent.append(seen.absent)
                clip.crop_row.append(-1 if seen.crop is None else store.count)
                if seen.crop is not None:
                    store.append(seen.crop)
                    clip.tones.append(seen.tone)
                    clip.inside.append(seen.inside)
                    clip.damaged.append(seen.damaged)
                self.progress("align", len(clip.pts), self.info.frames_hint or 0)
        return clip

    def _lit(self, clip: Clip, store: CropStore) -> Conditions:
        """Bring the squares of a fade into the light of the rest; those that are too dark are held."""
        self.lit_tone = reference(np.stack(clip.tones))
        light = self._light(clip.tones)
        store.light = {row: (g, o) for row, (g, o) in enumerate(light) if g < 1}
        gains = np.array([g for g, _ in light])
        for frame in clip.faces:
            if gains[clip.crop_row[frame]] <= DARKEST:
                clip.crop_row[frame] = -1
        return Conditions(np.array(clip.inside), gains, np.array(clip.damaged) | (gains <= DARKEST))

    def _blocks(self, clip: Clip) -> Iterator[tuple[int, list[int]]]:
        """The segments of a clip: first frame, and the rows of its frames in the store, -1 for held ones."""
        need = self._segment_frames()
        return ((first, clip.crop_row[first : first + need]) for first in range(0, len(clip.pts), need))

    def _fitted(self, clip: Clip, store: CropStore, look: Appearance | Found) -> Iterator[Block]:
        """Every segment's parameters (n, 35), unquantised, and which of its frames are held."""
        free: Tensor | None = None
        for _, rows in self._blocks(clip):
            here = [r for r in rows if r >= 0]
            block = torch.zeros(len(rows), self.header.params)
            if here:
                fitted = self._fit_block(store.read(here), look, here, free)
                block[[i for i, r in enumerate(rows) if r >= 0]] = fitted
                free = fitted[-1]
            yield block, np.array([r < 0 for r in rows])

    def _still(self, clip: Clip) -> Iterator[Block]:
        """Segments in which nothing moves."""
        for _, rows in self._blocks(clip):
            yield torch.zeros(len(rows), self.header.params), np.zeros(len(rows), bool)

    def _send(self, clip: Clip, blocks: Iterable[Block]) -> None:
        """Quantise and write the segments of a clip, and end the file."""
        before: np.ndarray | None = None
        for (first, rows), (block, held) in zip(self._blocks(clip), blocks, strict=True):
            end = first + len(rows)
            before = self._quantise(block, held, before)
            places = self._places(clip.placement[first:end], clip.absent[first:end])
            self.out.write(clip.pts[first:end], before, places, held)
            before = before[-1]
            self.progress("motion", end, len(clip.pts))
        self.out.close()

    def _fit_block(self, crops: Tensor, look: Appearance | Found, rows: list[int], before: Tensor | None) -> Tensor:
        """Parameters (N, 35) of a block of frames, `rows` of the clip."""
        if isinstance(look, Found):
            return look.motion[rows]
        start = look.start
        steps = 24 if self.options.preset == SLOW else 16
        if start is None:
            settings = MotionSettings(size=64, steps=steps)
            if self.who is not None and look.pivot is not None and self.model.shared is not None:
                settings = FAST_MOTION
            return fit_motion(self.renderer, crops, look.motion[rows], settings, before)
        passes = ((128, steps, 0.35), (256, steps // 2, 0.12))
        return self._refined(crops, start, start.driven[rows], before, passes if self.who is None else FITTED)


def _batches(count: int) -> Iterator[range]:
    return (range(i, min(i + BATCH, count)) for i in range(0, count, BATCH))
