"""The SEGM chunk taken apart: everything but its entropy codes. `segment.py` has the other half."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .actor import ActorKey
from .audio import AudioPacket, unpack_packets
from .errors import LimitError, check
from .header import Header
from .limits import Limits
from .motion import split_block
from .stage import Patch, take_patches
from .times import regular_pts, take_pts, take_runs
from .video import Video, take_video
from .wire import Take

HAS_PLACE = 1  # first frame and frame count are written
HAS_PTS = 2  # presentation times are written
HAS_HELD = 4  # some frames are held
HAS_AUDIO = 8
HAS_STAGE = 16  # set and actors are written
HAS_CAMERA = 32
HAS_PATCHES = 64
HAS_VIDEO = 128
HAS_PARTS = 256  # more frames follow, part by part
_KNOWN = 511
_CHECK_BYTES = 2
PART_NUMBERS = 100  # parts are counted modulo this, throughout a stream

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
    part: int | None = None  # its place among the parts of the segment; None = the segment is whole
    number: int = 0  # of the first part, in the stream
    moves: bool = False  # the camera
    code: bytes = b""  # of a part: what stands in the place of blocks and camera

    @property
    def cast(self) -> list[ActorKey]:
        """The revisions of actors that it needs."""
        return [(track.actor, track.revision) for track in self.actors]

    @property
    def held(self) -> NDArray[np.bool_]:
        """(n,) True where every actor is held."""
        none = np.zeros(len(self.pts), bool)
        return np.logical_and.reduce([track.held for track in self.actors]) if self.actors else none


def parse(data: bytes, header: Header, limits: Limits) -> Parts:
    """Everything but the entropy blocks."""
    take = Take(data, "segment")
    flags = take.varint(name="flags")
    check(not flags & ~_KNOWN, f"segment: unknown flags {flags & ~_KNOWN:#x}")
    index = take.varint(limits.max_segments, "index")
    in_parts, number, count = bool(flags & HAS_PARTS), 0, header.segment_frames
    check(not in_parts or not flags & (HAS_PATCHES | HAS_VIDEO), "patches and video do not come in parts")
    if in_parts:
        number = take.u8()
        check(number < PART_NUMBERS, f"a part of the number {number}")
        count = take.varint(limits.max_segment_frames, "frames of a part")
        check(count, "a part has no frames")
    if flags & HAS_PLACE:
        first = take.varint(limits.max_frames, "first frame")
        if not in_parts:
            count = take.varint(limits.max_segment_frames, "number of frames")
        check(count, "a segment has no frames")
        like = header.segment_frames == count or (in_parts and header.segment_frames > 0)
        regular = like and first == index * header.segment_frames
        check(not regular, "a regular segment is not written in its short form")
    else:
        check(header.segment_frames, "a segment does not say where it begins, and the header has no regular length")
        first = index * header.segment_frames
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
    if in_parts:
        check(take.left() >= _CHECK_BYTES, "a segment has no final check")
        sizes["motion"] = take.left()
        code = take.raw(take.left() - _CHECK_BYTES)
        tracks = [CodedTrack(*key, held, b"") for key, held in zip(cast, helds, strict=True)]
        return Parts(
            index, first, pts, audio, on_set, tracks, b"", [], None, take.fixed("H")[0], sizes,
            0, number, bool(flags & HAS_CAMERA), code,
        )  # fmt: skip
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
    moves = bool(flags & HAS_CAMERA)
    return Parts(
        index, first, pts, audio, on_set, tracks, camera, patches, video, take.fixed("H")[0], sizes, moves=moves
    )


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
