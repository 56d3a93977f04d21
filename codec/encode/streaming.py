"""One pass: identity from the first seconds, then a segment as soon as it is complete (`fast`).

Reading, following the face and fitting the motion run side by side (`ahead`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from ..face.light import DARKEST, contrast, gain, lit, reference, relit
from ..face.portrait import Conditions
from ..face.survey import SurveyedFrame
from ..model.pictures import from_numpy
from ..threads.ahead import Ahead, threads_for_tensors
from .encoding import Encoding
from .started import OpenedClip, StartedFile

LEAD = 2.0  # seconds from the first face on in which the pivot is looked for
MOST_LEAD = 8.0  # ... where they show no face that is whole and lit
SETTLED = 1.03  # how much a picture may gain in contrast within a quarter of the lead when a fade is over


@dataclass(frozen=True)
class SegmentEnd:
    """What the next segment is to know of the one before.

    Args:
        motion: (P,) unquantised parameters of its last frame with a face, None where there was
            none.
        integers: (P,) of its last frame.
    """

    motion: Tensor | None = None
    integers: np.ndarray | None = None


class Streaming(Encoding):
    """Holds no more than the lead's frames, or a segment's."""

    def work(self, clip: OpenedClip, dst: BinaryIO) -> StartedFile:
        with threads_for_tensors(1), closing(iter(clip.survey)) as frames:
            lead = first_frames(frames, clip.info.fps)
            tone = reference(np.stack([s.tone for s in lead if s.crop is not None]))
            file = self._begin(clip, lead, tone, dst)
            with Ahead(frames, self.segment_frames(clip)) as rest:
                self._send(clip, file, chain(lead, rest), tone)
        return file

    def _begin(self, clip: OpenedClip, lead: list[SurveyedFrame], tone: np.ndarray, dst: BinaryIO) -> StartedFile:
        """Start the file with what the first frames show.  tone: of the well-lit ones."""
        faces = [s for s in lead if s.crop is not None]
        light = np.array([gain(s.tone, tone) for s in faces])
        faces = [s for s, (g, _) in zip(faces, light, strict=True) if g > DARKEST] or faces
        light = np.array([gain(s.tone, tone) for s in faces])
        pictures = from_numpy(
            [relit(s.crop, g, o) for s, (g, o) in zip(faces, light, strict=True) if s.crop is not None]
        )
        conditions = Conditions(np.array([s.inside for s in faces]), light[:, 0], np.array([s.damaged for s in faces]))
        seconds = None if clip.info.duration is None else float(clip.info.duration)
        spending = self.spending(seconds, [s.placement for s in faces])
        appearance = self.carrier.at_once(pictures, self.carrier.guess(pictures), conditions, spending)
        return self.start(clip, dst, appearance, self.backdrop(clip))

    def _send(self, clip: OpenedClip, file: StartedFile, frames: Iterable[SurveyedFrame], tone: np.ndarray) -> None:
        """Write the segments, each as soon as it is complete, and end the file."""
        waiting: list[SurveyedFrame] = []
        end = SegmentEnd()
        need, done = self.segment_frames(clip), 0
        for seen in frames:
            file.out.flush()
            waiting.append(seen)
            if len(waiting) == need:
                end = self._segment(file, waiting, end, tone)
                done += need
                waiting = []
                self.stages.progress("encode", done, clip.info.frames_hint or 0)
        if waiting:
            self._segment(file, waiting, end, tone)
        file.out.close()

    def _segment(
        self, file: StartedFile, block: list[SurveyedFrame], before: SegmentEnd, tone: np.ndarray
    ) -> SegmentEnd:
        light = self.light([s.tone for s in block], tone)
        crops = {i: s.crop for i, s in enumerate(block) if s.crop is not None and light[i][0] > DARKEST}
        rows = list(crops)
        motion, last = torch.zeros(len(block), file.header.params), before.motion
        if rows:
            pictures = from_numpy([relit(crop, *light[i]) for i, crop in crops.items()])
            start = file.appearance.begin(self.carrier.guess(pictures))
            motion[rows] = file.refined(pictures, start, before.motion)
            last = motion[rows[-1]]
        held = np.ones(len(block), bool)
        held[rows] = False
        integers = file.quantise(motion, held, before.integers)
        places = file.places([s.placement for s in block], [s.absent for s in block])
        file.out.write([s.pts for s in block], integers, places, held)
        return SegmentEnd(last, integers[-1])


def first_frames(frames: Iterator[SurveyedFrame], fps: Fraction) -> list[SurveyedFrame]:
    """As many of the first frames as tell what the person and the place look like."""
    lead: list[SurveyedFrame] = []
    for seen in frames:
        lead.append(seen)
        if _enough(lead, float(fps)):
            break
    return lead


def _enough(lead: list[SurveyedFrame], rate: float) -> bool:
    """Whether the first frames show what the person and the place look like.  rate: frames a
    second."""
    faces = [s for s in lead if s.crop is not None]
    if len(faces) < LEAD * rate:
        return False
    if len(lead) - next(i for i, s in enumerate(lead) if s.crop is not None) >= MOST_LEAD * rate:
        return True
    tones = np.stack([s.tone for s in faces])
    bright, back = contrast(tones), max(1, round(LEAD / 4 * rate))
    whole = np.array([s.inside >= 0.98 and not s.damaged for s in faces]) & lit(tones)
    return bool(whole.any() and bright[-1] <= SETTLED * bright[-1 - back])
