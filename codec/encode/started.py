"""A file that has begun: what its segments are drawn, quantised and written with."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import Tensor

from ...format.actor import Actor
from ...format.container import Writer
from ...format.excerpt import Excerpt
from ...format.header import Header
from ...format.segment import Track
from ...format.stage import Set
from ...format.video import Video
from ..draw.render import Renderer
from ..face.absence import alone, plain
from ..fit.carrier import Appearance
from ..fit.paths import camera_path, placement_path
from ..fit.quantiser import Quantiser
from ..media.audio import Sound
from ..media.videoinfo import VideoInfo
from .outgoing import Outgoing
from .surveys import Surveys


@dataclass(frozen=True)
class OpenedClip:
    """A clip that is being read.

    Args:
        info: what its container says.
        sound: its packets, or none.
        surveys: its frames after alignment, shot by shot.
    """

    info: VideoInfo
    sound: Sound
    surveys: Surveys


@dataclass(frozen=True)
class Backdrop:
    """What stands behind the faces of a shot.

    Args:
        number: of the set.
        empty: it was seen without anybody before it.
        follows: it moves with the camera.
    """

    number: int = 0
    empty: bool = False
    follows: bool = False


@dataclass(frozen=True)
class SentActor:
    """An actor as the file has it.

    Args:
        actor: its chunk.
        appearance: who it is.
        renderer: draws it.
        quantise: makes integers of its parameters.
        excerpt: the identity alone, for other files to refer to: that of the first revision, since
            a reader that looks for an identity need not look behind the first segment of a stream.
        brought: bytes of the parts that its revisions brought so far.
    """

    actor: Actor
    appearance: Appearance
    renderer: Renderer
    quantise: Quantiser
    excerpt: Excerpt
    brought: int = 0

    def refined(self, pictures: Tensor, start: Tensor, before: Tensor | None) -> Tensor:
        """Parameters (N, P) of a block of frames (N, 3, S, S), not quantised; see
        `carrier.Refiner`."""
        return self.appearance.refine(self.renderer, pictures, start, before)


@dataclass(frozen=True)
class StartedFile:
    """The header is written; segments follow, each behind the actors and the set that it needs and
    the receiver does not have.

    Args:
        header: as the encoder made it.
        writer: of the file.
        out: takes the segments.
        actors: by number; more may come.
        sets: by number; more may come.
    """

    header: Header
    writer: Writer
    out: Outgoing
    actors: dict[int, SentActor] = field(default_factory=dict)
    sets: dict[int, Set] = field(default_factory=dict)

    def fork(self, stream: Any, sound: Sound) -> StartedFile:
        """This file as it goes on into another stream, to measure what is to come."""
        writer = self.writer.fork(stream)
        out = self.out.fork(writer, sound)
        return replace(self, writer=writer, out=out, actors=dict(self.actors), sets=dict(self.sets))

    def places(self, clear: bool, placements: list[np.ndarray], absent: list[bool]) -> list[np.ndarray]:
        """Placements as they are sent, where nobody is there in some of the frames.

        Args:
            clear: what is behind somebody who is not there can be seen.
        """
        if not any(absent):
            return placements
        nobody = plain(self.header.width, self.header.height)
        return [(alone(p) if clear else nobody) if no else p for p, no in zip(placements, absent, strict=True)]

    def track(self, sent: SentActor, motion: np.ndarray, placement: list[np.ndarray], held: np.ndarray) -> Track:
        """An actor in a segment.

        Args:
            motion: (n, P) integers.
            placement: (4,) of each frame, in pixels and radians.
            held: (n,) frames in which the motion stands still.
        """
        places = placement_path(np.array(placement)) if self.header.placement else None
        return Track(motion, places, held, sent.actor.number, sent.actor.revision)

    def write_video(self, pts: list[int], video: Video) -> None:
        """Hand over a segment that is plain video."""
        self.out.write(pts, [], None, [], None, video=video)

    def write(self, pts: list[int], tracks: list[Track], backdrop: Backdrop, cameras: list[np.ndarray]) -> None:
        """Hand over a segment.  cameras: (4,) of each frame, in pixels and radians."""
        last = max((track.actor for track in tracks), default=-1)
        used = {track.actor for track in tracks}
        # Actors come in the order of their numbers: one that nobody needs yet goes before.
        needed = [
            sent.actor for number, sent in sorted(self.actors.items())
            if number in used or (number < last and number > self.out.last_actor)
        ]  # fmt: skip
        camera = None
        if backdrop.follows and np.any(cameras):
            camera = camera_path(np.array(cameras), self.header.width, self.header.height)
        self.out.write(pts, tracks, backdrop.number, needed, self.sets.get(backdrop.number), camera)

    def close(self) -> None:
        self.out.close()
