"""A look-ahead over anything with read(): files, pipes, sockets. `chunk.py` reads chunks from
it."""

from __future__ import annotations

from typing import Any

from .errors import FevError, UsageError

_PIECE = 1 << 16  # read in pieces: a length field alone must not make us take memory


class Source:
    """Counts the bytes consumed; `offset` is the place of the next one.

    Args:
        stream: anything with read(n) -> bytes that returns b"" at the end. Short reads are fine.
    """

    def __init__(self, stream: Any) -> None:
        if not callable(getattr(stream, "read", None)):
            raise UsageError("a stream must have read()")
        self._stream = stream
        self._buffer = bytearray()
        self._start = 0  # of what is still unread, within the buffer
        self._ended = False
        self.offset = 0
        self._base = 0
        self.seekable = False
        try:
            self.seekable = bool(stream.seekable())
            if self.seekable:
                self._base = stream.tell()
        except (AttributeError, OSError, ValueError):
            self.seekable = False

    def _read(self, count: int) -> bytes:
        try:
            data = self._stream.read(count)
        except FevError:
            raise
        except (OSError, ValueError) as error:
            raise FevError(f"reading failed: {error}", offset=self.offset) from None
        if data is None:  # a non-blocking stream without data: we cannot wait for it
            raise FevError("the stream has no data yet; give a blocking one", offset=self.offset)
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise UsageError("the stream does not return bytes: open it in binary mode")
        return bytes(data)

    def peek(self, count: int) -> bytes:
        """The next `count` bytes, or fewer if the stream ends before, without consuming them."""
        while len(self._buffer) - self._start < count and not self._ended:
            data = self._read(min(_PIECE, count - (len(self._buffer) - self._start)))
            if not data:
                self._ended = True
            self._buffer += data
        return bytes(self._buffer[self._start : self._start + count])

    def skip(self, count: int) -> None:
        """Consumes bytes that were peeked."""
        count = min(count, len(self._buffer) - self._start)
        self._start += count
        self.offset += count
        if self._start >= _PIECE or self._start == len(self._buffer):
            del self._buffer[: self._start]
            self._start = 0

    def seek(self, offset: int) -> None:
        """Goes to an offset counted from where the stream stood at first. Raises UsageError if it
        cannot."""
        if not self.seekable:
            raise UsageError("the stream cannot seek")
        try:
            self._stream.seek(self._base + offset)
        except (OSError, ValueError) as error:
            raise FevError(f"seeking failed: {error}", offset=offset) from None
        self._buffer.clear()
        self._start = 0
        self._ended = False
        self.offset = offset

    def size(self) -> int:
        """Bytes of a seekable stream, from where it stood at first. Leaves the place as it is."""
        if not self.seekable:
            raise UsageError("the stream cannot seek")
        try:
            end = self._stream.seek(0, 2)
        except (OSError, ValueError) as error:
            raise FevError(f"seeking failed: {error}") from None
        self.seek(self.offset)
        return max(0, int(end) - self._base)
