"""The still picture behind the face (chunk BGND). Its pixels are made and read by `codec/background.py`."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import FevError, LimitError, UnsupportedError, UsageError, check
from .limits import Limits
from .wire import Pack, Take

CODEC_AV1 = 1


@dataclass(frozen=True)
class Background:
    """Payload of BGND.

    Args:
        codec: 1 = one AV1 temporal unit (open bitstream units, low-overhead format) holding one shown key frame.
        width, height: of the decoded still in pixels; scaled to the output picture when they differ.
        matrix: ISO/IEC 23091-2 matrix coefficients of the still.
        full_range: True if its samples use the full 8-bit range.
        data: the compressed bytes.
    """

    codec: int
    width: int
    height: int
    matrix: int
    full_range: bool
    data: bytes

    def pack(self) -> bytes:
        pack = Pack().fixed("BHHBB", self.codec, self.width, self.height, self.matrix, int(self.full_range))
        data = pack.raw(self.data).bytes()
        try:
            Background.unpack(data, Limits(max_background_bytes=1 << 24))
        except FevError as error:
            raise UsageError(error.message) from None
        return data

    @classmethod
    def unpack(cls, data: bytes, limits: Limits | None = None) -> Background:
        limits = limits or Limits()
        take = Take(data, "background")
        codec, width, height, matrix, full = take.fixed("BHHBB")
        if codec != CODEC_AV1:
            raise UnsupportedError(f"background codec {codec} is unknown")
        check(width and height, "the background has no extent")
        if width > limits.max_width or height > limits.max_height:
            raise LimitError(f"background of {width}x{height} is beyond {limits.max_width}x{limits.max_height}")
        check(full in (0, 1), "the background's range is neither limited nor full")
        check(take.left(), "the background has no data")
        if take.left() > limits.max_background_bytes:
            raise LimitError(f"background of {take.left()} bytes, the limit is {limits.max_background_bytes}")
        return cls(codec, width, height, matrix, bool(full), take.rest())
