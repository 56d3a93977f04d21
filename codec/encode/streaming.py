"""One pass: who is there from the first seconds of each shot, then a segment as soon as it is
complete (`fast`).

Reading and following the face runs beside fitting the motion (`ahead`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from ...format.segment import Track
from ...format.stage import Set
from ..face.background import Plate, PlateSamples
from ..face.faces import Row
from ..face.light import DARKEST, contrast, gain, lit, reference, relit
from ..face.portrait import Conditions
from ..face.survey import NOWHERE, SurveyedFrame
from ..model.pictures import from_numpy
from ..threads.ahead import Ahead, threads_for_tensors
from .closer import Spot
from .encoding import Encoding
from .recognition import Look, Recognition
from .started import Backdrop, OpenedClip, SentActor, StartedFile

LEAD = 2.0  # seconds from the first face on in which the pivot is looked for
MOST_LEAD = 8.0  # ... where they show no face that is whole and lit
BEYOND = 0.1  # share of a segment's pictures that may lie beyond the set
SET_AGE = 3  # segments between trials of a larger set
SETTLED = 1.03  # how much a picture may gain in contrast within a quarter of the lead when a fade is over


@dataclass(frozen=True)
class SeenRow:
    """A frame of a shot.

    Args:
        faces: what each face is, by its number in the shot; the first is 0.
        persons: who they are, of those who are known by now.
        samples: of the background, so far; with the last frame of a segment.
    """

    faces: Row
    persons: dict[int, int]
    samples: PlateSamples | None = None

    @property
    def first(self) -> SurveyedFrame:
        return self.faces[0]


@dataclass(frozen=True)
class ShotLead:
    """The beginning of a shot: as many frames as tell what it shows; all of one that shows nobody.

    Args:
        plate: what stands behind the faces; None where the file is of the square alone.
        samples: of which it was made.
        aligned: the clip is the aligned square.
        keys: numbers of the frames that others are registered to, so far.
    """

    rows: list[SeenRow]
    plate: Plate | None
    samples: PlateSamples
    aligned: bool
    keys: list[int]

    @property
    def shows_somebody(self) -> bool:
        return bool(self.rows[-1].persons)


@dataclass
class FaceOnAir:
    """A face whose motion is being written.

    Args:
        tone: of the well-lit pictures; None where it is never seen and the square stands still.
        motion: (P,) unquantised parameters of the last frame with the face that was written.
        integers: (P,) of the last frame that was written.
    """

    sent: SentActor
    tone: np.ndarray | None
    motion: Tensor | None = None
    integers: np.ndarray | None = None


@dataclass
class ShotOnAir:
    """A shot whose segments are being written.

    Args:
        faces: by their numbers in the shot.
        backdrop: what stands behind.
        plate: as its lead has it; a larger one may take its place.
        samples: for that, so far.
        age: segments since a larger plate was thought of.
    """

    backdrop: Backdrop
    plate: Plate | None
    samples: PlateSamples
    faces: dict[int, FaceOnAir] = field(default_factory=dict)
    age: int = 0


class Streaming(Encoding):
    """Holds no more than a lead's frames, or a segment's."""

    def work(self, clip: OpenedClip, dst: BinaryIO) -> StartedFile:
        self._recognition = Recognition(self.model, self.device)
        self._done = 0
        file: StartedFile | None = None
        shot: ShotOnAir | None = None
        early: list[ShotLead] = []  # nobody so far
        waiting: list[SeenRow] = []
        need = self.segment_frames(clip)
        with threads_for_tensors(1), Ahead(self._read(clip), need) as items:
            for item in items:
                if file is not None:
                    file.out.flush()
                if isinstance(item, SeenRow):
                    waiting.append(item)
                else:
                    if waiting and file is not None and shot is not None:
                        self._segment(clip, file, shot, waiting)
                        waiting = []
                    early.append(item)
                    if file is None and not item.shows_somebody:
                        continue
                    file, shot = self._enter(clip, file, shot, early, dst)
                    waiting, early = item.rows, []
                while file is not None and shot is not None and len(waiting) >= need:
                    self._segment(clip, file, shot, waiting[:need])
                    waiting = waiting[need:]
            if file is None or shot is None:
                raise clip.surveys.nobody()
            if waiting:
                self._segment(clip, file, shot, waiting)
        file.close()
        return file

    def _read(self, clip: OpenedClip) -> Iterator[ShotLead | SeenRow]:
        """All shots, each with its lead first."""
        surveys, need = clip.surveys, self.segment_frames(clip)
        for faces in surveys:
            with closing(iter(faces)) as rows:
                lead = first_rows(rows, clip.info.fps)
                aligned, persons = bool(faces.first.aligned), surveys.met(faces)
                plate = None if self.options.crop or aligned else self.plate(faces.first.samples)
                seen, samples = [SeenRow(row, persons) for row in lead], faces.first.samples.so_far()
                yield ShotLead(seen, plate, samples, aligned, surveys.key_frames)
                for place, row in enumerate(rows, len(lead) + 1):
                    # what is read meanwhile must not count: a file would depend on who is faster
                    more = faces.first.samples.so_far() if place % need == 0 else None
                    yield SeenRow(row, surveys.met(faces) if persons else {}, more)

    def _enter(
        self, clip: OpenedClip, file: StartedFile | None, before: ShotOnAir | None, leads: list[ShotLead], dst: BinaryIO
    ) -> tuple[StartedFile, ShotOnAir]:
        """Begin the last of some shots; those before it show nobody and are written whole."""
        lead, sets, backdrops = leads[-1], list[Set](), list[Backdrop]()
        for each in leads:
            backdrop, given = self._backdrop(each.plate, lead.aligned)
            backdrops.append(backdrop)
            sets += [] if given is None else [given]
        if file is None:
            file = self.start(clip, dst, lead.aligned, lead.keys, sets)
        file.sets.update({given.number: given for given in sets})
        shot = ShotOnAir(backdrops[-1], lead.plate, lead.samples)
        self._cast(clip, file, shot, lead.rows)
        still = dict[int, FaceOnAir]()
        if not file.header.placement:  # the square has to be somebody's, who then stands still
            somebody = shot if shot.faces or before is None else before
            still = {0: FaceOnAir(somebody.faces[0].sent, None)}
            shot.faces = shot.faces or still
        need = self.segment_frames(clip)
        for each, backdrop in zip(leads[:-1], backdrops[:-1], strict=True):
            empty = ShotOnAir(backdrop, each.plate, each.samples, dict(still))
            for i in range(0, len(each.rows), need):
                self._segment(clip, file, empty, each.rows[i : i + need])
        return file, shot

    def _backdrop(self, plate: Plate | None, aligned: bool) -> tuple[Backdrop, Set | None]:
        """What stands behind a shot, and its set if that is new."""
        if plate is None or aligned:
            return Backdrop(), None
        number, new = self.places.meet(plate)
        backdrop = Backdrop(number, plate.empty, plate.follows)
        return backdrop, Set(self.still(plate), number, plate.place) if new else None

    def _grow(self, file: StartedFile, shot: ShotOnAir, cameras: list[np.ndarray]) -> None:
        """A larger set, where the camera of a segment goes beyond the one that there is.

        It costs what the first did: so not often, and only where it shows half of what is missing.
        """
        shot.age += 1
        if shot.plate is None or not shot.plate.follows or shot.age < SET_AGE or not np.any(cameras):
            return
        size = file.header.width, file.header.height
        inside = shot.plate.share_inside(cameras, size)
        if inside > 1 - BEYOND:
            return
        shot.age = 0
        larger = self.plate(shot.samples)
        if larger.follows and larger.share_inside(cameras, size) > (1 + inside) / 2:
            shot.plate = larger
            shot.backdrop, given = self._backdrop(larger, False)
            file.sets.update({} if given is None else {given.number: given})

    def _cast(self, clip: OpenedClip, file: StartedFile, shot: ShotOnAir, rows: list[SeenRow]) -> None:
        """Find the actors of the faces that are known by the end of some frames."""
        for face, person in rows[-1].persons.items():
            if face not in shot.faces:
                seen = [row.faces[face] for row in rows if face in row.faces and row.faces[face].crop is not None]
                if seen:
                    tone = reference(np.stack([s.tone for s in seen]))
                    taken = {on_air.sent.actor.number for on_air in shot.faces.values()}
                    shot.faces[face] = FaceOnAir(self._actor(clip, file, person, seen, tone, taken), tone)

    def _actor(
        self,
        clip: OpenedClip,
        file: StartedFile,
        person: int,
        faces: list[SurveyedFrame],
        tone: np.ndarray,
        taken: set[int],
    ) -> SentActor:
        """The actor of a face.

        Args:
            faces: frames that show it.
            tone: of the well-lit ones.
            taken: actors that are in the shot already.
        """
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
        known = self._recognition.find(person, pictures, own, taken)
        if known is not None:
            return file.actors[known]
        appearance = own.appearance
        closer = self.closer([Spot(s.pts, s.placement, (g, o)) for s, (g, o) in zip(faces, light, strict=True)])
        if closer is not None:  # who it is was told by the model's size
            conditions = replace(conditions, closer=closer)
            appearance = carrier.at_once(pictures, carrier.guess(pictures), conditions, spending)
        return self.sent(file, self._recognition.add(person, own), appearance)

    def _segment(self, clip: OpenedClip, file: StartedFile, shot: ShotOnAir, block: list[SeenRow]) -> None:
        if shot.faces and next(iter(shot.faces.values())).tone is not None:
            self._cast(clip, file, shot, block)
        tracks = []
        for face, on_air in shot.faces.items():
            seen = [row.faces.get(face) for row in block]
            if face == 0 or any(s is not None and s.crop is not None for s in seen):
                tracks.append((face, on_air, seen))
        tracks.sort(key=lambda track: _size(track[2]))  # the larger a face, the nearer it is
        written = [self._track(file, shot, *track) for track in tracks]
        cameras = [row.first.camera for row in block]
        shot.samples = block[-1].samples or shot.samples
        self._grow(file, shot, cameras)
        file.write([row.first.pts for row in block], written, shot.backdrop, cameras)
        self._done += len(block)
        self.stages.progress("encode", self._done, clip.info.frames_hint or 0)

    def _track(
        self, file: StartedFile, shot: ShotOnAir, face: int, on_air: FaceOnAir, seen: list[SurveyedFrame | None]
    ) -> Track:
        sent, tones = on_air.sent, [s.tone for s in seen if s is not None]
        lights = iter([(1.0, 0.0)] * len(tones) if on_air.tone is None else self.light(tones, on_air.tone))
        light = [(1.0, 0.0) if s is None else next(lights) for s in seen]
        crops = {
            i: s.crop for i, s in enumerate(seen) if s is not None and s.crop is not None and light[i][0] > DARKEST
        }
        rows = list(crops)
        motion = torch.zeros(len(seen), file.header.params)
        if rows:
            pictures = from_numpy([relit(crop, *light[i]) for i, crop in crops.items()])
            start = sent.appearance.begin(self.carrier_for(sent.actor.number).guess(pictures))
            motion[rows] = sent.refined(pictures, start, on_air.motion)
            on_air.motion = motion[rows[-1]]
        held = np.ones(len(seen), bool)
        held[rows] = False
        integers = sent.quantise(motion, held, on_air.integers)
        on_air.integers = integers[-1]
        places = file.places(face > 0 or shot.backdrop.empty, *_places(seen))
        return file.track(sent, integers, places, held)


def _places(seen: list[SurveyedFrame | None]) -> tuple[list[np.ndarray], list[bool]]:
    """Placements of a face, and where nobody is there."""
    last = next((s.placement for s in seen if s is not None), NOWHERE)
    placements = []
    for s in seen:
        last = last if s is None else s.placement
        placements.append(last)
    return placements, [s is None or s.absent for s in seen]


def _size(seen: list[SurveyedFrame | None]) -> float:
    """Half side of a face's square."""
    return float(np.median([s.placement[2] for s in seen if s is not None]))


def first_rows(rows: Iterator[Row], fps: Fraction) -> list[Row]:
    """As many of the first frames as tell what the person and the place look like."""
    lead: list[Row] = []
    for row in rows:
        lead.append(row)
        if _enough([each[0] for each in lead], float(fps)):
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
