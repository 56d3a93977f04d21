"""Where written bytes go: a file object that never fails in front of FFmpeg.

`fev.codec.media.mux` writes through it.  An exception inside FFmpeg's write callback leaves a muxer
half initialised, and its next call may crash the process.  So the first failure is kept here, later
bytes are dropped, and the writer asks with check() after every step.
"""

from __future__ import annotations

import os
from typing import Any


def can_seek(file: Any) -> bool:
    """True if bytes written before can be changed: a file, not a pipe."""
    return hasattr(file, "seek") and (not hasattr(file, "seekable") or bool(file.seekable()))


class MuxTarget:
    """Write-only view of a binary file object; keeps the first failure."""

    def __init__(self, file: Any):
        self._file = file
        self._error: BaseException | None = None
        self._silent = False

    def write(self, data: bytes | memoryview) -> int:
        self._attempt(self._write_all, data)
        return len(data)

    def flush(self) -> None:
        if hasattr(self._file, "flush"):
            self._attempt(self._file.flush)

    def check(self) -> None:
        """Raise what went wrong since the last check."""
        error, self._error = self._error, None
        if error is not None:
            self._silent = True
            raise error

    def give_up(self) -> None:
        """Drop everything from now on."""
        self._silent = True

    def for_muxer(self) -> MuxTarget:
        """Self, with seek and tell where the file has them: FFmpeg takes their presence for a
        promise.
        """
        return SeekableMuxTarget(self) if can_seek(self._file) else self

    def _attempt(self, call: Any, *args: Any) -> Any:
        if self._silent or self._error is not None:
            return None
        try:
            return call(*args)
        except BaseException as error:  # noqa: BLE001 - Ctrl-C too: FFmpeg would swallow it
            self._error = error
            return None

    def _write_all(self, data: bytes | memoryview) -> None:
        rest = memoryview(data)
        while rest:
            done = self._file.write(rest)
            rest = rest[len(rest) if done is None else done :]


class SeekableMuxTarget(MuxTarget):
    """A MuxTarget with a position, sharing the failure of the one it was made from."""

    def __init__(self, base: MuxTarget):
        self._base = base
        self._file = base._file
        self._pos: int = self._file.tell()

    def write(self, data: bytes | memoryview) -> int:
        self._pos += len(data)
        return self._base.write(data)

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._pos

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        moved = self._base._attempt(self._file.seek, offset, whence)
        if moved is None:  # after a failure only the numbers have to go on
            moved = offset if whence == os.SEEK_SET else self._pos + (offset if whence == os.SEEK_CUR else 0)
        self._pos = int(moved)
        return self._pos
