"""The SEGM chunk: one to a few seconds of the stream that decodes alone, but for the actors and
sets it names.

`times.py` has its times, `motion.py` the entropy block of an actor, `stage.py` the patches,
`video.py` the video.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .actor import ActorKey
from .audio import AudioPacket, pack_packets, unpack_packets
from .errors import DamagedError, FevError, LimitError, UnsupportedError, UsageError, check
from .header import Header
from .limits import Limits
from .motion import decode_motion, decode_track, encode_motion, encode_track, final_check, split_block
from .stage import Patch, pack_patches, take_patches
from .times import MAX_PTS, pack_pts, pack_runs, regular_pts, take_pts, take_runs
from .video import Video, pack_video, take_video
from .wire import Pack, Take

HAS_PLACE = 1  # first frame and frame count are written
HAS_PTS = 2  # presentation times are written
HAS_HELD = 4  # some frames are held
HAS_AUDIO = 8
HAS_STAGE = 16  # set and actors are written
HAS_CAMERA = 32
HAS_PATCHES = 64
HAS_VIDEO = 128
_KNOWN = 255
_CHECK_BYTES = 2

Stage = tuple[int | None, tuple[ActorKey, ...]]  # number of the set, and the actors


@dataclass(frozen=True, eq=False)
class CodedTrack:
    """An actor in a segment, its entropy block still coded."""

    actor: int
    revision: int
    held: NDArray[np.bool_]  # (n,)
    block: bytes


@dataclass(frozen=True, eq=False)
class Parts:
    """A segment taken apart, its entropy blocks still coded."""

    index: int
    first_frame: int
    pts: NDArray[np.int64]  # (n,)
    audio: list[AudioPacket]
    on_set: int | None
    actors: list[CodedTrack]
    camera: bytes
    patches: list[Patch]
    video: Video | None
    check: int
    sizes: dict[str, int]  # bytes of sections; the rest of the payload is overhead

    @property
    def cast(self) -> list[ActorKey]:
        """The revisions of actors that it needs."""
        return [(track.actor, track.revision) for track in self.actors]

    @property
    def held(self) -> NDArray[np.bool_]:
        """(n,) True where every actor is held."""
        none = np.zeros(len(self.pts), bool)
        return np.logical_and.reduce([track.held for track in self.actors]) if self.actors else none


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

    def pack(self, header: Header) -> bytes:
        """Payload of the SEGM chunk. Raises UsageError for what cannot be said."""
        count, pts, tracks = len(self.pts), np.asarray(self.pts, np.int64), self.actors
        if not 0 < count <= Limits.max_segment_frames:
            raise UsageError(f"a segment has 1 to {Limits.max_segment_frames} frames, not {count}")
        helds = [np.zeros(count, bool) if track.held is None else np.asarray(track.held, bool) for track in tracks]
        for track, held in zip(tracks, helds, strict=True):
            if len(held) != count or np.shape(track.motion) != (count, header.params):
                raise UsageError(f"segment {self.index}: pts, held and motion disagree about {count} x {header.params}")
            if (track.placement is not None) != header.placement:
                raise UsageError("the header's placement flag and the segment disagree")
        if (np.diff(pts) <= 0).any() or int(np.abs(pts).max()) >= MAX_PTS:
            raise UsageError(f"segment {self.index}: presentation times do not rise")
        regular_place = header.segment_frames == count and self.first_frame == self.index * count
        regular = np.array_equal(pts, regular_pts(header, self.first_frame, count))
        cast = tuple(self.cast)
        moves = self.camera is not None and bool(np.any(self.camera))
        flags = HAS_PLACE * (not regular_place) | HAS_PTS * (not regular) | HAS_AUDIO * bool(self.audio)
        flags |= HAS_VIDEO * (self.video is not None)
        flags |= HAS_HELD * any(held.any() for held in helds) | HAS_STAGE * (
            (self.on_set, cast) != regular_stage(flags)
        )
        flags |= HAS_CAMERA * moves | HAS_PATCHES * bool(self.patches)
        pack = Pack().varint(int(flags)).varint(self.index)
        if flags & HAS_PLACE:
            pack.varint(self.first_frame).varint(count)
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
        if moves:
            assert self.camera is not None
            if len(self.camera) != count or (np.asarray(self.camera)[:, 2] <= -header.edges).any():
                raise UsageError(f"segment {self.index}: a camera of other than {count} frames, or without a scale")
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
        moves = self.camera is not None and bool(np.any(self.camera))
        return final_check(self.camera, None, value) if moves and self.camera is not None else value

    @classmethod
    def unpack(cls, data: bytes, header: Header, limits: Limits | None = None) -> Segment:
        """Reads a payload whole. Raises DamagedError or LimitError."""
        return cls.from_parts(parse(data, header, limits or Limits()), header)

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
                check(camera.any(), "a camera at rest is not left out")
                check((camera[:, 2] > -header.edges).all(), "a camera has no scale")
            segment = cls(
                parts.index, parts.first_frame, parts.pts, tracks, parts.audio, parts.on_set, camera, parts.patches,
                parts.video,
            )  # fmt: skip
            if segment._check(header) != parts.check:
                raise DamagedError("the final check fails: written for another model, other tables or another stream")
        except FevError as error:
            raise error.at(segment=parts.index) from None
        return segment


def parse(data: bytes, header: Header, limits: Limits) -> Parts:
    """Everything but the entropy blocks."""
    take = Take(data, "segment")
    flags = take.varint(name="flags")
    check(not flags & ~_KNOWN, f"segment: unknown flags {flags & ~_KNOWN:#x}")
    index = take.varint(limits.max_segments, "index")
    if flags & HAS_PLACE:
        first = take.varint(limits.max_frames, "first frame")
        count = take.varint(limits.max_segment_frames, "number of frames")
        check(count, "a segment has no frames")
        regular = header.segment_frames == count and first == index * count
        check(not regular, "a regular segment is not written in its short form")
    else:
        check(header.segment_frames, "a segment does not say where it begins, and the header has no regular length")
        count, first = header.segment_frames, index * header.segment_frames
    if first + count > limits.max_frames:
        raise LimitError(f"frame {first + count}, the limit is {limits.max_frames}", segment=index)
    nominal = regular_pts(header, first, count)
    if flags & HAS_PTS:
        pts = take_pts(take, count)
        check(not np.array_equal(pts, nominal), "regular presentation times are not written in their short form")
    else:
        check(len(nominal), "a segment has no presentation times, and the header's frame rate gives none")
        pts = nominal
    on_set, cast = _take_stage(take, limits) if flags & HAS_STAGE else regular_stage(flags)
    _check_stage(flags, on_set, cast, header)
    if len(cast) * count > limits.max_track_frames:
        raise LimitError(f"{len(cast)} actors in {count} frames, the limit is {limits.max_track_frames} together")
    helds = [take_runs(take, count) if flags & HAS_HELD else np.zeros(count, bool) for _ in cast]
    check(not flags & HAS_HELD or any(held.any() for held in helds), "held frames are announced but there are none")
    before = take.left()
    audio = unpack_packets(take, limits) if flags & HAS_AUDIO else []
    sizes = {"audio": before - take.left()}
    camera = b""
    if flags & HAS_CAMERA:
        camera = take.raw(take.varint(name="size of the camera"))
        check(camera, "a camera at rest is not left out")
        sizes["camera"] = len(camera)
    before = take.left()
    patches = take_patches(take, len(cast), count, limits) if flags & HAS_PATCHES else []
    sizes["patches"] = before - take.left()
    before = take.left()
    video = take_video(take, count, limits) if flags & HAS_VIDEO else None
    sizes["video"] = before - take.left()
    blocks = [take.raw(take.varint(name="size of an actor")) for _ in cast[1:]]
    check(take.left() >= _CHECK_BYTES, "a segment has no final check")
    last = take.raw(take.left() - _CHECK_BYTES)
    check(cast or not last, "a segment without actors has motion")
    blocks = [*blocks, last] if cast else []
    motion = sum(len(split_block(block, header.placement)[1]) for block in blocks) + _CHECK_BYTES
    sizes["motion"], sizes["placement"] = motion, sum(map(len, blocks)) + _CHECK_BYTES - motion
    tracks = [CodedTrack(*key, held, block) for key, held, block in zip(cast, helds, blocks, strict=True)]
    return Parts(index, first, pts, audio, on_set, tracks, camera, patches, video, take.fixed("H")[0], sizes)


def regular_stage(flags: int) -> Stage:
    """What stands where no stage is written: actor 0 in revision 0, before set 0 or video."""
    return None if flags & HAS_VIDEO else 0, ((0, 0),)


def _take_stage(take: Take, limits: Limits) -> Stage:
    """Set and actors."""
    number = take.varint(limits.max_sets, "number of the set")
    count = take.varint(limits.max_segment_actors, "number of actors")
    cast = []
    for _ in range(count):
        actor = take.varint(limits.max_actors - 1, "number of an actor")
        cast.append((actor, take.varint(limits.max_revisions - 1, "revision")))
    return number - 1 if number else None, tuple(cast)


def _check_stage(flags: int, on_set: int | None, cast: tuple[ActorKey, ...], header: Header) -> None:
    """Raises DamagedError for a stage that cannot be."""
    count, video = len(cast), bool(flags & HAS_VIDEO)
    check(len({actor for actor, _ in cast}) == count, "an actor stands on the stage twice")
    check(count == (0 if video else 1) or header.placement, "where the actors stand is not said")
    check(count <= 1 or not header.crop, "several actors in the aligned square of one")
    check(not (video and count and header.crop), "video behind the aligned square")
    check(not video or on_set is None, "video and a set behind the actors")
    check(not video or not flags & HAS_CAMERA, "video does not move with a camera")
    regular = flags & HAS_STAGE and (on_set, cast) == regular_stage(flags)
    check(not regular, "a regular stage is not written in its short form")
