"""Writes a .fev stream front to back, segment by segment; nothing is patched afterwards.
`reader.py` reads it."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import replace
from types import TracebackType
from typing import Any

from .actor import Actor, unpack_actor
from .audio import AudioConfig
from .cast import Cast
from .casting import named
from .chunk import SIGNATURE, make_chunk, make_part
from .errors import FevError, UsageError
from .header import UNKNOWN_FRAMES, Header
from .index import End, IndexBuilder
from .ledger import Ledger
from .limits import Limits
from .meta import Meta, pack_meta
from .part import Course, pack_part, parse_part
from .partcode import PartCoders
from .segment import Segment
from .stage import Set
from .taken import parse
from .video import VideoConfig


class Writer:
    """Writes signature and set-up at once, then actors, sets, the video's header and segments as they
    come, then index and end at close().

    Args:
        stream: anything with write(); never seeked.
        header: its has_audio and has_set are set from what is given here.
        actors, sets: those that are there from the beginning. Where no set 0 is, there is never
            one.
        audio, meta: see their modules; None = no such chunk.
        repeat_header_every: the set-up and what is alive, of actors the newest revisions, are
            repeated before every so many segments (0 = never), so that a receiver may join late
            and a damaged beginning does not cost the rest.

    As a context manager it closes the stream's content when the block ends well, and leaves it
    truncated otherwise.
    """

    def __init__(
        self,
        stream: Any,
        header: Header,
        *,
        actors: Iterable[Actor] = (),
        sets: Iterable[Set] = (),
        audio: AudioConfig | None = None,
        meta: Meta | None = None,
        repeat_header_every: int = 0,
    ) -> None:
        if repeat_header_every < 0:
            raise UsageError("repeat_header_every is negative")
        actors, sets = list(actors), list(sets)
        self.header = replace(header, has_audio=audio is not None, has_set=any(not given.number for given in sets))
        setup = [("HEAD", self.header.pack())]
        if audio is not None:
            setup.append(("AUDH", audio.pack()))
        if meta:
            setup.append(("meta", pack_meta(meta)))
        self._setup = setup
        self._repeat = repeat_header_every
        self._stream = stream
        self._ledger = Ledger()
        self._cast = Cast(Limits())
        self._index = IndexBuilder()
        self._closed = False
        self._last_pts: int | None = None
        self._course: Course | None = None  # of a segment in parts that may go on
        self._coders: PartCoders | None = None
        self._number = 0  # of the next part
        self.bytes_written = 0
        self.segments = 0
        self.frames = 0
        self._write(SIGNATURE)
        self._ledger.add("header", len(SIGNATURE))
        self._write_setup()
        for given in sets:
            self.write_set(given)
        for actor in actors:
            self.write_actor(actor)

    def fork(self, stream: Any) -> Writer:
        """A writer that goes on from here into another stream, as if that held all so far: what is
        to come can be measured, and this one knows nothing of it.  It begins with a segment of its
        own."""
        other = copy.copy(self)
        other._course = other._coders = None
        other._stream = stream
        other._ledger, other._cast = copy.deepcopy(self._ledger), copy.deepcopy(self._cast)
        other._index = copy.deepcopy(self._index)
        return other

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        try:
            while left:
                done = self._stream.write(left)
                # Raw streams may take less than they were given; the others take all, and some
                # return None.
                left = left[done:] if isinstance(done, int) else left[:0]
        except (FevError, BrokenPipeError):  # who reads a pipe may stop, which is no failure of ours
            raise
        except (OSError, ValueError) as error:
            name = getattr(self._stream, "name", None)
            where = f"{name}: cannot be written" if isinstance(name, str) else "writing failed"
            reason = getattr(error, "strerror", None) or error
            raise FevError(f"{where}: {reason}", offset=self.bytes_written) from None
        self.bytes_written += len(data)

    def _write_setup(self) -> None:
        for name, payload in self._setup:
            self._write(make_chunk(name, payload))
            self._ledger.chunk(name, len(payload))

    def write_actor(self, actor: Actor) -> None:
        """Writes an actor, a newer revision of one, or one once more.

        A revision goes on from the one before where that is alive and has all its parts.
        """
        self._check_open()
        self._course = None
        before = self._cast.actor((actor.number, actor.revision - 1))
        if before is not None and (before.reference is not None or not _goes_on(before, actor)):
            before = None
        payload = actor.pack(before)
        try:
            revision, _ = self._cast.read_actor(payload)
            self._cast.add_actor(actor, self.header)
        except FevError as error:
            raise UsageError(error.message) from None
        self._write(make_chunk("ACTR", payload))
        self._ledger.chunk("ACTR", len(payload), revision.sizes())

    def write_set(self, given: Set) -> None:
        """Writes a set, for the first time or once more."""
        self._check_open()
        self._course = None
        payload = given.pack(self.header)
        try:
            self._cast.add_set(Set.unpack(payload, self.header, Limits()), self.header)
        except FevError as error:
            raise UsageError(error.message) from None
        self._write(make_chunk("SETT", payload))
        self._ledger.chunk("SETT", len(payload))

    def write_video(self, config: VideoConfig) -> None:
        """Writes what the video packets are, for the first time or once more."""
        self._check_open()
        self._course = None
        payload = config.pack()
        try:
            self._cast.add_video(config)
        except FevError as error:
            raise UsageError(error.message) from None
        self._write(make_chunk("VIDH", payload))
        self._ledger.chunk("VIDH", len(payload))

    @property
    def alive(self) -> Cast:
        """What a segment may name now."""
        return self._cast

    def _repeat_cast(self) -> None:
        """What is alive, each actor complete: a receiver that joins has no revision before."""
        for given in list(self._cast.sets.values()):
            self.write_set(given)
        if self._cast.video is not None:
            self.write_video(self._cast.video)
        for alive in list(self._cast.actors.values()):
            payload = alive[-1].pack()
            self._cast.add_actor(alive[-1], self.header)
            self._write(make_chunk("ACTR", payload))
            self._ledger.chunk("ACTR", len(payload), unpack_actor(payload, Limits()).sizes())

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError("the writer is closed")

    def write_segment(self, segment: Segment) -> int:
        """Writes the next segment and returns the bytes it took.

        Segments come in order: index and first frame go on where the last one ended, and so does
        time. A segment with a `part` is a part of one: the first begins it, the others follow it
        with nothing between.
        """
        self._check_open()
        if segment.part:
            return self._write_part(segment)
        self._course = None
        if segment.index != self.segments or segment.first_frame != self.frames:
            raise UsageError(
                f"segment {segment.index} at frame {segment.first_frame} does not follow: "
                f"expected segment {self.segments} at frame {self.frames}"
            )
        if segment.audio and not self.header.has_audio:
            raise UsageError("a segment has audio, but the stream was opened without")
        coders = None if segment.part is None else PartCoders(self.header.params, self.header.placement)
        payload = segment.pack(self.header, coders, self._number)
        if self._last_pts is not None and int(segment.pts[0]) <= self._last_pts:
            raise UsageError(f"segment {segment.index} does not begin after the one before ended")
        # The reader's own parser looks at it once: what it would refuse must not be written.
        try:
            parts = parse(payload, self.header, Limits())
        except FevError as error:
            raise UsageError(error.message, segment=segment.index) from None
        missing = self._cast.missing(parts, self.header)
        if missing:
            raise UsageError(f"segment {segment.index} needs {named(missing[0])[1]}, which is not there")
        before = self.bytes_written
        if self._repeat and self.segments and self.segments % self._repeat == 0:
            self._write_setup()
            self._repeat_cast()
        self._index.add(self.segments, self.bytes_written)
        self._write(make_chunk("SEGM", payload))
        self._ledger.chunk("SEGM", len(payload), parts.sizes)
        self._last_pts = int(segment.pts[-1])
        self.segments += 1
        self.frames += segment.frames
        if coders is not None:
            self._course, self._coders = Course.begin(parts, self._number), coders
            self._number = self._course.number
        return self.bytes_written - before

    def _write_part(self, segment: Segment) -> int:
        """Writes a further part of the segment that was begun."""
        course, coders = self._course, self._coders
        if course is None or coders is None:
            raise UsageError(f"part {segment.part} of segment {segment.index} follows no other")
        if segment.audio and not self.header.has_audio:
            raise UsageError("a segment has audio, but the stream was opened without")
        self._course = None  # a part that fails is the segment's end: the coders may have gone on
        content = pack_part(segment, self.header, course, coders)
        try:
            parts = parse_part(content, self.header, Limits(), course)
        except FevError as error:
            raise UsageError(error.message, segment=segment.index) from None
        data = make_part(content)
        self._write(data)
        self._ledger.part(len(data), parts.sizes)
        course.go_on(parts)
        self._course, self._number = course, course.number
        self._last_pts = int(segment.pts[-1])
        self.frames += segment.frames
        return len(data)

    def close(self, index: bool = True) -> None:
        """Writes the index (if wanted and useful) and the end. The stream itself stays open. Twice
        does no harm."""
        if self._closed:
            return
        if self.header.frame_count not in (UNKNOWN_FRAMES, self.frames):
            raise UsageError(f"the header promises {self.header.frame_count} frames, {self.frames} were written")
        self._closed = True
        payload = self._index.pack() if index else b""
        distance = 0
        if payload:
            chunk = make_chunk("indx", payload)
            distance = len(chunk)
            self._write(chunk)
            self._ledger.chunk("indx", len(payload))
        end = End(self.segments, self.frames, distance).pack()
        self._write(make_chunk("FEND", end))
        self._ledger.chunk("FEND", len(end))
        flush = getattr(self._stream, "flush", None)
        if callable(flush):
            flush()

    def sections(self) -> dict[str, int]:
        """Bytes written per section; they add up to bytes_written."""
        return self._ledger.sections()

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()


def _goes_on(before: Actor, actor: Actor) -> bool:
    """Whether a revision may be sent as what differs from the one before."""
    return set(before.parts) <= set(actor.parts) and dict(before.parts) != dict(actor.parts)
