"""Still pictures: of a set (chunk SETT), of a patch, and an actor's pivot (part PIVT of ACTR).

`codec/media/still.py` makes the pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

from .errors import FevError, LimitError, UnsupportedError, UsageError, check
from .limits import Limits
from .values import MAX_MAGNITUDE
from .wire import Pack, Take

CODEC_AV1 = 1


@dataclass(frozen=True)
class Still:
    """One picture.

    Args:
        codec: 1 = one AV1 temporal unit (open bitstream units, low-overhead format) holding one
            shown key frame.
        width, height: of the decoded still in pixels; scaled to what it covers when they differ.
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
            Still.unpack(data, Limits(max_still_bytes=1 << 24))
        except FevError as error:
            raise UsageError(error.message) from None
        return data

    @classmethod
    def unpack(cls, data: bytes, limits: Limits | None = None) -> Still:
        return cls.take(Take(data, "still"), limits or Limits())

    @classmethod
    def take(cls, take: Take, limits: Limits) -> Still:
        """The rest of a payload."""
        codec, width, height, matrix, full = take.fixed("BHHBB")
        if codec != CODEC_AV1:
            raise UnsupportedError(f"codec {codec} of a still is unknown")
        check(width and height, "a still has no extent")
        if width > limits.max_width or height > limits.max_height:
            raise LimitError(f"a still of {width}x{height} is beyond {limits.max_width}x{limits.max_height}")
        check(full in (0, 1), "a still's range is neither limited nor full")
        check(take.left(), "a still has no data")
        if take.left() > limits.max_still_bytes:
            raise LimitError(f"a still of {take.left()} bytes, the limit is {limits.max_still_bytes}")
        return cls(codec, width, height, matrix, bool(full), take.rest())


@dataclass(frozen=True)
class Pivot:
    """A picture of the face, and the motion parameters that belong to it; the payload of PIVT.

    Args:
        reference: quantised motion parameters of the picture; without trailing zeros, () = all
            zero.
        still: the picture, the aligned square.
    """

    reference: tuple[int, ...]
    still: Still

    def pack(self) -> bytes:
        pack = Pack().varint(len(self.reference))
        for value in self.reference:
            pack.signed(value)
        data = pack.raw(self.still.pack()).bytes()
        try:
            Pivot.unpack(data, Limits(max_still_bytes=1 << 24))
        except FevError as error:
            raise UsageError(error.message) from None
        return data

    @classmethod
    def unpack(cls, data: bytes, limits: Limits | None = None) -> Pivot:
        limits = limits or Limits()
        take = Take(data, "pivot")
        count = take.varint(limits.max_params, "number of parameters")
        reference = tuple(take.signed("parameter") for _ in range(count))
        check(not reference or reference[-1] != 0, "the pivot's parameters end with a zero")
        check(all(abs(value) <= MAX_MAGNITUDE for value in reference), f"a parameter is beyond {MAX_MAGNITUDE}")
        return cls(reference, Still.take(take, limits))
