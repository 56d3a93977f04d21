"""The whole clip is looked at first, its aligned squares wait in temporary files (`medium` and
`slow`).

With a bitrate the file is written again and again to nowhere, until it has its size (`aim`).
"""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np
from torch import Tensor

from ...format.stage import Set
from ...format.video import VideoConfig
from ..face.background import Plate
from ..face.camera import settled
from ..face.portrait import Conditions
from ..face.survey import NOWHERE, SurveyedFrame
from ..fit.carrier import Appearance, Carrier, CarrierSettings, Spending
from ..fit.cropstore import CropStore
from ..fit.effort import FAST
from ..fit.stages import Stages
from ..media.audio import Sound
from ..threads.ahead import threads_for_tensors
from .aim import Aim
from .carriers import carrier_of
from .clip import ActorFrames, FaceTrack, SurveyedClip, SurveyedShot, fitted, send
from .encoding import Encoding
from .judging import Judging
from .recognition import Look, Recognition
from .started import Backdrop, OpenedClip, StartedFile

BATCH = 16  # frames that the carrier guesses at once
LOOKS = 32  # frames of a shot that tell what an actor looks like


class WholeClip(Encoding):
    """Survey, fit, then motion against what was quantised."""

    def work(self, clip: OpenedClip, dst: BinaryIO) -> StartedFile:
        with threads_for_tensors(self.carrier.tensor_threads):
            return self._work(clip, dst)

    def _work(self, clip: OpenedClip, dst: BinaryIO) -> StartedFile:
        seen, plates = self.stages.run("survey", lambda: self._read(clip))
        if not seen.actors:
            raise clip.surveys.nobody()
        readings = [self._read_by(self.carrier_for(n), actor.store) for n, actor in enumerate(seen.actors)]

        def fit(carrier: Carrier[Any], number: int, spending: Spending) -> Appearance:
            actor = seen.actors[number]
            return carrier.fit(actor.store, readings[number], actor.conditions(), spending)

        if self.options.bitrate is not None:
            return Aim(self, clip, seen, plates, self.options.bitrate).write(fit, dst)
        appearances = []
        for number, actor in enumerate(seen.actors):
            seconds = len(actor.shown) / float(clip.info.fps)
            carrier = self.carrier_for(number)
            appearances.append(fit(carrier, number, self.spending(carrier, seconds, actor.shown)))
        sets = [Set(self.still(plate), number, plate.place) for number, plate in enumerate(plates)]
        packets = clip.sound.until(None)

        def started(to: Any, video: VideoConfig | None = None) -> StartedFile:
            again = replace(clip, sound=Sound(clip.sound.config, packets))
            file = self.start(again, to, bool(clip.surveys.aligned), clip.surveys.key_frames, sets, video)
            for number, appearance in enumerate(appearances):
                self.sent(file, number, appearance)
            return file

        whole = io.BytesIO()
        file = started(whole)
        motion = self.stages.run("motion", lambda: list(fitted(seen, file, self.stages.progress)))
        send(seen, file, motion)
        if file.header.placement and self.carrier.gives_way:
            judging = Judging(self, seen, whole.getvalue(), file.out)
            videos, config = self.stages.run("judge", judging.videos)
            if config is not None:
                whole = io.BytesIO()
                file = started(whole, config)
                send(seen, file, motion, videos=videos)
        dst.write(whole.getvalue())
        return file

    @staticmethod
    def _read_by(carrier: Carrier[Any], store: CropStore) -> Any:
        """What a carrier's networks see in all squares."""
        parts = (range(i, min(i + BATCH, store.count)) for i in range(0, store.count, BATCH))
        return carrier.joined([carrier.guess(store.read(rows)) for rows in parts])

    def _read(self, clip: OpenedClip) -> tuple[SurveyedClip, list[Plate]]:
        """The clip shot by shot, and the backgrounds by the numbers of their sets."""
        out, plates = SurveyedClip(self.segment_frames(clip)), list[Plate]()
        self._squares = CropStore(self.model.size)
        self.stack.callback(self._squares.close)
        self._recognition = Recognition(self.model, self.device)
        with threads_for_tensors(1):
            for faces in clip.surveys:
                shot, followed = SurveyedShot(), dict[int, tuple[FaceTrack, ActorFrames]]()
                cameras: list[np.ndarray | None] = []
                out.shots.append(shot)
                for row in faces:
                    shot.pts.append(row[0].pts)
                    cameras.append(row[0].found)
                    for face, seen in row.items():
                        if face not in followed:
                            store = CropStore(self.model.size, self._squares)
                            followed[face] = FaceTrack(further=face > 0), ActorFrames(store)
                        _take(*followed[face], seen, len(shot.pts) - 1)
                    self.stages.progress("align", out.frames, clip.info.frames_hint or 0)
                moving = faces.first.samples.moving
                shot.camera = settled(cameras) if moving else [NOWHERE] * len(cameras)
                for face, person in clip.surveys.met(faces).items():
                    track, frames = followed[face]
                    track.fill(len(shot.pts))
                    self._cast(out, person, track, frames)
                    shot.tracks.append(track)
                shot.tracks.sort(key=lambda track: float(np.median([p[2] for p in track.placement])))
                if not (self.options.crop or faces.first.aligned):
                    plate = self.plate(faces.first.samples)
                    number, new = self.places.meet(plate)
                    shot.backdrop = Backdrop(number, plate.empty, plate.follows)
                    plates += [plate] if new else []
        if self.options.crop or clip.surveys.aligned:
            out.fill()
            return out, []
        return out, plates

    def _cast(self, clip: SurveyedClip, person: int, track: FaceTrack, faces: ActorFrames) -> None:
        """Give the faces of a shot to their actor, one that the clip has or a new one."""
        number = None
        known = self._recognition.actors_of(person)
        if known:
            for actor in known:
                if self._recognition.look(actor) is None:
                    self._recognition.give(actor, self._look(actor, clip.actors[actor].store))
            new = self._look(len(clip.actors), faces.store)
            number = self._recognition.find(person, _some(faces.store), new)
        if number is None:
            number = self._recognition.add(person)
            clip.actors.append(ActorFrames(CropStore(self.model.size, self._squares)))
        first = clip.actors[number].extend(faces)
        track.actor = number
        track.crop_row = [row + first if row >= 0 else -1 for row in track.crop_row]
        clip.actors[number].light(track, self.light)

    def _look(self, number: int, store: CropStore) -> Look:
        """What an actor looks like without a fit."""
        settings = CarrierSettings(FAST, self.options.pivot, self.device)
        carrier = carrier_of(self.model, settings, Stages(), self.known if number == 0 else None)
        pictures = _some(store)
        good, spending = Conditions.good(len(pictures)), Spending(self.options.fineness)
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
