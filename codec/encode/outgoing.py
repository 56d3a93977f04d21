"""The segments of a clip on their way into a file, each with the sound of its time and behind what
it needs.  The encoder hands them over."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from ...format.actor import Actor, ActorKey
from ...format.container import Writer
from ...format.segment import Segment, Track
from ...format.stage import Set
from ...format.video import Video, VideoConfig
from ..media.audio import Sound
from ..media.videoinfo import VideoInfo


@dataclass(frozen=True)
class _Pending:
    segment: Segment
    actors: Sequence[Actor]
    on_set: Set | None


class Outgoing:
    """Attributes:
    sound: of the segments to come.
    video: what the video of segments is, once there is any.
    end: where the last segment ends, in seconds on the clock of the pts.
    last_actor: the highest number of an actor that was handed over, -1 for none.
    costs: bytes of each segment that was written, without its sound.
    chunks: bytes of each actor and each set, by key and by number.
    """

    def __init__(self, writer: Writer, sound: Sound, info: VideoInfo, video: VideoConfig | None = None):
        self.writer, self.sound, self.info, self.video = writer, sound, info, video
        self.end = Fraction(0)
        self.last_actor = -1
        self.costs: list[int] = []
        self.chunks: dict[ActorKey | int, int] = {}
        self._pending: _Pending | None = None
        self._frames = self._segments = 0
        self._places: dict[int, np.ndarray] = {}  # the last placement of each actor in the last segment

    def has_sent(self, key: ActorKey) -> bool:
        """Whether a revision of an actor is in the file."""
        return key in self.chunks

    def fork(self, writer: Writer, sound: Sound) -> Outgoing:
        """Goes on from here into another writer; no segment may wait."""
        assert self._pending is None
        other = copy.copy(self)
        other.writer, other.sound = writer, sound
        other.costs, other.chunks, other._places = list(self.costs), dict(self.chunks), dict(self._places)
        return other

    def write(
        self,
        pts: list[int],
        tracks: list[Track],
        on_set: int | None,
        needed: Sequence[Actor],
        given: Set | None,
        camera: np.ndarray | None = None,
        video: Video | None = None,
    ) -> None:
        """Hand over a segment.

        It is written when the next frame is there; the last takes the sound that is left.

        Args:
            pts: of its frames.
            tracks: its actors; held are frames in which the motion stands still, and those whose
                placement differs from the one before are coded.
            on_set: number of the set.
            needed: the actors, by their numbers.
            given: the set, None where there is none.
            camera: (n, 4) integers, None = it rests.
            video: beneath the actors, without a set.
        """
        self.flush()
        self.end = end_of(pts[-1], self.info)
        tracks = [self._standing(track) for track in tracks]
        self._places = {track.actor: track.placement[-1:] for track in tracks if track.placement is not None}
        times = np.array(pts, np.int64)
        segment = Segment(self._segments, self._frames, times, tracks, [], on_set, camera, video=video)
        self._pending = _Pending(segment, needed, given)
        self.last_actor = max([self.last_actor, *(actor.number for actor in needed)])
        self._frames += len(pts)
        self._segments += 1

    def _standing(self, track: Track) -> Track:
        """A track whose held frames stand where the one before did."""
        places, held = track.placement, track.held
        if places is None or held is None:
            return track
        before = self._places.get(track.actor, places[:1])
        return replace(track, held=held & (np.diff(places, axis=0, prepend=before) == 0).all(1))

    def flush(self, last: bool = False) -> None:
        if self._pending is not None:
            pending, self._pending = self._pending, None
            given, alive = pending.on_set, self.writer.alive
            if given is not None and given.number not in alive.sets:
                begin = self.writer.bytes_written
                self.writer.write_set(given)
                self.chunks[given.number] = self.writer.bytes_written - begin
            for actor in pending.actors:
                if alive.actor(actor.key) is None:
                    begin = self.writer.bytes_written
                    self.writer.write_actor(actor)
                    self.chunks[actor.key] = self.writer.bytes_written - begin
            if pending.segment.video is not None and alive.video is None:
                assert self.video is not None
                self.writer.write_video(self.video)
            segment = replace(pending.segment, audio=self.sound.until(None if last else self.end))
            sound = sum(len(packet.data) for packet in segment.audio)
            self.costs.append(self.writer.write_segment(segment) - sound)

    def close(self) -> None:
        self.flush(last=True)
        self.writer.close()


def end_of(pts: int, info: VideoInfo) -> Fraction:
    """Seconds where a frame ends, on the clock of the pts."""
    return (pts + max(1, round(1 / (info.fps * info.time_base)))) * info.time_base


class Ready:
    """Where a chapter is written; when it is whole it is handed on, so that what is refused leaves
    nothing behind."""

    def __init__(self, dst: Any):
        self._dst, self._parts = dst, list[bytes]()

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def hand_on(self) -> None:
        parts, self._parts = self._parts, []
        self._dst.write(b"".join(parts))


class Nowhere:
    """Where a file is written that is only measured."""

    def write(self, data: bytes) -> int:
        return len(data)
