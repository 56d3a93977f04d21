"""Finding a segment in a stream that can seek. The index is a hint; only sound segments are
believed."""

from __future__ import annotations

from collections.abc import Callable

from .chunk import HEAD_BYTES, SYNC, Chunk, next_sync, parse_head, read_chunk
from .errors import FevError
from .header import Header
from .index import End, unpack_index
from .limits import Limits
from .source import Source
from .taken import Parts, parse

_END_BYTES = 64  # the end chunk is never longer
Key = Callable[[Parts], int]  # what is searched by: something that rises from segment to segment


def read_end(source: Source, limits: Limits) -> tuple[int, End] | None:
    """Offset and content of the end chunk; None if it is not where the stream ends.  Leaves the
    source anywhere."""
    try:
        source.seek(max(0, source.size() - _END_BYTES))
        at = source.peek(_END_BYTES).rfind(SYNC + b"FEND")
        if at < 0:
            return None
        source.skip(at)
        offset = source.offset
        chunk = read_chunk(source, limits.max_chunk_bytes)
        return None if chunk is None else (offset, End.unpack(chunk.payload))
    except FevError:
        return None


def read_index(source: Source, limits: Limits) -> tuple[int, list[int]]:
    """Stride and offsets from the end of the stream; (1, []) if there is no usable index."""
    found = read_end(source, limits)
    try:
        if found is None or not 0 < found[1].index_distance <= found[0]:
            return 1, []
        source.seek(found[0] - found[1].index_distance)
        chunk = read_chunk(source, limits.max_chunk_bytes)
        if chunk is None or chunk.type != "indx":
            return 1, []
        return unpack_index(chunk.payload, chunk.offset, limits)
    except FevError:
        return 1, []


def locate(
    source: Source,
    header: Header,
    limits: Limits,
    first: int,
    index: tuple[int, list[int]],
    key: Key,
    target: int,
    salvage: bool,
) -> tuple[Chunk, Parts] | None:
    """The last segment whose key is at most `target`, or None. `first` is an offset at or before
    the first segment."""
    start = first
    stride, offsets = index
    low, high = 0, len(offsets)
    while low < high:
        middle = (low + high) // 2
        found = _segment_at(source, header, limits, offsets[middle])
        if found is None or found[1].index != middle * stride:
            start = first  # the index is wrong somewhere: do without
            break
        if key(found[1]) <= target:
            start, low = offsets[middle], middle + 1
        else:
            high = middle
    source.seek(start)
    best = None
    while True:
        try:
            chunk = read_chunk(source, limits.max_chunk_bytes)
            parts = parse(chunk.payload, header, limits) if chunk and chunk.type == "SEGM" else None
        except FevError:
            if not salvage:
                raise
            if not next_sync(source):
                return best
            continue
        if chunk is None:
            return best
        if parts is None:
            continue
        if key(parts) > target:
            return best
        best = chunk, parts
        if key(parts) == target:
            return best


def _segment_at(source: Source, header: Header, limits: Limits, offset: int) -> tuple[Chunk, Parts] | None:
    try:
        source.seek(offset)
        if parse_head(source.peek(HEAD_BYTES), offset)[0] != "SEGM":
            return None
        chunk = read_chunk(source, limits.max_chunk_bytes)
        return None if chunk is None else (chunk, parse(chunk.payload, header, limits))
    except FevError:
        return None
