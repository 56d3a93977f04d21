"""What every command shares: arguments, errors as one line, safe output files, progress, JSON.

The commands themselves are the other modules of `fev.tools`.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO, NoReturn, TextIO

from ..format.errors import FevError, UsageError
from .memory import keep_freed_memory

STDIO = "-"


class Parser(argparse.ArgumentParser):
    """argparse with short help lines; wrong usage prints one line and exits with 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (--help lists the options)\n")


def parser(prog: str, description: str, *, version: str | None = None) -> Parser:
    """A parser for the command `prog`; `version` adds --version."""
    out = Parser(prog=prog, description=description)
    if version:
        out.add_argument("--version", action="version", version=f"{prog} {version}")
    return out


def add_device(options: argparse.ArgumentParser) -> None:
    """--device and --threads, read back by `setup_device`."""
    options.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="where networks run (default: auto)"
    )
    options.add_argument("--threads", type=count, default=0, metavar="N", help="processor threads (default: all)")


def add_output(options: argparse.ArgumentParser) -> None:
    """--force and --json."""
    options.add_argument("--force", "-f", action="store_true", help="overwrite an existing output file")
    options.add_argument("--json", action="store_true", help="print one JSON object on standard output")


def count(text: str) -> int:
    """argparse type: a whole number, zero or more."""
    return int(_number(text, int, 0, None))


def seconds(text: str) -> float:
    """argparse type: seconds, zero or more, as a plain number."""
    return float(_number(text, float, 0, None))


def kilobits(text: str) -> float:
    """argparse type: kbit/s, as a plain number."""
    return float(_number(text, float, 0, None))


def percent(text: str) -> float:
    """argparse type: a number from 0 to 100."""
    return float(_number(text, float, 0, 100))


def share(text: str) -> float:
    """argparse type: a number from 0 to 1."""
    return float(_number(text, float, 0, 1))


def _number(text: str, kind: Callable[[str], Any], least: float, most: float | None) -> Any:
    try:
        value = kind(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not least <= value < float("inf") or (most is not None and value > most):
        span = f"from {least} to {most}" if most is not None else f"of at least {least}"
        raise argparse.ArgumentTypeError(f"{text} is not a number {span}")
    return value


def setup_device(device: str = "auto", threads: int = 0) -> Any:
    """Set torch's thread count and return the torch.device meant by --device.

    Raises UsageError if CUDA is asked for and there is none.
    """
    import torch  # here, because --help and fev-info must not wait for it

    from ..codec.model import pick_device

    if threads:
        torch.set_num_threads(threads)
    return pick_device(device)


def run(main: Callable[[], int | None]) -> NoReturn:
    """Call `main` and leave the process: 0 good, 1 bad input, 2 wrong usage, 130 Ctrl-C, 143 killed; no traceback.

    A broken pipe is the reader's choice, not an error of ours: it ends the command silently with 1.
    Bugs (any other exception) do show their traceback, since somebody has to find them.
    """
    code = 1
    signal.signal(signal.SIGTERM, _terminated)
    keep_freed_memory()
    try:
        code = main() or 0
        sys.stdout.flush()
    except UsageError as error:
        code = 2
        say(error)
    except FevError as error:
        say(error)
    except KeyboardInterrupt:
        code = 130
        say("interrupted")
    except BrokenPipeError:
        _drop_stdout()
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        say(f"{name}{error.strerror or error}")
    except MemoryError:
        say("not enough memory")
    sys.exit(code)


def _terminated(number: int, frame: object) -> NoReturn:
    """A polite kill unwinds the stack like any other failure, so that temporary files go."""
    raise SystemExit(128 + number)


def say(message: object) -> None:
    """One line on standard error, control characters made visible."""
    text = " ".join(str(message).split())
    text = "".join(c if c.isprintable() else "?" for c in text)
    prog = os.path.basename(sys.argv[0] or "fev").removesuffix(".py")
    with suppress(OSError, ValueError):
        print(f"{prog}: {text}", file=sys.stderr, flush=True)


def _drop_stdout() -> None:
    """Point standard output at nothing, so that Python's flush at exit does not complain about the broken pipe."""
    with suppress(OSError, ValueError, io.UnsupportedOperation):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def print_json(value: Any) -> None:
    """One JSON object on standard output; NaN and infinity are refused rather than printed as invalid JSON."""
    print(json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False))


@contextmanager
def input_file(path: str) -> Iterator[BinaryIO]:
    """Open `path` for reading; `-` is standard input, which is not closed."""
    if path == STDIO:
        yield sys.stdin.buffer
        return
    try:
        file = open(path, "rb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise FevError(f"{path}: cannot be opened: {error.strerror}") from error
    with file:
        yield file


def check_output(path: str, force: bool, inputs: tuple[str, ...] = ()) -> None:
    """Refuse an output that exists (without --force), is an input, or has no folder; before any work is done."""
    if path == STDIO:
        if sys.stdout.isatty():
            raise FevError("standard output is a terminal; give a file or a pipe")
        return
    for name in inputs:
        with suppress(OSError):
            if name != STDIO and os.path.samefile(name, path):
                raise FevError(f"{path}: is the input too")
    folder = os.path.dirname(path) or "."
    if os.path.isdir(path):
        raise FevError(f"{path}: is a folder")
    if not os.path.isdir(folder):
        raise FevError(f"{path}: cannot be written: the folder {folder} does not exist")
    if _is_special(path):
        return
    if os.path.lexists(path) and not force:
        raise FevError(f"{path}: exists already; --force overwrites it")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise FevError(f"{path}: cannot be written: no permission to write in {folder}")


@contextmanager
def output_file(path: str, force: bool = False, inputs: tuple[str, ...] = ()) -> Iterator[BinaryIO]:
    """Open `path` for writing so that it appears complete or not at all.

    Bytes go to a temporary file in the same folder, which takes the final name when the block ends
    well and is removed on any failure, Ctrl-C included.  `-` is standard output; devices and pipes
    are written directly.  The file can be read back and can seek, standard output cannot.
    """
    check_output(path, force, inputs)
    if path == STDIO:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if _is_special(path):
        with open(path, "wb") as direct:
            yield direct
        return
    folder, name = os.path.split(path)
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{name[:40]}.", suffix=".part", dir=folder or ".")
    except OSError as error:
        raise FevError(f"{path}: cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(handle, "w+b") as file:
            yield file
            file.flush()
            with suppress(OSError):  # not every file system can
                os.fsync(file.fileno())
        os.chmod(temporary, _mode(path))
        _settle(temporary, path, force)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def _settle(temporary: str, path: str, force: bool) -> None:
    """Give the finished file its name.  A file that appeared meanwhile is not overwritten without --force."""
    try:
        if force:
            os.replace(temporary, path)
            return
        try:
            os.link(temporary, path)
        except FileExistsError:
            raise FevError(f"{path}: exists already; --force overwrites it") from None
        except OSError:  # a file system without hard links
            os.replace(temporary, path)
        else:
            os.unlink(temporary)
    except OSError as error:
        raise FevError(f"{path}: cannot be written: {error.strerror}") from error


def _mode(path: str) -> int:
    """Permissions for the new file: those of the file it replaces, else what open() would have given."""
    with suppress(OSError):
        return stat.S_IMODE(os.stat(path).st_mode)
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def _is_special(path: str) -> bool:
    """A device or named pipe, such as /dev/null: nothing to rename there."""
    with suppress(OSError):
        mode = os.stat(path).st_mode
        return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
    return False


def progress(total: int | None, what: str, unit: str = "frame", stream: TextIO | None = None) -> Any:
    """A tqdm bar on a terminal, silence in a pipe.  Use as a context manager; call update(n)."""
    from tqdm import tqdm

    stream = stream or sys.stderr
    return tqdm(
        total=total, desc=what, unit=unit, file=stream, disable=not stream.isatty(), leave=False, dynamic_ncols=True
    )
