"""fev: a talking-head video codec that sends one identity and 35 numbers a frame.

    import fev
    fev.encode("talk.mp4", "talk.fev")
    fev.decode("talk.fev", "back.mp4")

The work is done in `fev.codec` (pictures) and `fev.format` (bytes).  Importing this package does
not import torch: what draws pictures loads when it is first used.
"""

from __future__ import annotations

import builtins
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

from .format import FevError, Reader, VerifyReport
from .format import verify as _verify

if TYPE_CHECKING:
    from .codec.decoder import DecodeReport
    from .codec.encoder import EncodeReport
    from .codec.model import Model
    from .codec.puppet import PuppetReport

__version__ = "0.1.0"
__all__ = [
    "DecodeReport", "EncodeReport", "FevError", "Model", "PuppetReport", "Reader", "VerifyReport",
    "decode", "encode", "load_model", "open", "puppet", "verify",
]  # fmt: skip


def encode(src: Any, dst: Any, **options: Any) -> EncodeReport:
    """Encode a video into a `.fev` stream.

    Args:
        src: video, a path or a binary file object.
        dst: path (written beside and renamed when complete; an existing file is replaced) or
            writable binary file object.
        options: fields of `fev.codec.options.EncodeOptions` (model, preset, quality,
            identity_budget, face, crop, pivot, audio, audio_bitrate, start,
            duration, segment, repeat, identity, remember, device).

    Raises FevError.
    """
    from .codec.encoder import encode as run
    from .codec.options import EncodeOptions

    chosen = _options(EncodeOptions, options)
    with _sink(dst, chosen.identity) as file:
        return run(src, file, chosen)


def decode(src: Any, dst: Any, **options: Any) -> DecodeReport:
    """Decode a `.fev` stream into a video file.

    Args:
        src, dst: paths or binary file objects.
        options: fields of `fev.codec.decoder.DecodeOptions` (crop, size, start, duration, model,
            identity, remember, salvage, device, container).

    Raises FevError.
    """
    from .codec.decoder import DecodeOptions
    from .codec.decoder import decode as run

    chosen = _options(DecodeOptions, options)
    with _source(src) as file, _sink(dst) as out:
        return run(file, out, chosen)


def puppet(identity: Any, motion: Any, dst: Any, **options: Any) -> PuppetReport:
    """Put the motion of one `.fev` stream on the identity of another; the result is marked as synthetic.

    Args:
        identity, motion, dst: paths or binary file objects.
        options: of `fev.codec.puppet.puppet` (model, audio, device).

    Raises FevError.
    """
    from .codec.puppet import puppet as run

    unknown = set(options) - {"model", "audio", "device"}
    if unknown:
        raise FevError(f"unknown option {sorted(unknown)[0]!r}")
    with _source(identity) as who, _source(motion) as how, _sink(dst) as out:
        return run(who, how, out, **options)


def open(src: Any, **options: Any) -> Reader:
    """Open a `.fev` stream to read: `header`, `segments()`, `seek()`; a context manager that closes the stream.

    Pictures come from `fev.codec.decoder.FrameDecoder`.  src: path or binary file object; options:
    `limits`, `salvage`, `identities`.  Raises FevError.
    """
    from .codec.identities import Search, folder_of

    options.setdefault("identities", Search(folder=folder_of(src)))
    if not isinstance(src, (str, os.PathLike)):
        return Reader(src, **options)
    try:
        file = builtins.open(src, "rb")  # noqa: SIM115 - the Reader closes it
    except OSError as error:
        raise FevError(f"{os.fspath(src)}: cannot be opened: {error.strerror}") from error
    try:
        return Reader(file, **options)
    except BaseException:
        file.close()
        raise


def verify(src: Any) -> VerifyReport:
    """Check every byte of a `.fev` stream: `ok`, and `damage` with chunk, offset, segment and seconds."""
    with _source(src) as file:
        return _verify(file)


def load_model(name_or_path: Any = "base-256") -> Model:
    """Load a built-in model by name, or a model file.  Raises FevError."""
    from .codec.model import load_model as load

    return load(name_or_path)


def _options(kind: type, options: dict[str, Any]) -> Any:
    unknown = set(options) - set(kind.__dataclass_fields__)
    if unknown:
        raise FevError(f"unknown option {sorted(unknown)[0]!r}")
    return kind(**options)


@contextmanager
def _source(src: Any) -> Iterator[Any]:
    if not isinstance(src, (str, os.PathLike)):
        yield src
        return
    try:
        file = builtins.open(src, "rb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise FevError(f"{os.fspath(src)}: cannot be opened: {error.strerror}") from error
    with file:
        yield file


@contextmanager
def _sink(dst: Any, needed: Any = None) -> Iterator[BinaryIO]:
    """A path is written under a temporary name in the same folder and renamed when all went well.

    needed: a file that must not be replaced by it.
    """
    if not isinstance(dst, (str, os.PathLike)):
        yield dst
        return
    from .tools.common import output_file

    kept = () if needed is None else (os.fspath(needed),)
    with output_file(os.fspath(dst), force=True, inputs=kept) as file:
        yield file


def __getattr__(name: str) -> Any:
    """The typed values of the codec, loaded when asked for, because they bring torch with them."""
    homes = {"DecodeReport": "decoder", "EncodeReport": "encoder", "Model": "model", "PuppetReport": "puppet"}
    if name not in homes:
        raise AttributeError(f"module 'fev' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f".codec.{homes[name]}", __name__), name)
