"""Output files that appear complete or not at all, and never in the place of an input.

`fev.encode()` and its like write through `output_file`; the commands do too, by way of
`fev.tools.common`.
"""

from __future__ import annotations

import io
import os
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO

from ...format.errors import FevError


def check_output(path: str, force: bool, inputs: Sequence[Any] = ()) -> None:
    """Refuse an output that exists (without force), is an input, or has no folder; before any work
    is done.

    Args:
        inputs: paths and open files, whichever way they lead to the same file.
    """
    if not path:
        raise FevError("the output's name is empty")
    try:
        os.stat(path)
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:  # too long a name, a circle of links, a zero byte
        raise _refusal(path, error) from error
    check_apart(path, inputs)
    if os.path.isdir(path):
        raise FevError(f"{path}: is a folder")
    target = _target(path)
    folder = os.path.dirname(target)
    if not os.path.isdir(folder):
        raise FevError(f"{path}: cannot be written: the folder {folder} does not exist")
    if is_special(path):
        return
    if os.path.lexists(path) and not force:
        raise FevError(f"{path}: exists already; --force overwrites it")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise FevError(f"{path}: cannot be written: no permission to write in {folder}")


def check_apart(output: Any, inputs: Sequence[Any]) -> None:
    """Refuse an output that is an input: the same regular file, by whatever path, link or open
    file.
    """
    there = _identity(output)
    if there is not None and any(_identity(each) == there for each in inputs if each is not None):
        name = os.fspath(output) if isinstance(output, (str, os.PathLike)) else "the output"
        raise FevError(f"{name}: is the input too; give the output another name")


def _identity(file: Any) -> tuple[int, int] | None:
    """Device and number of a regular file, by path or open; None for what cannot be overwritten by
    mistake.
    """
    with suppress(OSError, ValueError, AttributeError, TypeError):
        found = os.stat(file) if isinstance(file, (str, os.PathLike)) else os.fstat(file.fileno())
        if stat.S_ISREG(found.st_mode):
            return found.st_dev, found.st_ino
    return None


@contextmanager
def output_file(path: str, force: bool = False, inputs: Sequence[Any] = ()) -> Iterator[BinaryIO]:
    """Open `path` for writing so that it appears complete or not at all.

    Bytes go to a temporary file in the same folder, which takes the final name when the block ends
    well and is removed on any failure, Ctrl-C included.  A symbolic link stays one: its target is
    written.  Devices and pipes are written directly.  The file can be read back and can seek.
    """
    check_output(path, force, inputs)
    if is_special(path):
        with _raw(path, path, "wb") as raw, io.BufferedWriter(raw) as direct:
            yield direct
        return
    target = _target(path)
    folder, name = os.path.split(target)
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{name[:40]}.", suffix=".part", dir=folder)
    except OSError as error:
        raise _refusal(path, error) from error
    try:
        with _raw(path, handle, "r+b") as raw:
            file = io.BufferedRandom(raw)
            try:
                yield file
                file.flush()
                with suppress(OSError):  # not every file system can
                    os.fsync(handle)
            finally:
                with suppress(OSError, FevError):  # what was not written on a full disk would be tried once more
                    file.close()
        os.chmod(temporary, _mode(target))
        _settle(temporary, path, target, force)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


class _Raw(io.FileIO):
    """A file whose failed writes are named, wherever they come up."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise _refusal(self.name, error) from error


def _raw(path: str, opened: str | int, mode: str) -> _Raw:
    try:
        raw = _Raw(opened, mode)
    except OSError as error:
        raise _refusal(path, error) from error
    raw.name = path
    return raw


def _refusal(path: str, error: OSError | ValueError) -> FevError:
    return FevError(f"{path}: cannot be written: {getattr(error, 'strerror', None) or error}")


def scratch_file() -> BinaryIO:
    """A file without a name that goes when it is closed; where the disk is full the message says
    which.
    """
    with tempfile.TemporaryFile(buffering=0) as made:
        raw = _raw(f"a temporary file in {tempfile.gettempdir()}", os.dup(made.fileno()), "r+b")
    return io.BufferedRandom(raw)


def _settle(temporary: str, path: str, target: str, force: bool) -> None:
    """Give the finished file its name.  A file that appeared meanwhile is not overwritten without
    force.
    """
    try:
        if force:
            os.replace(temporary, target)
            return
        try:
            os.link(temporary, target)
        except FileExistsError:
            raise FevError(f"{path}: exists already; --force overwrites it") from None
        except OSError:  # a file system without hard links
            os.replace(temporary, target)
        else:
            os.unlink(temporary)
    except OSError as error:
        raise _refusal(path, error) from error


def _target(path: str) -> str:
    """Where the bytes lie in the end: symbolic links followed, into nothing too."""
    return os.path.realpath(path)


def _mode(path: str) -> int:
    """Permissions of the file that is replaced, or those of any new one."""
    with suppress(OSError):
        return stat.S_IMODE(os.stat(path).st_mode)
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def is_special(path: str) -> bool:
    """A device or named pipe, such as /dev/null: nothing to rename there."""
    with suppress(OSError):
        mode = os.stat(path).st_mode
        return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
    return False
