"""The last two chunks: `indx`, where some segments begin, and FEND, the totals. Hints and checks,
no content."""

from __future__ import annotations

from typing import NamedTuple

from .errors import DamagedError, check
from .limits import Limits
from .wire import Pack, Take

FIRST_STRIDE = 8
MOST_ENTRIES = 128


class End(NamedTuple):
    """Payload of FEND: totals, and how many bytes before the FEND chunk the `indx` chunk begins (0
    = there is none)."""

    segments: int
    frames: int
    index_distance: int

    def pack(self) -> bytes:
        return Pack().varint(self.segments).varint(self.frames).varint(self.index_distance).bytes()

    @classmethod
    def unpack(cls, data: bytes) -> End:
        take = Take(data, "end chunk")
        end = cls(take.varint(), take.varint(), take.varint())
        take.end()
        return end


class IndexBuilder:
    """Remembers the offset of every `stride`th segment; the stride doubles rather than the
    memory."""

    def __init__(self) -> None:
        self.stride = FIRST_STRIDE
        self.offsets: list[int] = []

    def add(self, segment: int, offset: int) -> None:
        if segment % self.stride:
            return
        self.offsets.append(offset)
        if len(self.offsets) > MOST_ENTRIES:
            self.offsets = self.offsets[::2]
            self.stride *= 2

    def pack(self) -> bytes:
        """Empty when it would tell nothing: the first segment is found without it."""
        if len(self.offsets) < 2:
            return b""
        return pack_index(self.stride, self.offsets)


def pack_index(stride: int, offsets: list[int]) -> bytes:
    """Payload of `indx`: stride, count, and the offsets of segments 0, stride, 2 * stride ... as
    differences."""
    pack = Pack().varint(stride).varint(len(offsets))
    for before, offset in zip([0, *offsets], offsets, strict=False):
        pack.varint(offset - before)
    return pack.bytes()


def unpack_index(data: bytes, own_offset: int, limits: Limits | None = None) -> tuple[int, list[int]]:
    """Stride and offsets. Raises DamagedError if offsets stand still or lie after the index
    itself."""
    take = Take(data, "index")
    stride = take.varint(name="stride")
    count = take.varint((limits or Limits()).max_index_entries, "number of entries")
    check(stride and count, "the index is empty")
    check(count <= take.left(), "the index announces more entries than it has bytes")
    offsets: list[int] = []
    at = 0
    for _ in range(count):
        step = take.varint(name="offset")
        if not step:
            raise DamagedError("the index stands still")
        at += step
        check(at < own_offset, "the index points behind itself")
        offsets.append(at)
    take.end()
    return stride, offsets
