"""Where the bytes come from: a file, standard input, or an HTTP server, which can seek if it serves ranges."""

from __future__ import annotations

import http.client
import io
import sys
import urllib.error
import urllib.request
from typing import Any, BinaryIO

from ...format.errors import FevError

TIMEOUT = 20.0  # seconds without a byte
SCHEMES = ("http://", "https://")


class HttpFile(io.RawIOBase):
    """The body of a URL as a file.  Seeks by asking again from another byte on, where the server serves ranges."""

    def __init__(self, url: str):
        self.url, self.place, self._size = url, 0, None  # type: str, int, int | None
        self._ranges = False
        self._body: Any = None
        self._open()

    def _open(self) -> None:
        try:
            request = urllib.request.Request(self.url, headers={"Range": f"bytes={self.place}-"})  # noqa: S310
            self._body = urllib.request.urlopen(request, timeout=TIMEOUT)  # noqa: S310
        except (OSError, ValueError, http.client.HTTPException) as error:
            if isinstance(error, urllib.error.HTTPError):
                error.close()
                if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and self._ranges:
                    self._body = io.BytesIO()  # at the end or beyond
                    return
            reason = getattr(error, "reason", error)
            reason = getattr(reason, "strerror", None) or reason
            raise FevError(f"{self.url}: cannot be opened: {reason}") from None
        served = self._body.headers.get("Content-Range", "")
        if self._body.status == http.HTTPStatus.PARTIAL_CONTENT and served.startswith(f"bytes {self.place}-"):
            total = served.rpartition("/")[2]
            self._ranges = True
            self._size = int(total) if total.isdecimal() else None
        elif self.place:
            self._body.close()
            raise FevError(f"{self.url}: the server does not serve parts any more")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._ranges and self._size is not None

    def read(self, count: int = -1) -> bytes:
        if self._body is None:
            self._open()
        try:
            data: bytes = self._body.read(count) if count >= 0 else self._body.read()
        except (OSError, http.client.HTTPException) as error:
            raise FevError(f"{self.url}: broke off: {error}") from None
        self.place += len(data)
        return data

    def tell(self) -> int:
        return self.place

    def seek(self, offset: int, whence: int = 0) -> int:
        if not self.seekable():
            raise io.UnsupportedOperation("the server serves no parts")
        start = (0, self.place, self._size or 0)[whence]
        place = max(0, start + offset)
        if place != self.place:
            self._drop()
            self.place = place
        return place

    def _drop(self) -> None:
        if self._body is not None:
            self._body.close()
            self._body = None

    def close(self) -> None:
        self._drop()
        super().close()


def open_input(name: str) -> BinaryIO:
    """A file's name, a URL, or - for standard input.  Raises FevError where it cannot be opened."""
    if name == "-":
        return sys.stdin.buffer
    if name.startswith(SCHEMES):
        return HttpFile(name)  # type: ignore[return-value]
    try:
        return open(name, "rb")
    except (OSError, ValueError) as error:
        raise FevError(f"{name}: cannot be opened: {getattr(error, 'strerror', None) or error}") from None
