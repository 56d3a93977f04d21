"""What every command shares: arguments, errors as one line, safe output files, progress, JSON.

The commands themselves are the other modules of `fev.tools`.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO, NoReturn, TextIO

from ..codec.media import outfile
from ..codec.media.files import open_path
from ..codec.media.notices import Notices
from ..format.errors import FevError, UsageError, about
from ..tools import leave
from ..version import __version__
from .memory import keep_freed_memory

STDIO = "-"
MOST_THREADS = 1024


class Parser(argparse.ArgumentParser):
    """argparse with short help lines; wrong usage prints one line and exits with 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (--help lists the options)\n")


def parser(prog: str, description: str) -> Parser:
    """A parser for the command `prog`, with --version."""
    out = Parser(prog=prog, description=description)
    out.add_argument("--version", action="version", version=f"{prog} {__version__}")
    return out


def add_device(options: argparse.ArgumentParser) -> None:
    """--device and --threads, read back by `setup_device`."""
    options.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="where networks run (default: auto)"
    )
    options.add_argument("--threads", type=threads, default=0, metavar="N", help="processor threads (default: all)")


def add_output(options: argparse.ArgumentParser) -> None:
    """--force and --json."""
    options.add_argument("--force", "-f", action="store_true", help="overwrite an existing output file")
    options.add_argument("--json", action="store_true", help="print one JSON object on standard output")


def count(text: str) -> int:
    """argparse type: a whole number, zero or more."""
    return int(_number(text, int, 0, None))


def threads(text: str) -> int:
    """argparse type: a number of threads; with very many the system gives up."""
    return int(_number(text, int, 0, MOST_THREADS))


def seconds(text: str) -> float:
    """argparse type: seconds, zero or more, as a plain number."""
    return float(_number(text, float, 0, None))


def kilobits(text: str) -> float:
    """argparse type: kbit/s, as a plain number."""
    return float(_number(text, float, 0, None))


def decibels(text: str) -> float:
    """argparse type: dB, as a plain number."""
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

    from ..codec.model.devices import pick_device

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
    at_once = signal.getsignal(signal.SIGINT) is leave
    if at_once:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    keep_freed_memory()
    try:
        code = main() or 0
        _flush()
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
    if at_once:  # the work is done: nothing is left to be undone
        signal.signal(signal.SIGINT, leave)
    sys.exit(code)


def _flush() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise FevError(f"standard output: cannot be written: {error.strerror}") from error


def _terminated(number: int, frame: object) -> NoReturn:
    """A polite kill unwinds the stack like any other failure, so that temporary files go."""
    raise SystemExit(128 + number)


def say(message: object) -> None:
    """One line on standard error, control characters made visible.  Columns stay where they are."""
    first, *more = str(message).expandtabs().splitlines() or [""]
    text = " ".join([first.rstrip(), *(line.strip() for line in more)])
    text = "".join(c if c.isprintable() else "?" for c in text)
    prog = os.path.basename(sys.argv[0] or "fev").removesuffix(".py")
    with suppress(OSError, ValueError):
        print(f"{prog}: {text}", file=sys.stderr, flush=True)


def say_notices(name: str, counts: Mapping[str, int]) -> None:
    """One line of what a run dropped, held or guessed; nothing where there is nothing to say."""
    line = Notices(counts).line()
    if line:
        say(f"{'standard input' if name == STDIO else name}: {line}")


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
    with open_path(path) as file:
        yield file


@contextmanager
def stream_file(path: str) -> Iterator[BinaryIO]:
    """`input_file` for a .fev stream: what is wrong inside is said with its name."""
    with input_file(path) as file, about("standard input" if path == STDIO else path):
        yield file


def check_output(path: str, force: bool, inputs: Sequence[str | None] = (), as_json: bool = False) -> None:
    """As `fev.codec.media.outfile` has it, before any work is done; `-` is a standard stream.

    Args:
        as_json: standard output is taken by the report.
    """
    if inputs.count(STDIO) > 1:
        raise UsageError("standard input cannot be two inputs at once")
    sources = [sys.stdin.buffer if name == STDIO else name for name in inputs]
    if path != STDIO:
        outfile.check_output(path, force, sources)
    elif as_json:
        raise UsageError("--json and - would both write to standard output; give a file")
    elif sys.stdout.isatty():
        raise FevError("standard output is a terminal; give a file or a pipe")
    else:
        outfile.check_apart(sys.stdout, sources)


@contextmanager
def output_file(path: str, force: bool = False, inputs: Sequence[str | None] = ()) -> Iterator[BinaryIO]:
    """Open `path` for writing so that it appears complete or not at all; `-` is standard output, which cannot seek."""
    check_output(path, force, inputs)
    if path == STDIO:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with outfile.output_file(path, force) as file:
        yield file


def progress(total: int | None, what: str, unit: str = "frame", stream: TextIO | None = None) -> Any:
    """A tqdm bar on a terminal, silence in a pipe.  Use as a context manager; call update(n)."""
    from tqdm import tqdm

    stream = stream or sys.stderr
    return tqdm(
        total=total, desc=what, unit=unit, file=stream, disable=not stream.isatty(), leave=False, dynamic_ncols=True
    )
