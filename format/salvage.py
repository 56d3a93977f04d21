"""Sound chunks out of a stream of bytes, going around damage if allowed to. `reader.py` gives them
meaning."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .chunk import FRAME_BYTES, HEAD_BYTES, Chunk, next_sync, parse_head, read_chunk
from .errors import FevError, LimitError
from .ledger import Ledger
from .limits import Limits
from .source import Source

# A false header makes us check bytes in vain; a hostile stream is full of them. Beyond this it is
# given up.
_VAIN_BYTES = 256 << 20


class Damage(NamedTuple):
    """One thing lost or wrong.

    Attributes:
        chunk: type of the damaged chunk, None if not even that is known.
        offset: where the damage begins, in bytes from the start of the stream.
        segment: index of the lost segment, None if no segment was lost.
        seconds: presentation time at which the lost segment begins (estimated), None likewise.
        reason: one line.
    """

    chunk: str | None
    offset: int
    segment: int | None
    seconds: float | None
    reason: str

    def __str__(self) -> str:
        what = f"segment {self.segment}" if self.segment is not None else (self.chunk or "between chunks")
        when = "" if self.seconds is None else f" at {self.seconds:.3f} s"
        return f"{what}{when}, byte {self.offset}: {self.reason}"


class Region(NamedTuple):
    """A stretch that could not be read, before it is known what was in it."""

    chunk: str | None
    offset: int
    reason: str


def settle(regions: list[Region], segments: range, begin: Callable[[int], float], here: int) -> list[Damage]:
    """Says what the unreadable regions before a sound chunk were.

    Args:
        regions: in the order of the stream.
        segments: indices that should have come before the sound chunk and did not.
        begin: presentation time in seconds of a segment.
        here: offset of the place to blame where nothing unreadable was met.
    """
    found = []
    likely = [region for region in regions if region.chunk in ("SEGM", None)] if segments else []
    for place, segment in enumerate(segments):
        blamed = likely[min(place, len(likely) - 1)] if likely else Region(None, here, "the segment is missing")
        found.append(Damage("SEGM", blamed.offset, segment, begin(segment), blamed.reason))
    found += [
        Damage(region.chunk, region.offset, None, None, region.reason) for region in regions if region not in likely
    ]
    return found


class ChunkStream:
    """Sound chunks one after another.

    Args:
        source: where to read.
        ledger: skipped bytes are booked there as overhead; whole chunks are not.
        salvage: on damage, look for the next sound chunk instead of raising.

    Attributes:
        regions: unreadable stretches since the caller last emptied the list.
    """

    def __init__(self, source: Source, ledger: Ledger, limits: Limits, salvage: bool) -> None:
        self.source = source
        self.regions: list[Region] = []
        self._ledger = ledger
        self._limits = limits
        self._salvage = salvage
        self._covered = 0  # bytes up to here belong to a region already listed
        self._vain = 0

    def next(self) -> Chunk | None:
        """The next chunk, or None at the end of the stream. Strict: raises FevError at the first
        damage."""
        while True:
            try:
                return read_chunk(self.source, self._limits.max_chunk_bytes)
            except FevError as error:
                if not self._salvage:
                    raise
                self._list(error)
            before = self.source.offset
            found = next_sync(self.source)
            self._ledger.add("overhead", self.source.offset - before)
            if not found:
                return None

    def _list(self, error: FevError) -> None:
        start = self.source.offset
        name, size = None, 1
        try:
            name, payload = parse_head(self.source.peek(HEAD_BYTES), start)
            size = FRAME_BYTES + payload
        except FevError:
            pass
        self._vain += min(size, self._limits.max_chunk_bytes)
        if self._vain > _VAIN_BYTES:
            raise LimitError("the stream is too damaged to be worth salvaging", offset=start)
        # What looks like a header inside a chunk already given up is most likely a part of that
        # chunk.
        if start >= self._covered and len(self.regions) < self._limits.max_damage:
            self.regions.append(Region(name, start, error.message))
        self._covered = max(self._covered, start + size)
