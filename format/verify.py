"""Is a stream whole, and if not, where is it hurt? The command around it is `tools/info.py`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .errors import FevError
from .limits import Limits
from .reader import Reader
from .salvage import Damage


@dataclass(frozen=True)
class VerifyReport:
    """What a check of the whole stream found.

    Attributes:
        ok: True if every byte follows the format and every segment decodes.
        damage: what is wrong and where; empty if ok.
        segments, frames: intact ones.
    """

    ok: bool
    damage: list[Damage] = field(default_factory=list)
    segments: int = 0
    frames: int = 0


def verify(stream: Any, *, limits: Limits | None = None) -> VerifyReport:
    """Decodes all symbols of a stream. Never raises for what is in it; needs seek() to report all
    damage at once."""
    try:
        start = stream.tell() if stream.seekable() else None
    except (AttributeError, OSError, ValueError):
        start = None
    problem: FevError | None = None
    segments = frames = 0
    reader: Reader | None = None
    try:
        reader = Reader(stream, limits=limits)
        for segment in reader.segments():
            segments += 1
            frames += segment.frames
        return VerifyReport(True, [], segments, frames)
    except FevError as error:
        problem = error
    at = problem.segment
    seconds = None if at is None or reader is None else reader.begin(at)
    first = Damage(None, problem.offset or 0, at, seconds, problem.message)
    if start is None:
        return VerifyReport(False, [first], segments, frames)
    # Something is wrong. A second, salvaging look finds all of it, and counts what is left.
    segments = frames = 0
    found: list[Damage] = []
    try:
        stream.seek(start)
        reader = Reader(stream, limits=limits, salvage=True)
        for segment in reader.segments():
            segments += 1
            frames += segment.frames
        found = reader.damage
    except (FevError, OSError, ValueError):
        pass
    return VerifyReport(False, found or [first], segments, frames)
