"""The parts of a segment after its first, for live sending, and how far such a segment has come.
`segment.py` has the first part, `partcode.py` the code.

`chunk.py` frames the content of a part on a stream of bytes. Where the transport frames messages a
content is one, without more: it begins with a byte below F5, as no chunk does.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from .actor import ActorKey
from .audio import CLOCK, pack_packets, unpack_packets
from .errors import LimitError, UsageError, check
from .header import Header
from .limits import Limits
from .partcode import PartCoders
from .segment import Segment, Track, check_moving, has_moved
from .taken import PART_NUMBERS, CodedTrack, Parts
from .times import MAX_PTS, pack_pts, pack_runs, regular_pts, take_pts, take_runs
from .wire import Pack, Take

HAS_FLAGS = 128  # of the number: flags follow
HAS_COUNT = 1  # the number of frames is not that of the part before
HAS_PTS = 2
HAS_HELD = 4
HAS_AUDIO = 8
HAS_CAMERA = 32
_KNOWN = HAS_COUNT | HAS_PTS | HAS_HELD | HAS_AUDIO | HAS_CAMERA


@dataclass
class Course:
    """How far a segment in parts has come.

    Attributes:
        index: of the segment.
        part, number: of the next part, in the segment and in the stream.
        frame: the next.
        frames: so far.
        count: frames of the last part.
        pts: of the last frame.
        sound: where the last packet of audio ends, if there was one.
        packets, sound_bytes: of audio, so far.
    """

    index: int
    on_set: int | None
    cast: list[ActorKey]
    number: int
    frame: int
    pts: int
    part: int = 0
    frames: int = 0
    count: int = 0
    sound: int | None = None
    packets: int = 0
    sound_bytes: int = 0

    @classmethod
    def begin(cls, first: Parts | Segment, number: int) -> Course:
        """After the first part."""
        course = cls(first.index, first.on_set, first.cast, number, first.first_frame, 0)
        course.go_on(first)
        return course

    def go_on(self, parts: Parts | Segment) -> None:
        """After another part."""
        self.part, self.number = self.part + 1, (self.number + 1) % PART_NUMBERS
        self.count = len(parts.pts)
        self.frame, self.frames, self.pts = self.frame + self.count, self.frames + self.count, int(parts.pts[-1])
        if parts.audio:
            self.sound = parts.audio[-1].pts + parts.audio[-1].duration
            self.packets += len(parts.audio)
            self.sound_bytes += sum(len(packet.data) for packet in parts.audio)


def pack_part(segment: Segment, header: Header, course: Course, coders: PartCoders) -> bytes:
    """Content of a part. Raises UsageError for what cannot be said."""
    count, pts = len(segment.pts), np.asarray(segment.pts, np.int64)
    follows = (segment.index, segment.part, segment.first_frame, segment.on_set, segment.cast)
    if follows != (course.index, course.part, course.frame, course.on_set, course.cast):
        raise UsageError(f"part {segment.part} of segment {segment.index} does not follow")
    if not count or course.frames + count > Limits.max_segment_frames:
        raise UsageError(f"a segment has 1 to {Limits.max_segment_frames} frames, not {course.frames + count}")
    if segment.patches or segment.video is not None:
        raise UsageError("patches and video do not come in parts")
    if (np.diff(pts, prepend=course.pts) <= 0).any() or int(np.abs(pts).max()) >= MAX_PTS:
        raise UsageError(f"segment {segment.index}: presentation times do not rise")
    helds = segment.helds()
    moves = has_moved(segment.camera)
    flags = HAS_COUNT * (count != course.count) | HAS_AUDIO * bool(segment.audio)
    flags |= HAS_PTS * (not np.array_equal(pts, regular_pts(header, segment.first_frame, count)))
    flags |= HAS_HELD * any(held.any() for held in helds) | HAS_CAMERA * moves
    pack = Pack().fixed("B", course.number | HAS_FLAGS * bool(flags))
    if flags:
        pack.fixed("B", flags)
    if flags & HAS_COUNT:
        pack.varint(count)
    if flags & HAS_PTS:
        pack_pts(pack, pts, course.pts)
    if flags & HAS_HELD:
        for held in helds:
            pack_runs(pack, held)
    if segment.audio:
        pack.raw(pack_packets(segment.audio, course.sound))
    check_moving(segment.camera if moves else None, count, header)
    tracks = [(track.motion, track.placement) for track in segment.actors]
    return pack.raw(coders.encode(tracks, helds, segment.camera if moves else None)).bytes()


def parse_part(content: bytes, header: Header, limits: Limits, course: Course) -> Parts:
    """Everything but the code. Raises DamagedError or LimitError."""
    take = Take(content, "part")
    number = take.u8()
    flags = take.u8() if number & HAS_FLAGS else 0
    check(number & ~HAS_FLAGS == course.number, f"part {number & ~HAS_FLAGS} where {course.number} was expected")
    check(flags or not number & HAS_FLAGS, "flags of a part are announced but there are none")
    check(not flags & ~_KNOWN, f"part: unknown flags {flags & ~_KNOWN:#x}")
    count = take.varint(limits.max_segment_frames, "frames of a part") if flags & HAS_COUNT else course.count
    check(count, "a part has no frames")
    check(not flags & HAS_COUNT or count != course.count, "a part as long as the one before says how long it is")
    total, actors = course.frames + count, len(course.cast)
    if total > limits.max_segment_frames or total * actors > limits.max_track_frames:
        raise LimitError(f"{total} frames of {actors} actors in the parts of a segment", segment=course.index)
    if course.frame + count > limits.max_frames:
        raise LimitError(f"frame {course.frame + count}, the limit is {limits.max_frames}", segment=course.index)
    pts = regular_pts(header, course.frame, count)
    if flags & HAS_PTS:
        written = take_pts(take, count, course.pts)
        check(not np.array_equal(written, pts), "regular presentation times are not written in their short form")
        pts = written
    check(len(pts), "a part has no presentation times, and the header's frame rate gives none")
    check(pts[0] > course.pts, f"segment {course.index} goes back in time")
    helds = [take_runs(take, count) if flags & HAS_HELD else np.zeros(count, bool) for _ in course.cast]
    check(not flags & HAS_HELD or any(held.any() for held in helds), "held frames are announced but there are none")
    before = take.left()
    audio = unpack_packets(take, limits, course.sound) if flags & HAS_AUDIO else []
    check(not audio or header.has_audio, "audio in a stream without an audio header")
    if course.packets + len(audio) > limits.max_audio_packets_per_segment or (
        course.sound_bytes + sum(len(packet.data) for packet in audio) > limits.max_audio_bytes_per_segment
    ):
        raise LimitError("too much audio in the parts of a segment", segment=course.index)
    sizes = {"audio": before - take.left(), "motion": take.left()}
    tracks = [CodedTrack(*key, held, b"") for key, held in zip(course.cast, helds, strict=True)]
    return Parts(
        course.index, course.frame, pts, audio, course.on_set, tracks, b"", [], None, 0, sizes,
        part=course.part, moves=bool(flags & HAS_CAMERA), code=take.rest(),
    )  # fmt: skip


def cut(segment: Segment, lengths: Sequence[int], header: Header) -> list[Segment]:
    """A segment in parts of these many frames.

    Packets of audio go with the frames in whose time they begin.
    """
    if sum(lengths) != segment.frames or min(lengths) < 1:
        raise UsageError(f"parts of {list(lengths)} frames do not make {segment.frames}")
    edges = np.cumsum([0, *lengths]).tolist()
    numerator, denominator = header.time_base
    ends = [int(segment.pts[edge]) * numerator * CLOCK for edge in edges[1:-1]]
    sound = [bisect_right(ends, packet.pts * denominator) for packet in segment.audio]
    out = []
    for place, (a, b) in enumerate(pairwise(edges)):
        tracks = [
            replace(t, motion=t.motion[a:b], held=None if t.held is None else t.held[a:b],
                    placement=None if t.placement is None else t.placement[a:b])
            for t in segment.actors
        ]  # fmt: skip
        packets = [packet for packet, part in zip(segment.audio, sound, strict=True) if part == place]
        camera = segment.camera[a:b] if segment.camera is not None and has_moved(segment.camera[a:b]) else None
        part = replace(segment, first_frame=segment.first_frame + a, pts=segment.pts[a:b], actors=tracks, audio=packets)
        out.append(replace(part, camera=camera, part=place))
    return out


def joined(parts: Sequence[Segment]) -> Segment:
    """The segment of some parts, from its first on."""
    first = parts[0]

    def along(values: list[np.ndarray | None], shape: tuple[int, ...]) -> np.ndarray | None:
        """One after the other; zeros for those that are None, and None where all are."""
        if all(v is None for v in values):
            return None
        rows = [len(part.pts) for part in parts]
        return np.concatenate(
            [np.zeros((n, *shape), np.int32) if v is None else v for n, v in zip(rows, values, strict=True)]
        )

    tracks = []
    for place, track in enumerate(first.actors):
        others = [part.actors[place] for part in parts]
        motion = np.concatenate([other.motion for other in others])
        held = np.concatenate([part.helds()[place] for part in parts])
        placement = along([other.placement for other in others], (4,))
        tracks.append(Track(motion, placement, held, track.actor, track.revision))
    return replace(
        first, pts=np.concatenate([part.pts for part in parts]), actors=tracks, part=None,
        audio=[packet for part in parts for packet in part.audio],
        camera=along([part.camera for part in parts], (4,)),
    )  # fmt: skip
