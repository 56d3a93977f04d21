"""Shots that the actors of a clip cannot carry: which of them go as video, and what that costs."""

from __future__ import annotations

from ...format.errors import FevError
from ...format.video import Video, VideoConfig
from .clip import SurveyedClip
from .encoding import Encoding
from .outgoing import Outgoing
from .shotchoice import PIECE, Judged, judged, pieces_of

EMPTY_RATE = 8_000  # bit/s that a shot may take in which nobody is seen


class Judging:
    """Compares a clip that is written with its source.

    Args:
        encoding: of the clip.
        seen: what the survey left behind.
        data: the file.
        out: that wrote it.
    """

    def __init__(self, encoding: Encoding, seen: SurveyedClip, data: bytes, out: Outgoing):
        self.encoding, self.seen, self.data, self.out = encoding, seen, data, out

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
        fps = float(self.out.info.fps)
        pieces = pieces_of(lengths, shots, self._costs(lengths, fps), round(PIECE * fps))
        known = None if encoding.known is None else encoding.known.identity
        with encoding.reopen() as source:
            found = [
                each
                for each in judged(self.data, encoding.model, source, pieces, known, count)
                if each.video is not None
            ]
        if not found:
            return {}, None
        if encoding.options.actors_only:
            raise FevError(self._refusal(found[0]))
        frames = sum(sum(each.piece.lengths) for each in found)
        encoding.notices.add("video", frames)
        coded = [each.video.coded for each in found if each.video is not None]
        width, height = max(c.config.width for c in coded), max(c.config.height for c in coded)
        config = VideoConfig(width, height, coded[0].config.sequence)
        videos: dict[int, Video] = {}
        for each, shot in zip(found, coded, strict=True):
            videos.update(zip(each.piece.segments, shot.under(config), strict=True))
        return videos, config

    def _refusal(self, bad: Judged) -> str:
        assert bad.video is not None
        first = sum(
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
        """Bytes of each segment, with its part of the actors and of the set that it needs; where
        nobody is seen no less than EMPTY_RATE."""
        segments = list(self.seen.segments())
        frames: dict[object, int] = {}
        uses = []
        for (shot, _, tracks), length in zip(segments, lengths, strict=True):
            used: list[object] = [shot.backdrop.number, *((track.actor, 0) for track in tracks)]
            uses.append(used)
            for what in used:
                frames[what] = frames.get(what, 0) + length
        out = []
        for own, used, length, (_, _, tracks) in zip(self.out.costs, uses, lengths, segments, strict=True):
            shared = sum(self.out.chunks.get(what, 0) * length / frames[what] for what in used)  # type: ignore[call-overload]
            out.append(max(own + shared, 0 if tracks else EMPTY_RATE / 8 * length / fps))
        return out
