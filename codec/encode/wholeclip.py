"""All of a chapter is looked at first, its aligned squares wait in a temporary file (`medium` and
`slow`).  A short clip is one chapter.

    survey (`chapters`) -> fit, or the appearance of the chapter before -> motion -> judge -> segments

With a bitrate each chapter is written again and again to nowhere, until the file has its size up to
there (`aim`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, BinaryIO

from ...format.remeta import with_meta
from ...format.stage import Set
from ...format.video import Video
from ..fit.carrier import Appearance, Carrier, Spending
from ..fit.cropstore import CropStore
from ..media.audio import Sound
from ..media.frame import Frame
from ..media.outfile import scratch_file
from ..threads.ahead import threads_for_tensors
from .aim import Aim, Cast
from .chapters import ChapterReader
from .clip import FramesBefore, QuantisedSegment, SegmentMotion, SurveyedClip, fitted, quantised, send
from .encoding import Encoding
from .judging import Judging, Trial
from .outgoing import Ready
from .started import OpenedClip, SentActor, StartedFile

BATCH = 16  # frames that the carrier guesses at once


class WholeClip(Encoding):
    """Survey, fit, then motion against what was quantised, chapter by chapter."""

    def work(self, clip: OpenedClip, dst: BinaryIO) -> StartedFile:
        self._reader = ChapterReader(self, clip)
        self.stack.callback(self._reader.close)
        self._before = FramesBefore()
        self._share: float | None = None  # of the bytes for the identities, at a bitrate
        self._source: Iterator[Frame] | None = None  # the clip once more, for the judge
        # What the metadata says of the whole clip is known in the end.
        late = self.options.keep_notices or self.carrier.registration() is not None
        to: Any = self.stack.enter_context(scratch_file()) if late else dst
        with threads_for_tensors(self.carrier.tensor_threads):
            file = self._work(clip, to)
        if late:
            to.seek(0)
            self.bytes = with_meta(to, dst, self._meta(clip.surveys.key_frames))
        return file

    def _work(self, clip: OpenedClip, dst: Any) -> StartedFile:
        file: StartedFile | None = None
        ready, chapters = Ready(dst), iter(self._reader)
        while (seen := self.stages.run("survey", lambda: _next(chapters))) is not None:
            packets = clip.sound.until(None if seen.last else seen.end_time(clip.info))
            with_sound = replace(clip, sound=Sound(clip.sound.config, packets))
            file = self._chapter(with_sound, seen, file, ready)
            ready.hand_on()
            self.chapters = self._reader.ends.done + 1
        assert file is not None
        return file

    def _chapter(self, clip: OpenedClip, seen: SurveyedClip, file: StartedFile | None, dst: Ready) -> StartedFile:
        """Fit and write a chapter.  file: what is written so far; None for the first chapter."""
        readings = {n: self._read_by(self.carrier_for(n), seen.actors[n].store) for n in seen.seen}
        known = {} if file is None else dict(file.actors)

        def fit(carrier: Carrier[Any], number: int, spending: Spending) -> Appearance:
            actor, before = seen.actors[number], known.get(number)
            given = actor.store, readings[number], actor.conditions(self.closer(actor.spots)), spending
            return carrier.fit(*given) if before is None else carrier.go_on(before.appearance, *given)

        packets = clip.sound.until(None)
        clip = replace(clip, sound=Sound(clip.sound.config, packets))
        motion: list[SegmentMotion] | None = None
        price = 1.0
        if self.options.bitrate is not None:
            aim = Aim(self, clip, seen, file, self._before, self.options.bitrate, self._share)
            found = aim.priced(fit)
            self._share, cast, sets, motion, price = aim.share, found.cast, aim.sets, found.motion, found.price
        else:
            cast = {
                number: fit(self.carrier_for(number), number, self._spending(seen, number, known.get(number), clip))
                for number in seen.seen
            }
            sets = [Set(self.still(plate), number, plate.place) for number, plate in seen.plates.items()]
        seen.plates = {}  # pictures; they are coded now
        self.bounds += [found.worst for found in cast.values() if found.worst is not None]
        sound = Sound(clip.sound.config, packets)
        if file is None:
            surveys = clip.surveys
            clip = replace(clip, sound=sound)
            file = self.start(clip, dst, bool(surveys.aligned), surveys.key_frames, sets)
        else:
            file.out.sound = sound
            file.sets.update({given.number: given for given in sets})
        self._join(file, cast)
        if motion is None:
            hint = clip.info.frames_hint
            work = fitted(seen, file, self._before.motion, self.stages.progress, hint)
            motion = self.stages.run("motion", lambda: list(work))
        segments = list(quantised(seen, file, motion, self._before.integers, price))
        videos: dict[int, Video] = {}
        if file.header.placement and self.carrier.gives_way and self.options.bitrate is None:
            trial_clip = replace(clip, sound=Sound(clip.sound.config, packets))
            videos = self.stages.run("judge", lambda: self._judged(trial_clip, seen, file, segments))
        send(file, segments, seen.last, videos)
        for number, sent in known.items():
            if not file.out.has_sent(file.actors[number].actor.key):
                file.actors[number] = sent  # no segment shows the revision
                self._before.forget(number)
        return file

    def _join(self, file: StartedFile, cast: Cast) -> None:
        """The actors of a chapter as they are from here on."""
        for number, appearance in cast.items():
            before = file.actors.get(number)
            if self.sent(file, number, appearance).actor is not (before and before.actor):
                self._before.forget(number)

    def _spending(self, seen: SurveyedClip, number: int, before: SentActor | None, clip: OpenedClip) -> Spending:
        """What an actor may cost in a chapter; one that is too dark in all of it costs nothing more."""
        shown = seen.actors[number].shown
        if before is not None and not shown:
            return Spending(self.options.fineness, 0)
        seconds = len(shown) / float(clip.info.fps)
        return self.spending(self.carrier_for(number), seconds, shown, before, self._reader.ends.left)

    def _judged(
        self, clip: OpenedClip, seen: SurveyedClip, file: StartedFile, segments: list[QuantisedSegment]
    ) -> dict[int, Video]:
        """The video of the segments, by number in the chapter, to which video comes nearer."""
        if self._source is None:
            self._source = iter(self.stack.enter_context(self.reopen()))
        trial = Trial.of(clip, self, file, segments)
        videos, file.out.video = Judging(self, seen, trial, self._source, file.out.video).videos()
        return videos

    @staticmethod
    def _read_by(carrier: Carrier[Any], store: CropStore) -> Any:
        """What a carrier's networks see in all squares."""
        parts = (range(i, min(i + BATCH, store.count)) for i in range(0, store.count, BATCH))
        return carrier.joined([carrier.guess(store.read(rows)) for rows in parts])


def _next(chapters: Iterator[SurveyedClip]) -> SurveyedClip | None:
    """The next chapter; its surveys compute on one thread."""
    with threads_for_tensors(1):
        return next(chapters, None)
