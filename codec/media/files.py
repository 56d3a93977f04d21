"""Files as callers give them: paths and open files, opened to read or to write; what the system
says is a FevError.

The package's front (`fev.encode` and its like) and the commands (`fev.tools.common`) open every
file here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, TypeGuard

from ...format.errors import FevError, about
from .arguments import check_destination, check_source
from .foreign import address
from .outfile import check_apart, output_file


def is_path(file: Any) -> TypeGuard[str | os.PathLike[str]]:
    """Whether this is a path, and not an open file."""
    return isinstance(file, (str, os.PathLike))


@contextmanager
def system_errors(file: Any) -> Iterator[None]:
    """What the system says of a file becomes a FevError.

    Args:
        file: path or open file that it is about where the system does not say.
    """
    try:
        yield
    except OSError as error:
        name = error.filename or (file if is_path(file) else getattr(file, "name", "a file"))
        raise FevError(f"{os.fspath(name)}: {error.strerror or error}") from error
    except MemoryError as error:
        raise FevError("not enough memory") from error


def open_path(path: str | os.PathLike[str]) -> BinaryIO:
    """The file of a path, open to read.  Raises FevError, which tells an address from a path."""
    wrong = address(path)
    if wrong:
        raise FevError(wrong)
    try:
        return open(path, "rb")
    except (OSError, ValueError) as error:  # ValueError: a zero byte in a name
        said = getattr(error, "strerror", None) or error
        raise FevError(f"{os.fspath(path)}: cannot be opened: {said}") from error


@contextmanager
def open_stream(src: Any) -> Iterator[BinaryIO]:
    """A `.fev` stream to read, of a path or an open file; what is wrong inside is said with a
    path's name.
    """
    check_source(src)
    if not is_path(src):
        yield src
        return
    with open_path(src) as file, about(os.fsdecode(src)):
        yield file


@contextmanager
def open_output(dst: Any, *inputs: Any) -> Iterator[BinaryIO]:
    """A file to write, of a path or an open file.

    A path is written under a temporary name in the same folder, and renamed when all went well.

    Args:
        inputs: paths and open files that must not be replaced by it; None counts for nothing.
    """
    check_destination(dst)
    if not is_path(dst):
        check_apart(dst, inputs)
        yield dst
        return
    with output_file(os.fsdecode(dst), force=True, inputs=inputs) as file:
        yield file
