"""Shots that the actors of a clip cannot carry: which of them go as video, and what that costs."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ...format.errors import FevError
from ...format.header import Header
from ...format.video import Video, VideoConfig
from ..media.frame import Frame
from ..media.videoencoder import coded_size
from .clip import QuantisedSegment, SurveyedClip
from .encoding import Encoding
from .outgoing import Outgoing
from .shotchoice import LARGER, PIECE, Judged, judged, pieces_of
from .started import OpenedClip, StartedFile

EMPTY_RATE = 8_000  # bit/s that a shot may take in which nobody is seen


@dataclass(frozen=True)
class Trial:
    """A chapter as a file of its own, which begins with what it needs.

    Args:
        data: the file.
        out: that wrote it.
        header: of the file.
        brought: bytes that the chapter brings, of actors by number and 0, and of sets by number.
    """

    data: bytes
    out: Outgoing
    header: Header
    brought: dict[tuple[int, int] | int, int]

    @classmethod
    def of(cls, clip: OpenedClip, encoding: Encoding, file: StartedFile, segments: list[QuantisedSegment]) -> Trial:
        """Write it.

        Args:
            clip: with the sound of the chapter.
            file: that the chapter will stand in, up to it.
            segments: of the chapter.
        """
        cast = sorted({track.actor for segment in segments for track in segment.tracks})
        actors = {number: place for place, number in enumerate(cast)}
        used = list(dict.fromkeys(segment.backdrop.number for segment in segments))
        sets = {number: place for place, number in enumerate(n for n in used if n in file.sets)}
        stills = [replace(file.sets[number], number=place) for number, place in sets.items()]
        data = io.BytesIO()
        surveys = clip.surveys
        trial = encoding.start(clip, data, bool(surveys.aligned), surveys.key_frames, stills)
        for number, place in actors.items():
            sent = file.actors[number]
            trial.actors[place] = replace(sent, actor=replace(sent.actor, number=place, revision=0))
        for segment in segments:
            tracks = [replace(track, actor=actors[track.actor], revision=0) for track in segment.tracks]
            backdrop = replace(segment.backdrop, number=sets.get(segment.backdrop.number, 0))
            trial.write(segment.pts, tracks, backdrop, segment.cameras)
        trial.close()
        alive, chunks = file.writer.alive, trial.out.chunks
        brought: dict[tuple[int, int] | int, int] = {}
        for number, place in actors.items():
            actor = file.actors[number].actor
            before = alive.actor((number, actor.revision - 1))
            kept = 0 if before is None else sum(len(d) for p, d in before.parts.items() if actor.parts.get(p) == d)
            brought[number, 0] = 0 if alive.actor(actor.key) is not None else chunks.get((place, 0), 0) - kept
        for number, place in sets.items():
            brought[number] = 0 if number in alive.sets else chunks.get(place, 0)
        return cls(data.getvalue(), trial.out, trial.header, brought)


class Judging:
    """Compares a chapter that is written with its source.

    Args:
        encoding: of the clip.
        seen: what the survey left behind.
        trial: the chapter as a file of its own.
        source: the frames of the clip, from the chapter on; those of the chapter are taken.
        config: what the video of the chapters before is; None where there is none.
    """

    def __init__(
        self,
        encoding: Encoding,
        seen: SurveyedClip,
        trial: Trial,
        source: Iterator[Frame],
        config: VideoConfig | None = None,
    ):
        self.encoding, self.seen, self.trial = encoding, seen, trial
        self.source, self.config = source, config

    def videos(self) -> tuple[dict[int, Video], VideoConfig | None]:
        """The video of each segment, by its number, that is nearer to the source than what the
        actors draw, and what VIDH says of all; None where there is none.

        Raises:
            FevError: there are such segments, and actors only are wanted.
        """
        encoding, count = self.encoding, self.encoding.stages.counter("judge", self.seen.frames)
        lengths = [part.stop - part.start for _, part, _ in self.seen.segments()]
        numbers = {id(shot): number for number, shot in enumerate(self.seen.shots)}
        shots = [numbers[id(shot)] for shot, _, _ in self.seen.segments()]
        fps = float(self.trial.out.info.fps)
        pieces = pieces_of(lengths, shots, self._costs(lengths, fps), round(PIECE * fps))
        known = None if encoding.known is None else encoding.known.identity
        found = [
            each
            for each in judged(self.trial.data, encoding.model, self.source, pieces, known, count)
            if each.video is not None
        ]
        if not found:
            return {}, self.config
        if encoding.options.actors_only:
            raise FevError(self._refusal(found[0]))
        frames = sum(sum(each.piece.lengths) for each in found)
        encoding.notices.add("video", frames)
        coded = [each.video.coded for each in found if each.video is not None]
        config = self.config
        if config is None:
            width, height = max(c.config.width for c in coded), max(c.config.height for c in coded)
            if not self.seen.last:  # those of later chapters are no larger
                header = self.trial.header
                width, height = coded_size(header.width, header.height, LARGER)
            config = VideoConfig(width, height, coded[0].config.sequence)
        videos: dict[int, Video] = {}
        for each, shot in zip(found, coded, strict=True):
            videos.update(zip(each.piece.segments, shot.under(config), strict=True))
        return videos, config

    def _refusal(self, bad: Judged) -> str:
        assert bad.video is not None
        first = self.seen.first_frame + sum(
            part.stop - part.start
            for number, (_, part, _) in enumerate(self.seen.segments())
            if number < bad.piece.segments.start
        )
        end = first + sum(bad.piece.lengths)
        return (
            f"frames {first} to {end - 1}: the actors reach {bad.drawn.psnr:.1f} dB, video of the same bytes "
            f"{bad.video.likeness.psnr:.1f}; without --actors-only they are sent as video"
        )

    def _costs(self, lengths: list[int], fps: float) -> list[float]:
        """Bytes of each segment, with its part of what the chapter brings: the actors and the set
        that it needs; where nobody is seen no less than EMPTY_RATE."""
        segments = list(self.seen.segments())
        frames: dict[object, int] = {}
        uses = []
        for (shot, _, tracks), length in zip(segments, lengths, strict=True):
            used: list[object] = [shot.backdrop.number, *((track.actor, 0) for track in tracks)]
            uses.append(used)
            for what in used:
                frames[what] = frames.get(what, 0) + length
        out = []
        for own, used, length, (_, _, tracks) in zip(self.trial.out.costs, uses, lengths, segments, strict=True):
            shared = sum(self.trial.brought.get(what, 0) * length / frames[what] for what in used)  # type: ignore[call-overload]
            out.append(max(own + shared, 0 if tracks else EMPTY_RATE / 8 * length / fps))
        return out
