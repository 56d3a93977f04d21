"""One pass: who is there from the first seconds of each shot, then a segment as soon as it is
complete (`fast`).

Reading and following the face runs beside fitting the motion (`ahead`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from ...format.segment import Track
from ...format.stage import Set
from ..face.background import Plate
from ..face.light import DARKEST, contrast, gain, lit, reference, relit
from ..face.portrait import Conditions
from ..face.survey import SurveyedFrame
from ..model.pictures import from_numpy
from ..threads.ahead import Ahead, threads_for_tensors
from .encoding import Encoding
from .recognition import Look, Recognition
from .started import Backdrop, OpenedClip, SentActor, StartedFile

LEAD = 2.0  # seconds from the first face on in which the pivot is looked for
MOST_LEAD = 8.0  # ... where they show no face that is whole and lit
SETTLED = 1.03  # how much a picture may gain in contrast within a quarter of the lead when a fade is over


@dataclass(frozen=True)
class ShotLead:
    """The beginning of a shot: as many frames as tell what it shows; all of one that shows nobody.

    Args:
        plate: what stands behind the face; None where the file is of the square alone.
        person: who it shows, None for nobody.
        aligned: the clip is the aligned square.
        keys: numbers of the frames that others are registered to, so far.
    """

    frames: list[SurveyedFrame]
    plate: Plate | None
    person: int | None
    aligned: bool
    keys: list[int]


@dataclass
class ShotOnAir:
    """A shot whose segments are being written.

    Args:
        sent: its actor, None for nobody.
        backdrop: what stands behind.
        tone: of its well-lit pictures.
        motion: (P,) unquantised parameters of the last frame with a face that was written.
        integers: (P,) of the last frame that was written.
    """

    sent: SentActor | None
    backdrop: Backdrop
    tone: np.ndarray | None
    motion: Tensor | None = None
    integers: np.ndarray | None = None


class Streaming(Encoding):
    """Holds no more than a lead's frames, or a segment's."""

    def work(self, clip: OpenedClip, dst: BinaryIO) -> StartedFile:
        self._recognition = Recognition(self.model, self.device)
        self._done = 0
        file: StartedFile | None = None
        shot: ShotOnAir | None = None
        early: list[ShotLead] = []  # nobody so far
        waiting: list[SurveyedFrame] = []
        need = self.segment_frames(clip)
        with threads_for_tensors(1), Ahead(self._read(clip), need) as items:
            for item in items:
                if file is not None:
                    file.out.flush()
                if isinstance(item, SurveyedFrame):
                    waiting.append(item)
                else:
                    if waiting and file is not None and shot is not None:
                        self._segment(clip, file, shot, waiting)
                        waiting = []
                    early.append(item)
                    if file is None and item.person is None:
                        continue
                    file, shot = self._enter(clip, file, shot, early, dst)
                    waiting, early = item.frames, []
                while file is not None and shot is not None and len(waiting) >= need:
                    self._segment(clip, file, shot, waiting[:need])
                    waiting = waiting[need:]
            if file is None or shot is None:
                raise clip.surveys.nobody()
            if waiting:
                self._segment(clip, file, shot, waiting)
        file.close()
        return file

    def _read(self, clip: OpenedClip) -> Iterator[ShotLead | SurveyedFrame]:
        """All shots, each with its lead first."""
        people = clip.surveys.people
        for survey in clip.surveys:
            with closing(iter(survey)) as frames:
                lead = first_frames(frames, clip.info.fps)
                person = people.meet(survey.person) if survey.found and survey.person is not None else None
                aligned = bool(survey.aligned)
                bare = self.options.crop or aligned
                plate = None if bare else self.plate(survey.samples)
                yield ShotLead(lead, plate, person, aligned, clip.surveys.key_frames)
                yield from frames
            if person is not None:
                people.seen(person, survey.out)

    def _enter(
        self, clip: OpenedClip, file: StartedFile | None, before: ShotOnAir | None, leads: list[ShotLead], dst: BinaryIO
    ) -> tuple[StartedFile, ShotOnAir]:
        """Begin the last of some shots; those before it show nobody and are written whole."""
        lead = leads[-1]
        sets = []
        backdrops = []
        for each in leads:
            backdrop, given = self._backdrop(each.plate, lead.aligned)
            backdrops.append(backdrop)
            sets += [] if given is None else [given]
        if file is None:
            file = self.start(clip, dst, lead.aligned, lead.keys, sets)
        file.sets.update({given.number: given for given in sets})
        sent, tone = None, None
        if lead.person is not None:
            tone = reference(np.stack([s.tone for s in lead.frames if s.crop is not None]))
            sent = self._actor(clip, file, lead, tone)
        elif not file.header.placement and before is not None:
            sent = before.sent  # the square has to be somebody's: the last one stands still
        for each, backdrop in zip(leads[:-1], backdrops, strict=False):
            shot = ShotOnAir(None if file.header.placement else sent, backdrop, None)
            need = self.segment_frames(clip)
            for i in range(0, len(each.frames), need):
                self._segment(clip, file, shot, each.frames[i : i + need])
        return file, ShotOnAir(sent, backdrops[-1], tone)

    def _backdrop(self, plate: Plate | None, aligned: bool) -> tuple[Backdrop, Set | None]:
        """What stands behind a shot, and its set if that is new."""
        if plate is None or aligned:
            return Backdrop(), None
        number, new = self.places.meet(plate)
        return Backdrop(number, plate.empty), Set(self.still(plate), number) if new else None

    def _actor(self, clip: OpenedClip, file: StartedFile, lead: ShotLead, tone: np.ndarray) -> SentActor:
        """The actor of a shot, by what its lead shows.  tone: of the well-lit frames."""
        assert lead.person is not None
        faces = [s for s in lead.frames if s.crop is not None]
        light = np.array([gain(s.tone, tone) for s in faces])
        faces = [s for s, (g, _) in zip(faces, light, strict=True) if g > DARKEST] or faces
        light = np.array([gain(s.tone, tone) for s in faces])
        pictures = from_numpy(
            [relit(s.crop, g, o) for s, (g, o) in zip(faces, light, strict=True) if s.crop is not None]
        )
        conditions = Conditions(np.array([s.inside for s in faces]), light[:, 0], np.array([s.damaged for s in faces]))
        seconds = None if clip.info.duration is None else float(clip.info.duration)
        carrier = self.carrier_for(self._recognition.count)
        spending = self.spending(carrier, seconds, [s.placement for s in faces])
        own = Look(carrier, carrier.at_once(pictures, carrier.guess(pictures), conditions, spending))
        known = self._recognition.find(lead.person, pictures, own)
        if known is not None:
            return file.actors[known]
        return self.sent(file, self._recognition.add(lead.person, own), own.appearance)

    def _segment(self, clip: OpenedClip, file: StartedFile, shot: ShotOnAir, block: list[SurveyedFrame]) -> None:
        tracks = [] if shot.sent is None else [self._track(file, shot, shot.sent, block)]
        file.write([s.pts for s in block], tracks, shot.backdrop.number)
        self._done += len(block)
        self.stages.progress("encode", self._done, clip.info.frames_hint or 0)

    def _track(self, file: StartedFile, shot: ShotOnAir, sent: SentActor, block: list[SurveyedFrame]) -> Track:
        light = [(1.0, 0.0)] * len(block) if shot.tone is None else self.light([s.tone for s in block], shot.tone)
        crops = {i: s.crop for i, s in enumerate(block) if s.crop is not None and light[i][0] > DARKEST}
        rows = list(crops)
        motion = torch.zeros(len(block), file.header.params)
        if rows:
            pictures = from_numpy([relit(crop, *light[i]) for i, crop in crops.items()])
            carrier = self.carrier_for(sent.actor.number)
            start = sent.appearance.begin(carrier.guess(pictures))
            motion[rows] = sent.refined(pictures, start, shot.motion)
            shot.motion = motion[rows[-1]]
        held = np.ones(len(block), bool)
        held[rows] = False
        integers = sent.quantise(motion, held, shot.integers)
        shot.integers = integers[-1]
        places = file.places(shot.backdrop, [s.placement for s in block], [s.absent for s in block])
        return file.track(sent, integers, places, held)


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
