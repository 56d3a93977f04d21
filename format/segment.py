"""The SEGM chunk: one to a few seconds of the stream that decodes alone, but for the actors and
sets it names.

`times.py` has its times, `motion.py` the entropy block of an actor, `stage.py` the patches,
`video.py` the video. Of a segment that is sent in parts this is the first; `part.py` has the others.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .actor import ActorKey
from .audio import AudioPacket, pack_packets
from .errors import DamagedError, FevError, UnsupportedError, UsageError, check
from .header import Header
from .limits import Limits
from .motion import decode_motion, decode_track, encode_motion, encode_track, final_check
from .partcode import PartCoders
from .stage import Patch, pack_patches
from .taken import (
    HAS_AUDIO,
    HAS_CAMERA,
    HAS_HELD,
    HAS_PARTS,
    HAS_PATCHES,
    HAS_PLACE,
    HAS_PTS,
    HAS_STAGE,
    HAS_VIDEO,
    Parts,
    parse,
    regular_stage,
)
from .times import MAX_PTS, pack_pts, pack_runs, regular_pts
from .video import Video, pack_video
from .wire import Pack


@dataclass(eq=False)
class Track:
    """One actor in a segment.

    Args:
        motion: (n, P) int32.
        placement: (n, 4) int32 centre x, centre y, half side in 1/8 pixel, angle in 2*pi/16384;
            None without placement.
        held: (n,) bool, True where no face was found and the frame repeats the one before; None =
            nowhere.
        actor, revision: whose parameters these are.
    """

    motion: NDArray[np.int32]
    placement: NDArray[np.int32] | None = None
    held: NDArray[np.bool_] | None = None
    actor: int = 0
    revision: int = 0


@dataclass(eq=False)
class Segment:
    """Frames first_frame .. first_frame + n - 1.

    Args:
        index: counts segments from 0.
        pts: (n,) int64 presentation times in ticks of the header's time base, strictly rising.
        actors: from the back to the front.
        audio: packets whose pts falls into the segment.
        on_set: number of the set behind them; None = black.
        camera: (n, 4) int32 the similarity from the set to the picture: shift x, shift y in 1/4
            pixel, scale less 1 and angle (radians) in units of 1 / (width + height); None = it
            rests.
        patches: in the order of their actors, then of their frames.
        video: beneath the actors; then there is neither set nor camera.
        part: these frames are a part of the segment: their place among its parts, from 0; None =
            they are all of it.
    """

    index: int
    first_frame: int
    pts: NDArray[np.int64]
    actors: list[Track]
    audio: list[AudioPacket] = field(default_factory=list)
    on_set: int | None = 0
    camera: NDArray[np.int32] | None = None
    patches: list[Patch] = field(default_factory=list)
    video: Video | None = None
    part: int | None = None

    @classmethod
    def single(
        cls,
        index: int,
        first_frame: int,
        pts: NDArray[np.int64],
        motion: NDArray[np.int32],
        placement: NDArray[np.int32] | None = None,
        held: NDArray[np.bool_] | None = None,
        audio: list[AudioPacket] | None = None,
    ) -> Segment:
        """Actor 0 in revision 0 alone before set 0."""
        return cls(index, first_frame, pts, [Track(motion, placement, held)], audio or [])

    @property
    def frames(self) -> int:
        return len(self.pts)

    @property
    def cast(self) -> list[ActorKey]:
        """The revisions of actors that it needs."""
        return [(track.actor, track.revision) for track in self.actors]

    @property
    def alone(self) -> Track:
        """The only actor. Raises UnsupportedError where there is none, or more than one."""
        if len(self.actors) != 1:
            raise UnsupportedError(f"{len(self.actors)} actors in a segment, one is expected", segment=self.index)
        return self.actors[0]

    @property
    def motion(self) -> NDArray[np.int32]:
        """Of the only actor, and so for the next two."""
        return self.alone.motion

    @property
    def placement(self) -> NDArray[np.int32] | None:
        return self.alone.placement

    @property
    def held(self) -> NDArray[np.bool_] | None:
        return self.alone.held

    def with_alone(self, **changes: Any) -> Segment:
        """The segment with other motion, placement or held frames of its only actor."""
        return replace(self, actors=[replace(self.alone, **changes)])

    def helds(self) -> list[NDArray[np.bool_]]:
        """Which frames are held, (n,) for each actor. Raises UsageError for actors of other frames."""
        count = len(self.pts)
        helds = [np.zeros(count, bool) if t.held is None else np.asarray(t.held, bool) for t in self.actors]
        if any(len(held) != count for held in helds):
            raise UsageError(f"segment {self.index}: pts and held disagree about {count} frames")
        return helds

    def pack(self, header: Header, coders: PartCoders | None = None, number: int = 0) -> bytes:
        """Payload of the SEGM chunk. Raises UsageError for what cannot be said.

        Args:
            coders: of a first part, for those that follow.
            number: of a first part, in the stream.
        """
        count, pts, tracks = len(self.pts), np.asarray(self.pts, np.int64), self.actors
        if not 0 < count <= Limits.max_segment_frames:
            raise UsageError(f"a segment has 1 to {Limits.max_segment_frames} frames, not {count}")
        helds = self.helds()
        for track in tracks:
            if np.shape(track.motion) != (count, header.params):
                raise UsageError(f"segment {self.index}: pts, held and motion disagree about {count} x {header.params}")
            if (track.placement is not None) != header.placement:
                raise UsageError("the header's placement flag and the segment disagree")
        if (np.diff(pts) <= 0).any() or int(np.abs(pts).max()) >= MAX_PTS:
            raise UsageError(f"segment {self.index}: presentation times do not rise")
        if (self.part is None) != (coders is None) or self.part:
            raise UsageError(f"part {self.part} of segment {self.index} does not begin it")
        if self.part is not None and (self.patches or self.video is not None):
            raise UsageError("patches and video do not come in parts")
        # What is not there yet of a segment in parts is not known to be regular.
        like = header.segment_frames == count or (self.part is not None and header.segment_frames > 0)
        regular_place = like and self.first_frame == self.index * header.segment_frames
        regular = np.array_equal(pts, regular_pts(header, self.first_frame, count))
        cast = tuple(self.cast)
        moves = has_moved(self.camera)
        flags = HAS_PARTS * (self.part is not None) | HAS_PLACE * (not regular_place) | HAS_PTS * (not regular)
        flags |= HAS_AUDIO * bool(self.audio) | HAS_VIDEO * (self.video is not None)
        flags |= HAS_HELD * any(held.any() for held in helds)
        flags |= HAS_STAGE * ((self.on_set, cast) != regular_stage(flags))
        flags |= HAS_CAMERA * moves | HAS_PATCHES * bool(self.patches)
        pack = Pack().varint(int(flags)).varint(self.index)
        if flags & HAS_PARTS:
            pack.fixed("B", number).varint(count)
        if flags & HAS_PLACE:
            pack.varint(self.first_frame)
            if not flags & HAS_PARTS:
                pack.varint(count)
        if flags & HAS_PTS:
            pack_pts(pack, pts)
        if flags & HAS_STAGE:
            pack.varint(0 if self.on_set is None else self.on_set + 1).varint(len(cast))
            for number, revision in cast:
                pack.varint(number).varint(revision)
        if flags & HAS_HELD:
            for held in helds:
                pack_runs(pack, held)
        if self.audio:
            pack.raw(pack_packets(self.audio))
        check_moving(self.camera if moves else None, count, header)
        if coders is not None:
            given = [(track.motion, track.placement) for track in tracks]
            pack.raw(coders.encode(given, helds, self.camera if moves else None))
            return pack.fixed("H", self._check(header)).bytes()
        if moves and self.camera is not None:
            code = encode_track(self.camera, np.zeros(count, bool))
            pack.varint(len(code)).raw(code)
        if self.patches:
            pack.raw(pack_patches(self.patches))
        if self.video is not None:
            if self.video.step < 1 or len(self.video.packets) != len(self.video.places(count)):
                raise UsageError(f"segment {self.index}: {len(self.video.packets)} pictures of video in {count} frames")
            pack.raw(pack_video(self.video))
        blocks = [encode_motion(t.motion, t.placement, held=held) for t, held in zip(tracks, helds, strict=True)]
        for block in blocks[:-1]:
            pack.varint(len(block)).raw(block)
        return pack.raw(blocks[-1] if blocks else b"").fixed("H", self._check(header)).bytes()

    def _check(self, header: Header) -> int:
        """The final check over all values."""
        value = header.check_seed
        for track in self.actors:
            value = final_check(track.motion, track.placement, value)
        return final_check(self.camera, None, value) if self.camera is not None and has_moved(self.camera) else value

    @classmethod
    def unpack(cls, data: bytes, header: Header, limits: Limits | None = None) -> Segment:
        """Reads a payload whole. Raises DamagedError or LimitError."""
        parts = parse(data, header, limits or Limits())
        check(parts.part is None, "a segment that comes in parts")
        return cls.from_parts(parts, header)

    @classmethod
    def of_part(cls, parts: Parts, header: Header, coders: PartCoders) -> Segment:
        """Decodes the code of a part, the first or another."""
        count = len(parts.pts)
        try:
            coded, camera = coders.decode(parts.code, [t.held for t in parts.actors], count, parts.moves)
            if camera is not None:
                check_camera(camera, header)
            tracks = [
                Track(*values, track.held, track.actor, track.revision)
                for values, track in zip(coded, parts.actors, strict=True)
            ]
            segment = cls(
                parts.index, parts.first_frame, parts.pts, tracks, parts.audio, parts.on_set, camera, part=parts.part
            )  # fmt: skip
            if not parts.part:
                segment.prove(parts, header)
        except FevError as error:
            raise error.at(segment=parts.index) from None
        return segment

    @classmethod
    def from_parts(cls, parts: Parts, header: Header) -> Segment:
        """Decodes the entropy blocks of a segment already taken apart."""
        count = len(parts.pts)
        try:
            tracks = []
            for coded in parts.actors:
                motion, placement = decode_motion(
                    coded.block, count, header.params, has_placement=header.placement, held=coded.held
                )
                tracks.append(Track(motion, placement, coded.held, coded.actor, coded.revision))
            camera = None
            if parts.camera:
                camera = decode_track(parts.camera, np.zeros(count, bool), "camera")
                check_camera(camera, header)
            segment = cls(
                parts.index, parts.first_frame, parts.pts, tracks, parts.audio, parts.on_set, camera, parts.patches,
                parts.video,
            )  # fmt: skip
            segment.prove(parts, header)
        except FevError as error:
            raise error.at(segment=parts.index) from None
        return segment

    def prove(self, parts: Parts, header: Header) -> None:
        """Raises DamagedError where the final check fails."""
        if self._check(header) != parts.check:
            raise DamagedError("the final check fails: written for another model, other tables or another stream")


def has_moved(camera: NDArray[np.int32] | None) -> bool:
    """Whether a camera does not rest in all frames."""
    return camera is not None and bool(np.any(camera))


def check_moving(camera: NDArray[np.int32] | None, count: int, header: Header) -> None:
    """Raises UsageError for a camera that cannot be written."""
    if camera is not None and (len(camera) != count or (np.asarray(camera)[:, 2] <= -header.edges).any()):
        raise UsageError(f"a camera of other than {count} frames, or without a scale")


def check_camera(camera: NDArray[np.int32], header: Header) -> None:
    """Raises DamagedError for a camera that cannot be."""
    check(camera.any(), "a camera at rest is not left out")
    check((camera[:, 2] > -header.edges).all(), "a camera has no scale")
