"""A clip that is surveyed chapter by chapter, so that disk and memory do not grow with it.

A chapter is what is fitted and written at once.  It ends at a cut where one is near; else within a
shot, at the end of a segment.  The surveys go on from chapter to chapter: only what they leave
behind is thrown away.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from ..face.background import Plate
from ..face.camera import settled
from ..face.faces import ShotFaces
from ..face.portrait import Conditions
from ..face.survey import NOWHERE, SurveyedFrame
from ..fit.carrier import CarrierSettings, Spending
from ..fit.cropstore import CropStore
from ..fit.effort import FAST
from ..fit.stages import Stages
from .carriers import carrier_of
from .clip import ActorFrames, FaceTrack, SurveyedClip, SurveyedShot
from .encoding import Encoding
from .recognition import Look, Recognition
from .started import Backdrop, OpenedClip

LOOKS = 32  # frames of a shot that tell what an actor looks like
NEAR = 0.25  # of a chapter: how far a cut may lie from where it would end
BEYOND = 0.1  # share of a chapter's pictures that may lie beyond the set of the shot's beginning


class ChapterEnds:
    """Where chapters end: they are alike, so that the last one is not a rest.

    Args:
        length: frames of a chapter, about.
        expected: frames of the clip, None if nobody knows; it need not be true.
    """

    def __init__(self, length: int, expected: int | None):
        self.count = None if expected is None else max(1, round(expected / length))
        self.length = length if expected is None or self.count is None else expected / self.count
        self.done = 0  # chapters
        self._goal = self.length if self.count != 1 else max(self.length, 1.5 * length) + length

    @property
    def left(self) -> int:
        """Chapters that are not done, as far as that is known; the one at hand is one of them."""
        return 1 if self.count is None else max(1, self.count - self.done)

    def is_due(self, frame: int, cut: bool) -> bool:
        """Whether the chapter at hand may end before a frame of the clip.  cut: the frame begins a
        shot."""
        return frame >= self._goal + (-NEAR if cut else NEAR) * self.length

    def end(self, frame: int) -> None:
        """The chapter at hand ends before a frame."""
        self.done += 1
        if self.count is None:
            self._goal = frame + self.length
        elif self.done < self.count - 1:
            self._goal = (self.done + 1) * self.length
        else:  # the last one, unless the clip is longer than it said
            self._goal = frame + 3 * self.length


@dataclass
class _Following:
    """A shot that is followed, from chapter to chapter.

    Args:
        actors: by the numbers of its faces, of those who are known.
        plate, backdrop: what stands behind, once a chapter has told.
        camera: the last row that was found.
    """

    faces: ShotFaces
    actors: dict[int, int] = field(default_factory=dict)
    plate: Plate | None = None
    backdrop: Backdrop = field(default_factory=Backdrop)
    camera: np.ndarray | None = None


@dataclass
class _Part:
    """What a chapter has of a shot, so far.

    Args:
        followed: by the numbers of the faces.
        cameras: as they were found.
    """

    shot: SurveyedShot
    followed: dict[int, tuple[FaceTrack, ActorFrames]] = field(default_factory=dict)
    cameras: list[np.ndarray | None] = field(default_factory=list)

    @property
    def squares(self) -> int:
        """Of the first face."""
        return self.followed[0][1].store.count if self.followed else 0


class ChapterReader:
    """Iterate for the chapters of a clip; what one holds is gone when the next is asked for.

    Args:
        encoding: of the clip.
        clip: that is read.

    Attributes:
        ends: of the chapters.
    """

    def __init__(self, encoding: Encoding, clip: OpenedClip):
        self.encoding, self.clip = encoding, clip
        length = max(1, round(encoding.effort.chapter * float(clip.info.fps)))
        self.ends = ChapterEnds(length, clip.info.frames_hint)
        self.recognition = Recognition(encoding.model, encoding.device)
        self._squares = CropStore(encoding.model.size)
        self._somebody = 0  # the actor of the last shot that shows one
        self._chapter = SurveyedClip(encoding.segment_frames(clip))

    def close(self) -> None:
        """Throw away the squares."""
        self._squares.close()

    def __iter__(self) -> Iterator[SurveyedClip]:
        chapter, need = self._chapter, self._chapter.segment_frames
        for faces in self.clip.surveys:
            if self._is_due(chapter, True):
                yield self._ended(chapter)
                chapter = self._next(chapter)
            shot, part = _Following(faces), self._part(chapter)
            for row in faces:
                if part.shot.pts and len(part.shot.pts) % need == 0 and self._is_due(chapter, False, part.squares):
                    self._finish(chapter, shot, part)
                    yield self._ended(chapter)
                    chapter = self._next(chapter)
                    part = self._part(chapter, goes_on=True)
                part.shot.pts.append(row[0].pts)
                part.cameras.append(row[0].found)
                for face, seen in row.items():
                    if face not in part.followed:
                        frames = ActorFrames(CropStore(self.encoding.model.size, self._squares))
                        part.followed[face] = FaceTrack(further=face > 0), frames
                    _take(*part.followed[face], seen, len(part.shot.pts) - 1)
                self.encoding.stages.progress("align", chapter.end, self.clip.info.frames_hint or 0)
            self._finish(chapter, shot, part)
        if not self.recognition.count:
            raise self.clip.surveys.nobody()
        chapter.last = True
        yield self._ended(chapter)

    def _is_due(self, chapter: SurveyedClip, cut: bool, squares: int = 0) -> bool:
        """Whether a chapter is to end here.  One goes on until somebody was seen: a file begins with
        somebody, and frames without a face have no squares.

        Args:
            cut: a shot begins here.
            squares: of the first face in the shot at hand.
        """
        somebody = self.recognition.count or squares
        return bool(somebody) and chapter.frames > 0 and self.ends.is_due(chapter.end, cut)

    def _next(self, before: SurveyedClip) -> SurveyedClip:
        self.ends.end(before.end)
        self._squares.close()
        self._squares = CropStore(self.encoding.model.size)
        actors = [ActorFrames(CropStore(self.encoding.model.size, self._squares)) for _ in before.actors]
        return SurveyedClip(before.segment_frames, first_frame=before.end, actors=actors)

    @staticmethod
    def _part(chapter: SurveyedClip, goes_on: bool = False) -> _Part:
        chapter.shots.append(SurveyedShot(goes_on=goes_on))
        return _Part(chapter.shots[-1])

    def _finish(self, chapter: SurveyedClip, shot: _Following, part: _Part) -> None:
        """A chapter has no more of a shot."""
        out, first, count = part.shot, shot.faces.first, len(part.shot.pts)
        known = [shot.camera, *part.cameras] if out.goes_on else part.cameras
        out.camera = settled(known)[-count:] if first.samples.moving else [NOWHERE] * count
        shot.camera = next((row for row in reversed(known) if row is not None), None)
        for face, person in self.clip.surveys.met(shot.faces).items():
            if face in part.followed:
                track, frames = part.followed[face]
                if not frames.store.count and face not in shot.actors:
                    continue  # it comes with the next chapter
                track.fill(count)
                self._cast(chapter, shot, face, person, track, frames)
                out.tracks.append(track)
        out.tracks.sort(key=lambda track: float(np.median([p[2] for p in track.placement])))
        if not (self.encoding.options.crop or first.aligned):
            self._stand(chapter, shot, out)

    def _stand(self, chapter: SurveyedClip, shot: _Following, part: SurveyedShot) -> None:
        """What stands behind the faces: in a shot that goes on what stood there before, unless its
        camera has gone beyond, or everybody has left and the place is seen."""
        encoding, samples = self.encoding, shot.faces.first.samples
        if part.goes_on and shot.plate is not None:
            info = self.clip.info
            inside = shot.plate.share_inside(part.camera, (info.width, info.height)) if np.any(part.camera) else 1.0
            if inside >= 1 - BEYOND and (shot.plate.empty or not samples.empty):
                part.backdrop = shot.backdrop
                return
        shot.plate = encoding.plate(samples)
        number, new = encoding.places.meet(shot.plate)
        part.backdrop = shot.backdrop = Backdrop(number, shot.plate.empty, shot.plate.follows)
        if new:
            chapter.plates[number] = shot.plate

    def _ended(self, chapter: SurveyedClip) -> SurveyedClip:
        """What the fit gets."""
        if self.encoding.options.crop or self.clip.surveys.aligned:
            self._somebody = chapter.fill(self._somebody)
            chapter.plates = {}
        if not chapter.last:
            for number, actor in enumerate(chapter.actors):
                if self.recognition.look(number) is None:
                    self.recognition.give(number, self._look(number, actor.store))
        return chapter

    def _cast(
        self, clip: SurveyedClip, shot: _Following, face: int, person: int, track: FaceTrack, frames: ActorFrames
    ) -> None:
        """Give the faces of a shot to their actor, one that the clip has or a new one."""
        number = shot.actors.get(face)
        if number is None:
            number = self._recognised(clip, person, frames)
        if number is None:
            number = self.recognition.add(person)
            clip.actors.append(ActorFrames(CropStore(self.encoding.model.size, self._squares)))
        shot.actors[face] = track.actor = number
        first = clip.actors[number].extend(frames)
        track.crop_row = [row + first if row >= 0 else -1 for row in track.crop_row]
        clip.actors[number].light(track, self.encoding.light)

    def _recognised(self, clip: SurveyedClip, person: int, frames: ActorFrames) -> int | None:
        known = self.recognition.actors_of(person)
        if not known or not frames.store.count:
            return None
        for actor in known:
            if self.recognition.look(actor) is None:
                self.recognition.give(actor, self._look(actor, clip.actors[actor].store))
        new = self._look(len(clip.actors), frames.store)
        return self.recognition.find(person, _some(frames.store), new)

    def _look(self, number: int, store: CropStore) -> Look:
        """What an actor looks like without a fit."""
        encoding = self.encoding
        settings = CarrierSettings(FAST, encoding.options.pivot, encoding.device)
        carrier = carrier_of(encoding.model, settings, Stages(), encoding.known if number == 0 else None)
        pictures = _some(store)
        good, spending = Conditions.good(len(pictures)), Spending(encoding.options.fineness)
        return Look(carrier, carrier.at_once(pictures, carrier.guess(pictures), good, spending))


def _take(track: FaceTrack, frames: ActorFrames, seen: SurveyedFrame, at: int) -> None:
    """A face in one more frame.  at: of the shot; between the last one and this nobody is there."""
    track.fill(at, seen.placement)
    track.placement.append(seen.placement)
    track.absent.append(seen.absent)
    track.crop_row.append(-1 if seen.crop is None else frames.take(seen))


def _some(store: CropStore) -> Tensor:
    """A few squares over all."""
    return store.read(np.unique(np.linspace(0, store.count - 1, LOOKS).round().astype(int)))
