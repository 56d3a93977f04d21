"""fev: a talking-head video codec that sends one identity and 35 numbers a frame.

    import fev
    fev.encode("talk.mp4", "talk.fev")
    fev.decode("talk.fev", "back.mp4")

The work is done in `fev.codec` (pictures) and `fev.format` (bytes).  Importing this package imports
nothing at all: what reads bytes and what draws pictures load when they are first used, and a
command's own first line is the first to run (`fev.tools`).
"""

from __future__ import annotations

TYPE_CHECKING = False  # what type checkers take as true; importing it from `typing` takes time
if TYPE_CHECKING:
    from typing import Any

    from .codec.decoder import DecodeReport
    from .codec.encoder import EncodeReport
    from .codec.model.modelfile import Model
    from .codec.puppet import PuppetReport
    from .format import FevError, Reader, VerifyReport
    from .version import __version__ as __version__

# Without `open`: `from fev import *` must leave the built-in one alone.
__all__ = [
    "DecodeReport", "EncodeReport", "FevError", "Model", "PuppetReport", "Reader", "VerifyReport",
    "decode", "encode", "load_model", "puppet", "verify",
]  # fmt: skip


def encode(src: Any, dst: Any, **options: Any) -> EncodeReport:
    """Encode a video into a `.fev` stream.

    Args:
        src: video, a path or a binary file object.
        dst: path (written beside and renamed when complete; an existing file is replaced, but never an input) or
            writable binary file object.
        options: fields of `fev.codec.encode.options.EncodeOptions` (model, preset, quality, bitrate, identity_budget,
            face, crop, pivot, audio, audio_bitrate, start, duration, segment, repeat, identity, remember, device).

    Raises:
        FevError: with one line that says what is wrong.
    """
    from .codec.media.files import open_output, system_errors

    with system_errors(dst):
        from .codec.encode.options import EncodeOptions
        from .codec.encoder import encode as run
        from .codec.media.arguments import check_source
        from .codec.media.containers import check_fev_name

        check_source(src)
        check_fev_name(dst)
        chosen = _options(EncodeOptions, options)
        with open_output(dst, src, chosen.identity, chosen.model) as file:
            return run(src, file, chosen)


def decode(src: Any, dst: Any, **options: Any) -> DecodeReport:
    """Decode a `.fev` stream into a video file.

    Args:
        src: path or binary file object.
        dst: path or writable binary file object.  The ending of its name chooses the container, unless told.
        options: fields of `fev.codec.draw.options.DecodeOptions` (crop, actor, size, coarse, start, duration, model,
            identity, remember, salvage, device, container).

    Raises:
        FevError: with one line that says what is wrong.
    """
    from .codec.media.files import open_output, open_stream, system_errors

    with system_errors(dst):
        from dataclasses import replace

        from .codec.decoder import decode as run
        from .codec.draw.options import DecodeOptions
        from .codec.media.arguments import check_destination
        from .codec.media.containers import container_of

        check_destination(dst)
        chosen = _options(DecodeOptions, options)
        if chosen.container is None:
            chosen = replace(chosen, container=container_of(dst))
        with open_stream(src) as file, open_output(dst, src, chosen.identity, chosen.model) as out:
            return run(file, out, chosen)


def puppet(identity: Any, motion: Any, dst: Any, **options: Any) -> PuppetReport:
    """Put the motion of one `.fev` stream on the identity of another; the result is marked as
    synthetic.

    Args:
        identity, motion, dst: paths or binary file objects.
        options: of `fev.codec.puppet.puppet` (actor, motion_actor, model, audio, device).

    Raises:
        FevError: with one line that says what is wrong.
    """
    from .codec.media.files import open_output, open_stream, system_errors

    with system_errors(dst):
        import os

        from .codec.media.arguments import check_options
        from .codec.media.containers import check_fev_name
        from .codec.puppet import puppet as run

        kinds = {
            "actor": int,
            "motion_actor": int,
            "model": str | os.PathLike[str] | None,
            "audio": bool,
            "device": str,
        }
        check_options(options, kinds)
        check_fev_name(dst)
        with (
            open_stream(identity) as who,
            open_stream(motion) as how,
            open_output(dst, identity, motion, options.get("model")) as out,
        ):
            return run(who, how, out, **options)


def open(src: Any, **options: Any) -> Reader:
    """Open a `.fev` stream to read: `header`, `segments()`, `seek()`; a context manager that closes
    the stream.

    Pictures come from `fev.codec.draw.frames.FrameDecoder`.

    Args:
        src: path or binary file object.
        options: those of `fev.format.Reader` (limits, salvage, shallow, identities).

    Raises:
        FevError: with one line that says what is wrong.
    """
    from .codec.media.files import is_path, open_path, system_errors

    with system_errors(src):
        import os

        from .codec.media.arguments import check_options, check_source, hints_of
        from .codec.media.identities import Search, folder_of
        from .format import Reader
        from .format.errors import about

        check_source(src)
        hints = hints_of(Reader.__init__)
        check_options(options, {name: hint for name, hint in hints.items() if name != "stream"})
        options.setdefault("identities", Search(folder=folder_of(src)))
        if not is_path(src):
            return Reader(src, **options)
        file = open_path(src)
        try:
            with about(os.fsdecode(src)):
                return Reader(file, **options)
        except BaseException:
            file.close()
            raise


def verify(src: Any) -> VerifyReport:
    """Check every byte of a `.fev` stream: `ok`, and `damage` with chunk, offset, segment and
    seconds.
    """
    from .codec.media.files import open_stream, system_errors

    with system_errors(src):
        from .format import verify as run

        with open_stream(src) as file:
            return run(file)


def load_model(name_or_path: Any = "base-256") -> Model:
    """Load a built-in model by name, or a model file.  Raises FevError."""
    from .codec.media.files import system_errors

    with system_errors(name_or_path):
        import os

        from .codec.media.arguments import check_options
        from .codec.model.modelfile import load_model as load

        check_options({"model": name_or_path}, {"model": str | os.PathLike[str]})
        return load(name_or_path)


def _options(kind: type, options: dict[str, Any]) -> Any:
    from .codec.media.arguments import check_options, hints_of

    check_options(options, hints_of(kind))
    return kind(**options)


_HOMES = {
    "DecodeReport": "codec.decoder", "EncodeReport": "codec.encoder", "Model": "codec.model.modelfile",
    "PuppetReport": "codec.puppet", "FevError": "format", "Reader": "format", "VerifyReport": "format",
    "__version__": "version",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """The typed values, the version and `fev.format`, loaded when asked for: the codec's bring
    torch with them.
    """
    import importlib

    if name == "format":
        return importlib.import_module(".format", __name__)
    if name not in _HOMES:
        raise AttributeError(f"module 'fev' has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
