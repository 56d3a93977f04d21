"""Chunk framing: sync, type, length, header check, payload, CRC-32. What the payloads mean:
`reader.py`, `writer.py`.

    F5 ED | type: 4 letters | payload length: u24 | CRC-16 of type and length
          | payload | CRC-32 of type, length and payload

All little-endian. An upper-case first letter marks a chunk that a reader must understand
(critical); a lower-case one may be skipped (ancillary).

Parts of a segment stand between chunks, in a shorter frame: `make_part`.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

from .errors import DamagedError, LimitError, TruncatedError, UsageError
from .source import Source
from .wire import MAX_VARINT_BYTES, Pack, crc16

SIGNATURE = b"\x89FEV\r\n\x1a\n"
SYNC = b"\xf5\xed"
PART_SYNC = b"\xf5\xee"
PART = "+"  # the type of a part of a segment, which no chunk can have
HEAD_BYTES = 11
TAIL_BYTES = 4
FRAME_BYTES = HEAD_BYTES + TAIL_BYTES
MAX_PAYLOAD = (1 << 24) - 1
_WINDOW = 256  # small, because on a slow live stream every byte looked at is time to wait


class Chunk(NamedTuple):
    type: str
    offset: int  # of the sync, from the start of the stream
    payload: bytes

    @property
    def size(self) -> int:
        return len(make_part(self.payload)) if self.type == PART else FRAME_BYTES + len(self.payload)


def is_critical(name: str) -> bool:
    return name[0].isupper()


def make_chunk(name: str, payload: bytes) -> bytes:
    if len(payload) > MAX_PAYLOAD:
        raise UsageError(f"a {name} chunk cannot hold {len(payload)} bytes")
    head = name.encode("ascii") + struct.pack("<I", len(payload))[:3]
    body = head + struct.pack("<H", crc16(head)) + payload
    return SYNC + body + struct.pack("<I", zlib.crc32(payload, zlib.crc32(head)))


def make_part(content: bytes) -> bytes:
    """A part of a segment as it stands in a stream of bytes:

    F5 EE | size: varint | content | CRC-16 of size and content
    """
    body = Pack().varint(len(content)).raw(content).bytes()
    return PART_SYNC + body + struct.pack("<H", crc16(body))


def parse_head(data: bytes, offset: int) -> tuple[str, int]:
    """Type and payload length from the first HEAD_BYTES of a chunk. Raises DamagedError."""
    if data[:2] != SYNC:
        raise DamagedError("no chunk begins here", offset=offset)
    name = data[2:6]
    if crc16(data[2:9]) != int.from_bytes(data[9:11], "little"):
        raise DamagedError("a chunk header fails its check", offset=offset)
    # bytes.isalpha is ASCII only, unlike str.isalpha.
    if not name.isalpha():
        raise DamagedError("a chunk type is not four letters", offset=offset)
    return name.decode("ascii"), int.from_bytes(data[6:9], "little")


def read_chunk(source: Source, max_bytes: int) -> Chunk | None:
    """The chunk at the source's place, checked; None at the end of the stream.

    On an error the source stays where the chunk began, so that a salvaging reader can look for the
    next one.
    """
    start = source.offset
    if source.peek(len(PART_SYNC)) == PART_SYNC:  # it may be shorter than a chunk's head, and must not wait for more
        return _read_part(source, max_bytes)
    head = source.peek(HEAD_BYTES)
    if not head:
        return None
    if len(head) < HEAD_BYTES:
        raise TruncatedError("the stream ends inside a chunk header", offset=start)
    name, length = parse_head(head, start)
    if length > max_bytes:
        raise LimitError(f"a {name} chunk of {length} bytes, the limit is {max_bytes}", offset=start)
    whole = source.peek(FRAME_BYTES + length)
    if len(whole) < FRAME_BYTES + length:
        raise TruncatedError(f"the stream ends inside a {name} chunk", offset=start)
    payload = whole[HEAD_BYTES:-TAIL_BYTES]
    if zlib.crc32(payload, zlib.crc32(whole[2:9])) != int.from_bytes(whole[-TAIL_BYTES:], "little"):
        raise DamagedError(f"a {name} chunk fails its check", offset=start)
    source.skip(len(whole))
    return Chunk(name, start, payload)


def _read_part(source: Source, max_bytes: int) -> Chunk:
    start, at, size = source.offset, len(PART_SYNC), 0
    for shift in range(0, 7 * MAX_VARINT_BYTES, 7):
        head = source.peek(at + 1)
        if len(head) <= at:
            raise TruncatedError("the stream ends inside a part", offset=start)
        size, at = size | (head[at] & 127) << shift, at + 1
        if head[-1] < 128:
            break
    else:
        raise DamagedError("the size of a part is too long", offset=start)
    if size > max_bytes:
        raise LimitError(f"a part of {size} bytes, the limit is {max_bytes}", offset=start)
    whole = source.peek(at + size + 2)
    if len(whole) < at + size + 2:
        raise TruncatedError("the stream ends inside a part", offset=start)
    content = whole[at:-2]
    if whole != make_part(content):
        raise DamagedError("a part fails its check", offset=start)
    source.skip(len(whole))
    return Chunk(PART, start, content)


def next_sync(source: Source) -> bool:
    """Moves on, by at least one byte, to the next place that has a sync and a sound chunk header.
    False at the end."""
    source.skip(1)
    while True:
        window = source.peek(_WINDOW)
        at = window.find(SYNC)
        while at >= 0:
            head = source.peek(at + HEAD_BYTES)[at:]
            if len(head) == HEAD_BYTES and crc16(head[2:9]) == int.from_bytes(head[9:11], "little"):
                source.skip(at)
                return True
            at = window.find(SYNC, at + 1)
        if len(window) < _WINDOW:
            source.skip(len(window))
            return False
        source.skip(len(window) - len(SYNC) + 1)
