"""A stream with other metadata: what is said of a whole clip may be known only when it is written."""

from __future__ import annotations

from typing import Any

from .chunk import PART, SIGNATURE, make_chunk, make_part, read_chunk
from .errors import NotFevError, TruncatedError
from .index import End, IndexBuilder
from .limits import Limits
from .meta import Meta, pack_meta
from .source import Source


def with_meta(stream: Any, out: Any, meta: Meta) -> int:
    """Copy a whole and sound stream chunk by chunk; its index is made anew.

    Args:
        stream: anything with read().
        out: anything with write().
        meta: takes the place of what there is; {} = none.

    Returns:
        Bytes written.

    Raises:
        FevError: where the stream is not one.
    """
    source, limits = Source(stream), Limits()
    if source.peek(len(SIGNATURE)) != SIGNATURE:
        raise NotFevError("not a .fev stream", offset=0)
    source.skip(len(SIGNATURE))
    index, written, segments = IndexBuilder(), 0, 0
    has_index, due = False, False

    def write(data: bytes) -> None:
        nonlocal written
        out.write(data)
        written += len(data)

    write(SIGNATURE)
    while (chunk := read_chunk(source, limits.max_chunk_bytes)) is not None:
        if due and chunk.type != "AUDH":  # the set-up is HEAD, AUDH, meta
            due = False
            write(make_chunk("meta", pack_meta(meta)))
        if chunk.type == "SEGM":
            index.add(segments, written)
            segments += 1
        if chunk.type == "HEAD":
            due = bool(meta)
        if chunk.type == "indx":
            has_index = True
        elif chunk.type == "FEND":
            payload = index.pack() if has_index else b""
            indx = make_chunk("indx", payload) if payload else b""
            end = End.unpack(chunk.payload)._replace(index_distance=len(indx))
            write(indx + make_chunk("FEND", end.pack()))
            return written
        elif chunk.type == PART:
            write(make_part(chunk.payload))
        elif chunk.type != "meta":
            write(make_chunk(chunk.type, chunk.payload))
    raise TruncatedError("the stream ends before its end chunk", offset=source.offset)
