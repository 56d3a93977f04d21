"""The one exception family of fev. Everything that `format/` lets out is a FevError; codec/ and
tools/ raise it too.

A member exists for each cause a caller may want to treat differently. Members also inherit the
built-in exception that describes them best, so that plain `except ValueError` or `except EOFError`
keeps working.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class FevError(Exception):
    """Any failure of fev.

    Args:
        message: what is wrong, as one plain sentence without a final stop.
        offset: where in the stream the offending bytes begin, in bytes from its start.
        segment: index of the segment concerned.

    Attributes:
        file: the stream's name, where somebody knows it who has more than its bytes (`about`).
    """

    def __init__(self, message: str, *, offset: int | None = None, segment: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.file: str | None = None
        self.offset = offset
        self.segment = segment

    def __str__(self) -> str:
        where = []
        if self.segment is not None:
            where.append(f"segment {self.segment}")
        if self.offset is not None:
            where.append(f"byte {self.offset}")
        text = f"{self.file}: {self.message}" if self.file else self.message
        return f"{text} ({', '.join(where)})" if where else text

    def at(self, *, offset: int | None = None, segment: int | None = None) -> FevError:
        """Fills in the place where it is still unknown (parsers of payloads do not know theirs) and
        returns self."""
        if self.offset is None:
            self.offset = offset
        if self.segment is None:
            self.segment = segment
        return self


class NotFevError(FevError, ValueError):
    """The bytes do not begin like a .fev file."""


class TruncatedError(FevError, EOFError):
    """The stream ends in the middle: what came before is good."""


class DamagedError(FevError, ValueError):
    """The bytes contradict a check or the rules of the format."""


class UnsupportedError(FevError, ValueError):
    """Well formed, but needs a newer reader, an unknown critical chunk or an unknown codec."""


class LimitError(FevError, ValueError):
    """Well formed, but larger than the reader agreed to handle (see Limits)."""


class ModelMismatchError(FevError, ValueError):
    """The stream was made for another model or other tables than the ones at hand."""


class MissingIdentityError(FevError, LookupError):
    """The stream refers to an identity that lies in another file, and that file is not at hand."""


class MediaError(FevError, ValueError):
    """The video or audio given to the encoder, or asked of the decoder, cannot be handled."""


class UsageError(FevError, ValueError):
    """The caller asked for something that makes no sense; nothing is wrong with the file."""


@contextmanager
def about(name: str) -> Iterator[None]:
    """What is found wrong inside a stream is said with the stream's name."""
    try:
        yield
    except FevError as error:
        inside = error.offset is not None or isinstance(error, MissingIdentityError)
        if inside and error.file is None and not error.message.startswith(f"{name}: "):
            error.file = name
        raise


def check(condition: object, message: str, *, offset: int | None = None) -> None:
    """Raises DamagedError(message) unless `condition` holds. For file content, where `assert` would
    vanish under -O."""
    if not condition:
        raise DamagedError(message, offset=offset)
