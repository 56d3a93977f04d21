"""What a caller of the encoder may choose."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ...format.errors import UsageError
from ..draw.units import DEFAULT_QUALITY
from ..fit.budget import LEAST_BUDGET
from ..fit.effort import DEFAULT_PRESET, EFFORTS, Effort
from ..media.arguments import check_fields
from ..media.video import check_part
from ..model.modelfile import DEFAULT

MOST_FACES = 8  # at the same time
TIMES = (1, 2, 4)  # the side of the model's pictures, that of the square


@dataclass(frozen=True)
class EncodeOptions:
    """What a caller may choose; docs/guide.md says what each means.

    Args:
        quality: 0 to 100; None is DEFAULT_QUALITY, or where there is an identity that of its file.
        bitrate: kbit/s of the whole file; quality and identity budget then follow from it.
        identity_budget: bytes; None is what the face is worth.
        worst: dB below the mean that no frame's inner face is to lie; None is no bound.
        size: side of the square that is drawn, in pixels: the model's, or two or four times that;
            None is the model's.
        face: which of the faces a clip is about, by size, the largest is 0.
        faces: that are coded at most, at the same time.
        actors_only: refuse a clip of which video would come nearer to a part.
        stream, audio_stream: numbers among the video and audio streams, from 0; None for the one
            flagged default, else the longest.
        start, duration, segment, repeat: seconds.
        identity: a .fev file of the same person; the model is then its own too, and nothing of the
            identity is sent again.
        remember: keep the identity in the cache.
        keep_notices: keep what was dropped, held or guessed in the file's metadata, as `x-held` and
            the like.
    """

    model: str | os.PathLike[str] = DEFAULT
    preset: str = DEFAULT_PRESET
    quality: float | None = None
    bitrate: float | None = None
    identity_budget: int | None = None
    worst: float | None = None
    size: int | None = None
    face: int = 0
    faces: int = 1
    actors_only: bool = False
    crop: bool = False
    pivot: bool = True
    audio: bool = True
    audio_bitrate: int = 16_000
    stream: int | None = None
    audio_stream: int | None = None
    start: float | None = None
    duration: float | None = None
    segment: float | None = None
    repeat: float | None = None
    identity: str | os.PathLike[str] | None = None
    remember: bool = False
    device: str = "auto"
    keep_notices: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        if self.preset not in EFFORTS:
            raise UsageError(f"preset {self.preset!r} is not one of {', '.join(EFFORTS)}")
        if self.quality is not None and not 0 <= self.quality <= 100:
            raise UsageError(f"quality {self.quality} is not within 0 to 100")
        if self.identity_budget is not None and not LEAST_BUDGET <= self.identity_budget <= 1 << 22:
            raise UsageError(
                f"identity budget of {self.identity_budget} bytes is not within {LEAST_BUDGET} (the least identity "
                "there is) to 4194304"
            )
        if self.bitrate is not None:
            self._check_bitrate(self.bitrate)
        if self.worst is not None:
            self._check_worst(self.worst)
        if self.size is not None and (self.identity is not None or not self.pivot):
            raise UsageError("a size takes a pivot of this file: leave out identity and no-pivot")
        if self.keep_notices and not self.effort.whole:
            raise UsageError("notices are kept where they are known before the file begins: preset medium or slow")
        if (self.stream or 0) < 0 or (self.audio_stream or 0) < 0:
            raise UsageError("stream numbers start at 0")
        if self.audio_stream is not None and not self.audio:
            raise UsageError("there is no sound to choose where none is wanted")
        if not 6_000 <= self.audio_bitrate <= 510_000:
            raise UsageError(f"an audio bitrate of {self.audio_bitrate} bit/s is not within Opus's 6000 to 510000")
        if self.face < 0:
            raise UsageError("face numbers start at 0")
        if not 1 <= self.faces <= MOST_FACES:
            raise UsageError(f"1 to {MOST_FACES} faces are coded at the same time, not {self.faces}")
        if self.faces > 1 and self.crop:
            raise UsageError("the aligned square alone shows one face")
        if self.segment is not None and not 0.1 <= self.segment <= 10:
            raise UsageError("segments last 0.1 to 10 seconds")
        if self.repeat is not None and not 0 < self.repeat <= 3600:
            raise UsageError("the set-up is repeated every 0 to 3600 seconds")
        if self.identity is not None and (self.identity_budget is not None or not self.pivot):
            raise UsageError("with an identity of another file there is nothing to spend a budget on, or a pivot")
        if self.identity is not None and self.quality is not None:
            raise UsageError("with an identity of another file the quality is that file's: leave it out")
        check_part(self.start, self.duration)

    def _check_worst(self, worst: float) -> None:
        if not 0 < worst <= 20:
            raise UsageError(f"a bound of {worst:g} dB on the worst frame is not within 0 to 20")
        if not self.effort.whole:
            raise UsageError("a bound on the worst frame takes two passes: preset medium or slow")
        if self.bitrate is not None or self.identity is not None or not self.pivot:
            message = "a bound on the worst frame takes bytes and a pivot: leave out bitrate, identity and no-pivot"
            raise UsageError(message)

    def _check_bitrate(self, bitrate: float) -> None:
        if not 0 < bitrate <= 10_000:
            raise UsageError(f"a bitrate of {bitrate:g} kbit/s is not within 0 to 10000")
        if not self.effort.whole:
            raise UsageError("a bitrate takes two passes: preset medium or slow")
        if self.quality is not None or self.identity_budget is not None:
            raise UsageError("give a bitrate, or quality and identity budget")

    def finer(self, side: int) -> int:
        """How many times the side of a model's pictures, in pixels, the square has that is drawn.

        Raises UsageError where that is not one of `TIMES`.
        """
        if self.size is not None and self.size not in [side * times for times in TIMES]:
            sizes = ", ".join(str(side * times) for times in TIMES)
            raise UsageError(f"with this model the square is drawn at one of {sizes} pixels, not {self.size}")
        return 1 if self.size is None else self.size // side

    @property
    def fineness(self) -> float:
        """The quality asked for, or the default."""
        return DEFAULT_QUALITY if self.quality is None else self.quality

    @property
    def effort(self) -> Effort:
        """How much work the preset stands for."""
        return EFFORTS[self.preset]
