"""What a decoder is asked for: `FrameDecoder` and `fev.codec.decoder.decode` take it."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ...format.errors import UsageError
from ..media.arguments import check_fields
from ..media.containers import CONTAINERS
from ..media.video import check_part

MAX_SIZE = 8192


@dataclass(frozen=True)
class DecodeOptions:
    """What is to be decoded, and how.

    Args:
        crop: deliver the aligned square even where the file has a background.
        actor: whose square that is; None for the lowest number on stage.
        size: side of that square, or the picture's larger side; None for the file's own.
        coarse: draw and paste no finer than that size needs, which is faster and a little softer
            than shrinking what was drawn.
        start, duration: seconds.
        model: name or path; None for the installed one that the file asks for.
        identity: the .fev file that holds the identity, for a file that refers to one.
        remember: keep the identity in the cache.
        salvage: go on behind damage.
        device: auto, cpu or cuda.
        container: None for the one that the output's name asks for.
    """

    crop: bool = False
    actor: int | None = None
    size: int | None = None
    coarse: bool = False
    start: float | None = None
    duration: float | None = None
    model: str | os.PathLike[str] | None = None
    identity: str | os.PathLike[str] | None = None
    remember: bool = False
    salvage: bool = False
    device: str = "auto"
    container: str | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if self.actor is not None and not (self.crop and self.actor >= 0):
            raise UsageError("actor says whose square to deliver: it is 0 or more and goes with crop")
        if self.size is not None and not 2 <= self.size <= MAX_SIZE:
            raise UsageError(f"size {self.size} is not within 2 to {MAX_SIZE}")
        if self.container not in (None, *CONTAINERS):
            raise UsageError(f"container {self.container!r} is not one of {', '.join(CONTAINERS)}")
        check_part(self.start, self.duration)
