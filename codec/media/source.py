"""Where media bytes come from: a path, a file object or a pipe, made readable twice and from any
position.

`fev.codec.media.video` (pictures) and `fev.codec.media.audio` (sound) both read the same source
through it.
FFmpeg is always given a file object, never a name: a name could be a URL, a playlist or a protocol
of its own, and input from strangers must not make this program open anything else.
"""

from __future__ import annotations

import io
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO

import av

from ...format.errors import FevError, MediaError
from .arguments import check_source
from .foreign import address, foreign, is_still
from .outfile import scratch_file

MediaSource = str | os.PathLike[str] | BinaryIO

# Demuxers that read one self-contained stream.  Playlists (hls, concat, dash), image patterns and
# text formats are left out: they open other files, or turn any text file into a "video".
DEMUXERS = (
    "3dostr,aac,ac3,aiff,alaw,ape,asf,au,av1,avi,caf,dv,eac3,flac,flv,gif,h261,h263,h264,hevc,ivf,m4v,matroska,mjpeg,"
    "mov,mp3,mpeg,mpegts,mpegvideo,mxf,nut,obu,ogg,rm,vc1,w64,wav,webm,wtv,yuv4mpegpipe"
)


class SharedView(io.RawIOBase):
    """A reader with a position of its own over a shared seekable file, so that two demuxers can
    share it, each in a thread of its own.
    """

    _lock = threading.Lock()  # of all files: nothing can be hung on a caller's file, and a read is short

    def __init__(self, file: BinaryIO):
        self._file = file
        self._pos = 0
        self._size = file.seek(0, os.SEEK_END)
        self._interrupt: BaseException | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._pos

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._pos, os.SEEK_END: self._size}[whence]
        self._pos = max(0, base + offset)
        return self._pos

    def read(self, size: int | None = -1) -> bytes:
        try:
            with self._lock:
                self._file.seek(self._pos)
                data = self._file.read(-1 if size is None else size)
        except Exception:
            raise
        except BaseException as interrupt:  # noqa: BLE001 - Ctrl-C: FFmpeg would swallow it, so check() brings it back
            self._interrupt = interrupt
            return b""
        self._pos += len(data)
        return data

    def check(self) -> None:
        """Raise the Ctrl-C that came while FFmpeg was reading."""
        if self._interrupt is not None:
            raise self._interrupt

    @property
    def size(self) -> int:
        return self._size


def name_of(src: MediaSource) -> str:
    """A short printable name for messages: no folders, no control characters."""
    if isinstance(src, (str, os.PathLike)):
        name = os.path.basename(os.fspath(src)) or os.fspath(src)
    else:
        stated = getattr(src, "name", None)
        name = os.path.basename(stated) if isinstance(stated, str) else "input"
    return "".join(c if c.isprintable() else "?" for c in str(name))


def one_line(error: BaseException) -> str:
    """What an exception of PyAV or the operating system says, without its number and its own file
    name.
    """
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())


@contextmanager
def translated(name: str, doing: str) -> Iterator[None]:
    """Turn PyAV's and the system's exceptions into one MediaError line: `name: doing: cause`."""
    try:
        yield
    except (BrokenPipeError, FevError):
        raise
    except (av.FFmpegError, OSError, ValueError, EOFError, MemoryError) as error:
        raise MediaError(f"{name}: {doing}: {one_line(error)}") from error


@contextmanager
def rereadable(src: MediaSource) -> Iterator[BinaryIO]:
    """Yield a seekable binary file over `src` for as long as the block lasts.

    A pipe is copied to an unnamed temporary file first: an MP4 may keep its index at the end, and
    the encoder reads a clip more than once.  Memory stays constant; disk space of the input's size
    is needed.  A file object given by the caller is never closed here.
    """
    name = name_of(src)
    wrong = address(src)
    if wrong:
        raise MediaError(wrong)
    if isinstance(src, (str, os.PathLike)):
        try:
            file: Any = open(src, "rb")  # noqa: SIM115 - closed below, after the caller is done
        except (OSError, ValueError) as error:
            raise MediaError(f"{name}: cannot be opened: {one_line(error)}") from error
        owned = True
    else:
        check_source(src)
        file, owned = src, False
    try:
        with _seekable(file, name) as seekable:
            yield seekable
    finally:
        if owned:
            with suppress(OSError):
                file.close()


@contextmanager
def _seekable(file: Any, name: str) -> Iterator[BinaryIO]:
    test = getattr(file, "seekable", None)
    if hasattr(file, "seek") and (test is None or test()):
        yield file
        return
    with scratch_file() as spool:
        try:
            shutil.copyfileobj(file, spool, 1 << 20)
        except OSError as error:
            raise MediaError(f"{name}: cannot be read: {one_line(error)}") from error
        yield spool


def open_container(file: BinaryIO, name: str) -> tuple[av.container.InputContainer, SharedView]:
    """Open a demuxer on a seekable file; MediaError says in one line what is wrong with the bytes.

    The SharedView returned beside it must be asked with check() while the container is read.
    """
    with translated(name, "cannot be read"):
        view = SharedView(file)
        head = view.read(16)
        view.seek(0)
    if not head:
        raise MediaError(f"{name}: the file is empty")
    what = foreign(head)
    if what and is_still(head):  # FFmpeg would make a clip of one frame of it
        raise MediaError(f"{name}: is {what}")
    try:
        return av.open(view, "r", options={"format_whitelist": DEMUXERS}), view
    except (av.InvalidDataError, av.EOFError) as error:
        view.check()
        if what:
            raise MediaError(f"{name}: is {what}") from error
        if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free"):
            raise MediaError(f"{name}: truncated or damaged MP4: it has no usable index (moov)") from error
        raise MediaError(f"{name}: not a video file that can be read") from error
    except (av.FFmpegError, OSError, ValueError, EOFError) as error:
        if what:
            raise MediaError(f"{name}: is {what}") from error
        # A format that is not let in is an invalid argument to FFmpeg, which helps nobody.
        cause = "" if isinstance(error, av.ArgumentError) else f": {one_line(error)}"
        raise MediaError(f"{name}: not a video file that can be read{cause}") from error
