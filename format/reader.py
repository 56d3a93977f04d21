"""Reads a .fev stream from anything with read(): set-up first, then segments. `writer.py` wrote it.

Two manners. Strict (the default): the first byte that breaks a rule raises a FevError. Salvage:
damage is stepped over and listed, and every intact segment is delivered; a receiver that joins late
is the same case.

The file is longer than others: what a reader knows of where it is, chunks, segments, their parts and
seeking all need and change.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .cast import Need
from .casting import CAST, Casting, named
from .chunk import PART, SIGNATURE, Chunk, is_critical
from .errors import (
    DamagedError,
    FevError,
    LimitError,
    ModelMismatchError,
    NotFevError,
    TruncatedError,
    UnsupportedError,
    UsageError,
    check,
)
from .header import UNKNOWN_FRAMES
from .index import End, unpack_index
from .ledger import Ledger
from .limits import Limits
from .order import BODY, Order
from .part import Course, joined, parse_part
from .partcode import PartCoders
from .reference import Identities
from .salvage import ChunkStream, Damage, settle
from .seeking import Key, locate, read_end, read_index
from .segment import Segment
from .sequence import Sequence
from .setup import SETUP
from .source import Source
from .taken import Parts, parse

_FATAL = (LimitError, ModelMismatchError, UnsupportedError)  # of the header: salvage cannot help
_MOST_SOUGHT = 64  # lost actors and sets that are looked for: each look may read all that follows


class Reader(Casting):
    """One pass over a stream. Setup has what holds for all of it, Casting the actors and sets.

    Args:
        stream: anything with read(n) -> bytes; short reads are fine. seek() is used only where it
            is needed.
        limits: what to refuse before memory is taken for it.
        salvage: step over damage instead of raising.
        shallow: leave the modes, by far the longest of an actor to decode, as they came.
        identities: finds the identity of a hash; asked by `who` where an actor only refers to one.

    Attributes:
        damage: list of Damage found so far, in salvage.
        end: End(segments, frames, ...) once it was read, else None.
        joined: the stream does not begin with its signature, in salvage.

    Raises FevError members. In salvage only when nothing at all can be decoded, when Limits are too
    small for the stream, or when it was made for other tables or a newer reader. A segment whose
    actor was lost is delivered: its integers are whole. `who` says then that the actor is not
    there.
    """

    def __init__(
        self,
        stream: Any,
        *,
        limits: Limits | None = None,
        salvage: bool = False,
        shallow: bool = False,
        identities: Identities | None = None,
    ) -> None:
        super().__init__(limits or Limits(), identities, ordered=not salvage, shallow=shallow)
        self.salvage = salvage
        self.damage: list[Damage] = []
        self.end: End | None = None
        self._stream = stream
        self._source = Source(stream)
        self._ledger = Ledger()
        self._chunks = ChunkStream(self._source, self._ledger, self.limits, salvage)
        self._order = Order()
        self._index_at: int | None = None
        self._at = Sequence()
        self.joined = False
        self._unplaced = False  # joined, and nobody knows yet how many segments went by
        self._jumped = False  # segments were left out: so may have been chunks that others need
        self._hint: tuple[int, list[int]] | None = None
        self._pending: Chunk | None = None
        self._first_segment = 0
        self._lost: set[Need] = set()  # what was looked for in vain
        self._course: Course | None = None  # of a segment in parts that may go on
        self._in_parts = False  # the last segment is one, whole or not
        self._coders: PartCoders | None = None  # as the last part that was decoded left them
        self._read_signature()
        self._begin = self._source.offset
        self._read_setup()

    # -- set-up ------------------------------------------------------------------------------------

    def close(self) -> None:
        """Closes the stream, if it can be closed."""
        close = getattr(self._stream, "close", None)
        if callable(close):
            close()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _read_signature(self) -> None:
        start = self._source.peek(len(SIGNATURE))
        if start == SIGNATURE:
            self._source.skip(len(SIGNATURE))
            self._ledger.add("header", len(SIGNATURE))
        elif start and SIGNATURE.startswith(start):
            raise TruncatedError("the stream ends inside the signature", offset=0)
        elif not start or not self.salvage:
            raise NotFevError("not a .fev stream" if start else "the stream is empty", offset=0)
        else:
            self.joined = self._unplaced = True

    def _read_setup(self) -> None:
        """Everything up to the first segment whose set-up is known."""
        while True:
            chunk = self._next()
            if chunk is None:
                break
            if chunk.type in SETUP:
                self._take_setup(chunk)
            elif chunk.type == PART and self.salvage:
                self._ledger.part(chunk.size)
            elif chunk.type in CAST and (not self.missing() or (self.salvage and "HEAD" in self.accepted)):
                self._take_cast(chunk)
            elif chunk.type in BODY and "HEAD" in self.missing() and self.salvage and not self._source.seekable:
                self._note(Damage(chunk.type, chunk.offset, None, None, f"a {chunk.type} chunk before any header"))
                self._ledger.chunk(chunk.type, len(chunk.payload))
            else:
                self._pending = chunk
                break
        self._first_segment = chunk.offset if chunk else self._source.offset
        if self.salvage and self.missing() and self._source.seekable:
            self.look_ahead(self._source, [], self._try_accept)
        missing = self.missing()
        # What is missing was most likely where the first unreadable bytes are.
        lost = self._chunks.regions[0].offset if self._chunks.regions else self._first_segment
        if "HEAD" in missing or (missing and not self.salvage):
            if chunk is None and self.salvage and not self.accepted:
                raise NotFevError("not a .fev stream, or nothing of it is intact", offset=0)
            cause = TruncatedError if chunk is None else DamagedError
            raise cause(f"the stream has no {missing[0]} chunk", offset=lost)
        for name in missing:
            self._note(Damage(name, lost, None, None, f"the stream has no {name} chunk"))

    def _take_setup(self, chunk: Chunk) -> None:
        """A set-up chunk in its place: the first of its kind, or the same once more."""
        self._ledger.chunk(chunk.type, len(chunk.payload))
        if self._order.in_body and chunk.type not in self.accepted and not self.salvage:
            raise DamagedError(f"a {chunk.type} chunk that was not there at first", offset=chunk.offset)
        self._try_accept(chunk)

    def _take_cast(self, chunk: Chunk) -> None:
        """An actor or a set in its place."""
        sizes = None
        try:
            sizes = self.add(chunk)
        except FevError as error:
            self._blame(chunk, error)
        self._ledger.chunk(chunk.type, len(chunk.payload), sizes)

    def _try_accept(self, chunk: Chunk) -> None:
        try:
            self.accept(chunk, strict=not self.salvage)
        except FevError as error:
            if isinstance(error, _FATAL) and chunk.type == "HEAD":
                raise error.at(offset=chunk.offset) from None
            self._blame(chunk, error)

    # -- chunks ------------------------------------------------------------------------------------

    def _next(self) -> Chunk | None:
        """The next chunk of a known type, in an order that is allowed."""
        while True:
            chunk = self._chunks.next()
            if chunk is None or chunk.type == PART:
                return chunk
            if not self._order.knows(chunk.type):
                self._ledger.chunk(chunk.type, len(chunk.payload))
                self._course = None
                if not self._order.begun and not self.salvage:
                    raise DamagedError(f"a {chunk.type} chunk before the header", offset=chunk.offset)
                if is_critical(chunk.type):
                    self._blame(chunk, UnsupportedError(f"chunk type {chunk.type} is unknown to this reader"))
                continue
            if not self.salvage:
                self._order.check(chunk, self.accepted)
            self._order.go_on(chunk.type)
            return chunk

    def _blame(self, chunk: Chunk, error: FevError, segment: int | None = None) -> None:
        """A sound chunk with bad content: raises, or in salvage makes a note."""
        error.at(offset=chunk.offset, segment=segment)
        if not self.salvage:
            raise error
        seconds = None if segment is None else self.begin(segment)
        kind = "SEGM" if chunk.type == PART else chunk.type
        self._note(Damage(kind, chunk.offset, segment, seconds, error.message))

    def _note(self, damage: Damage) -> None:
        if len(self.damage) < self.limits.max_damage:
            self.damage.append(damage)

    def begin(self, segment: int) -> float:
        """Where a lost segment begins, in seconds, as well as can be told."""
        head = self.header
        if head.segment_frames and head.pts_step:
            return head.seconds(segment * head.segment_frames * head.pts_step)
        return head.seconds(self._at.pts or 0)

    def _settle(self, upto: int | None) -> None:
        """Turns unreadable regions into damage, now that `upto` is known to be the next segment
        (None: unknown)."""
        regions, self._chunks.regions = self._chunks.regions, []
        if self._unplaced:
            offset = regions[0].offset if regions else 0
            self._note(Damage(None, offset, None, None, "the stream does not begin with the signature"))
            self._unplaced, regions = False, [r for r in regions if r.chunk is not None]
            upto = self._at.index = upto or 0
            self._at.linear = upto == 0
        if upto is None:  # the end is missing: all that is known is what looked like a segment
            upto = self._at.index + sum(region.chunk == "SEGM" for region in regions)
        lost = range(self._at.index, upto)
        for damage in settle(regions, lost[: self.limits.max_damage], self.begin, self._source.offset):
            self._note(damage)
        if lost:
            self._at.index = upto
            self._at.linear = False

    # -- segments ----------------------------------------------------------------------------------

    def parts(self) -> Iterator[Parts]:
        """Segments from here on with their motion still coded: what fev-info needs, and fast."""
        for _, parts in self._walk():
            if parts is not None:
                self._coders = None
                yield parts

    def segments(self) -> Iterator[Segment]:
        """Segments from here on, each whole. In salvage, lost ones are missing here and listed in
        `damage`. Of one in parts those before the first that was lost are there."""
        parts: list[Segment] = []
        try:
            for segment in self._decoded_walk():
                if parts and (segment is None or not segment.part):
                    yield joined(parts)
                    parts = []
                if segment is not None and segment.part is None:
                    yield segment
                elif segment is not None:
                    parts.append(segment)
        except FevError:
            if parts:  # what came before the fault is good
                yield joined(parts)
            raise
        if parts:
            yield joined(parts)

    def arriving(self) -> Iterator[Segment]:
        """Segments from here on, and of those that come in parts each part when it is there."""
        for segment in self._decoded_walk():
            if segment is not None:
                yield segment

    def _decoded_walk(self) -> Iterator[Segment | None]:
        """Segments and parts; None after the last part of a segment."""
        for chunk, parts in self._walk():
            if parts is None:
                yield None
                continue
            try:
                if parts.part is None:
                    segment = Segment.from_parts(parts, self.header)
                else:
                    if parts.part == 0:
                        self._coders = PartCoders(self.header.params, self.header.placement)
                    if self._coders is None:  # somebody has skipped the parts before
                        continue
                    segment = Segment.of_part(parts, self.header, self._coders)
            except FevError as error:
                self._coders = self._course = None
                self._blame(chunk, error, parts.index)
                continue
            yield segment

    def _walk(self) -> Iterator[tuple[Chunk, Parts | None]]:
        """Chunks of segments, and their parts; None for the parts at whatever follows the last of a
        segment."""
        while self.end is None:
            chunk, self._pending = self._pending or self._next(), None
            if self._course is not None and (chunk is None or chunk.type != PART):
                self._course = None
                if chunk is not None:
                    self._pending = chunk
                    yield chunk, None
                    continue
            if chunk is None:
                self._cut_off()
                return
            if chunk.type == "SEGM":
                parts = self._take_segment(chunk)
                if parts is not None:
                    yield chunk, parts
            elif chunk.type == PART:
                parts = self._take_part(chunk)
                if parts is not None:
                    yield chunk, parts
            elif chunk.type == "indx":
                self._take_index(chunk)
            elif chunk.type == "FEND":
                self._take_end(chunk)
            elif chunk.type in SETUP:
                self._take_setup(chunk)
            else:
                self._take_cast(chunk)

    def _take_segment(self, chunk: Chunk) -> Parts | None:
        try:
            parts = parse(chunk.payload, self.header, self.limits)
            if self.salvage:
                self._settle(max(parts.index, self._at.index))
                self._miss_parts(parts.first_frame, chunk.offset)
            self._at.check(parts, self.header)
            self._need(parts, chunk)
        except FevError as error:
            self._ledger.chunk("SEGM", len(chunk.payload))
            self._blame(chunk, error, self._at.index)
            self._at.linear = False
            return None
        self._ledger.chunk("SEGM", len(chunk.payload), parts.sizes)
        self._at.go_on(parts)
        self._in_parts = parts.part is not None
        self._course = Course.begin(parts, parts.number) if self._in_parts else None
        return parts

    def _take_part(self, chunk: Chunk) -> Parts | None:
        """A further part of the segment at hand."""
        course = self._course
        try:
            check(course is not None, "a part follows no other of its segment")
            assert course is not None
            parts = parse_part(chunk.payload, self.header, self.limits, course)
        except FevError as error:
            self._ledger.part(chunk.size)
            self._course = None
            if course is not None or not (self.salvage and self._in_parts):  # else one more behind a lost one
                self._blame(chunk, error, self._at.index - 1)
                self._at.linear = False
            return None
        self._ledger.part(chunk.size, parts.sizes)
        course.go_on(parts)
        self._at.extend(parts)
        return parts

    def _miss_parts(self, frame: int, offset: int) -> None:
        """In salvage: says that parts are missing where the next segment, or the end, is at a later
        frame than the parts of the last segment came to."""
        if self._in_parts and self._at.linear and frame > self._at.frame:
            index = self._at.index - 1
            self._note(Damage("SEGM", offset, index, self.begin(index), "its last parts are missing"))
            self._at.linear = False

    def _need(self, parts: Parts, chunk: Chunk) -> None:
        """What a segment names is alive, or else: DamagedError; in salvage one note a thing."""
        if self._jumped and self._sought(parts):
            self._jumped = False
            self.gather(self._source, self._begin, chunk.offset)
        if self.salvage and self._source.seekable and self._sought(parts):
            self.look_ahead(self._source, self._sought(parts), self._try_accept)
        for what in self.lacking(parts):
            kind, name = named(what)
            check(self.salvage, f"segment {parts.index} needs {name}, which is not there")
            if what not in self._lost and len(self._lost) < _MOST_SOUGHT:
                self._lost.add(what)
                self._note(Damage(kind, chunk.offset, None, None, f"{name} is lost, segment {parts.index} needs it"))

    def _sought(self, parts: Parts) -> list[Need]:
        """What a segment lacks and was not looked for in vain; nothing, once much was."""
        return [what for what in self.lacking(parts) if what not in self._lost and len(self._lost) < _MOST_SOUGHT]

    def _take_index(self, chunk: Chunk) -> None:
        self._ledger.chunk("indx", len(chunk.payload))
        self._index_at = chunk.offset
        try:
            unpack_index(chunk.payload, chunk.offset, self.limits)
        except FevError as error:
            self._blame(chunk, error)

    def _take_end(self, chunk: Chunk) -> None:
        self._ledger.chunk("FEND", len(chunk.payload))
        try:
            end = End.unpack(chunk.payload)
        except FevError as error:
            self._blame(chunk, error)
            end = End(self._at.index, self._at.frame, 0)
        if self.salvage:
            self._settle(max(self._at.index, min(end.segments, self.limits.max_segments)))
            self._miss_parts(end.frames, chunk.offset)
        self.end = end
        try:
            self._at.check_end(end, self.header)
            stated = chunk.offset - end.index_distance if end.index_distance else None
            check(self.salvage or stated == self._index_at, "the end does not point to the index")
            check(not self._source.peek(1), "bytes follow the end of the stream")
        except FevError as error:
            self._blame(chunk, error)

    def _cut_off(self) -> None:
        """The stream ended without its end chunk."""
        if not self.salvage:
            raise TruncatedError("the stream ends without its end chunk", offset=self._source.offset)
        had = self._chunks.regions
        self._settle(None)
        if not had:
            self._note(Damage(None, self._source.offset, None, None, "the stream ends without its end chunk"))
        self.end = End(self._at.index, self._at.frame, 0)

    # -- seeking -----------------------------------------------------------------------------------

    @property
    def seekable(self) -> bool:
        return self._source.seekable

    def stated_frames(self) -> int | None:
        """Frames of the whole stream as its header says, or its end where the stream can seek.  A
        hint: unchecked."""
        if self.header.frame_count != UNKNOWN_FRAMES:
            return self.header.frame_count
        if not self._source.seekable:
            return None
        back = self._source.offset
        found = read_end(self._source, self.limits)
        self._source.seek(back)
        return None if found is None else found[1].frames

    def seek(self, segment: int) -> None:
        """The next segment delivered will be the one of this index. Raises UsageError without it."""
        parts = self._seek(lambda parts: parts.index, segment)
        if parts is None or parts.index != segment:
            raise UsageError(f"the stream has no segment {segment}")

    def seek_frame(self, frame: int) -> int:
        """Goes to the segment that holds a frame (counted from 0) and returns its index."""
        parts = self._seek(lambda parts: parts.first_frame, frame)
        if parts is None or frame >= self._frames_upto(parts):
            raise UsageError(f"the stream has no frame {frame}")
        return parts.index

    def _frames_upto(self, parts: Parts) -> int:
        """Frames of the stream up to the end of a segment that is the last of those that begin
        before a frame; of one in parts as well as can be told."""
        total = None if parts.part is None else self.stated_frames()
        return parts.first_frame + len(parts.pts) if total is None else total

    def seek_pts(self, pts: int) -> int:
        """Goes to the segment shown at a time (ticks), or to the first, and returns its index."""
        parts = self._seek(lambda parts: int(parts.pts[0]), pts) or self._seek(lambda parts: parts.index, 0)
        if parts is None:
            raise UsageError("the stream has no segments")
        return parts.index

    def _seek(self, key: Key, target: int) -> Parts | None:
        if not self._source.seekable:
            raise UsageError("the stream cannot seek")
        if self._hint is None:
            self._hint = read_index(self._source, self.limits)
        found = locate(
            self._source, self.header, self.limits, self._first_segment, self._hint, key, target, self.salvage
        )
        if found is None:
            return None
        chunk, parts = found
        self._source.seek(chunk.offset + chunk.size)
        self._pending, self.end, self._jumped = chunk, None, True
        self._course = self._coders = None
        self._in_parts = False
        self.cast.ordered = False
        self._chunks.regions = []
        self._order.go_on("SEGM")
        self._at.jump(parts.index, parts.first_frame)
        return parts

    def sections(self) -> dict[str, int]:
        """Bytes read so far per section. After one pass they add up to the stream's length."""
        return self._ledger.sections()
