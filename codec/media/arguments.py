"""What callers from Python may give: options by type, sources and outputs by what they can do.

Everything else is a UsageError before any work is done.
"""

from __future__ import annotations

import io
import os
import types
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import Any, Union, get_args, get_origin, get_type_hints

from ...format.errors import UsageError

_WORDS = {str: "text", bool: "True or False", int: "a whole number", float: "a number", os.PathLike: "a path"}


def check_options(given: Mapping[str, Any], kinds: Mapping[str, Any]) -> None:
    """Refuse options that are unknown, or not of their kind.

    Args:
        kinds: type hints by name.
    """
    for name, value in given.items():
        if name not in kinds:
            raise UsageError(f"unknown option {name!r}; there are {', '.join(kinds)}")
        if not _fits(value, kinds[name]):
            raise UsageError(f"{name} has to be {_words(kinds[name])}, not {_seen(value)}")


def hints_of(thing: Any) -> dict[str, Any]:
    """Type hints of a dataclass's fields, or of a function's arguments."""
    hints = get_type_hints(thing)
    hints.pop("return", None)
    return hints


def check_fields(options: Any) -> None:
    """Refuse a dataclass with a field that is not of its kind.  For `__post_init__`."""
    check_options(vars(options), hints_of(type(options)))


def check_source(src: Any) -> None:
    """Refuse what is neither a path nor a binary file to read from."""
    _check_file(src, "read", "source")


def check_destination(dst: Any) -> None:
    """Refuse what is neither a path nor a binary file to write to."""
    _check_file(dst, "write", "output")


def _check_file(file: Any, verb: str, what: str) -> None:
    if isinstance(file, (str, os.PathLike)):
        return
    if not callable(getattr(file, verb, None)):
        raise UsageError(f"the {what} has to be a path or a binary file, not {_seen(file)}")
    if isinstance(file, io.TextIOBase):
        raise UsageError(f"the {what} is a text file: open it in binary mode")
    if getattr(file, "closed", False) is True:
        raise UsageError(f"the {what} is closed already")
    able = getattr(file, "readable" if verb == "read" else "writable", None)
    if isinstance(file, io.IOBase) and callable(able) and not able():
        raise UsageError(f"the {what} is not open to {verb}")


def _fits(value: Any, kind: Any) -> bool:
    origin = get_origin(kind)
    if kind is Any:
        return True
    if origin in (Union, types.UnionType):
        return any(_fits(value, each) for each in get_args(kind))
    if kind is type(None):
        return value is None
    if kind in (int, float):  # numpy's numbers too, but True is none
        return isinstance(value, Integral if kind is int else Real) and not isinstance(value, bool)
    if origin is Callable:
        return callable(value)
    return isinstance(value, origin or kind)


def _words(kind: Any) -> str:
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_words(each) for each in get_args(kind) if each is not type(None)))
    origin = get_origin(kind) or kind
    return _WORDS.get(origin, f"a {getattr(origin, '__name__', kind)}")


def _seen(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 40 else f"{type(value).__name__} {shown[:36]}..."
