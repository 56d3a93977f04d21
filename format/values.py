"""One batch of signed integers at given levels, to the coder and back. Who chooses the levels:
`motioncontexts.py`.

A level says how large the values are expected to be, in quarter octaves of the mean magnitude.
Levels up to 35 use the table row of the same number. Higher levels code the value without its
lowest bits under rows 32 to 35, and the lowest bits plain: at these sizes they are as good as
random. What does not fit -15..15 follows as an Exp-Golomb number.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .entropy import MAX_BITS, RangeDecoder
from .errors import DamagedError, UsageError
from .tables import EDGE, ESCAPE, LEVELS, ROWS, TOTAL_BITS, load

MAX_MAGNITUDE = 1 << 30  # of any value in a stream
GOLOMB_ORDER = 2
MAX_GOLOMB_BITS = 32

Ints = NDArray[np.int64]

_levels = np.arange(LEVELS)
ROW_OF_LEVEL: Ints = np.where(_levels < ROWS, _levels, ROWS - 4 + _levels % 4)
SHIFT_OF_LEVEL: Ints = np.where(_levels < ROWS, 0, (_levels - ROWS + 4) // 4)


class Sink(Protocol):
    """What encode_values writes to: a RangeEncoder, or a Meter that only adds up the cost."""

    def rows(self, symbols: NDArray[Any], rows: NDArray[Any]) -> None: ...

    def bits(self, values: NDArray[Any], widths: NDArray[Any]) -> None: ...

    def kinds(self, symbols: NDArray[Any], frequencies: NDArray[Any], numbers: NDArray[Any]) -> None: ...


class Meter:
    """A Sink that counts bits. Estimates only; floats are welcome here."""

    def __init__(self) -> None:
        self.spent = 0.0

    def rows(self, symbols: NDArray[Any], rows: NDArray[Any]) -> None:
        self.spent += float(load().bits.reshape(-1, ESCAPE + 1)[rows, symbols].sum())

    def bits(self, values: NDArray[Any], widths: NDArray[Any]) -> None:
        self.spent += float(np.sum(widths))

    def kinds(self, symbols: NDArray[Any], frequencies: NDArray[Any], numbers: NDArray[Any]) -> None:
        self.spent += TOTAL_BITS * len(symbols) - float(np.log2(frequencies)[numbers, symbols].sum())


def _bits(sink: Sink, value: int, width: int) -> None:
    """Plain bits of one number, at most MAX_BITS at a time, the upper part first."""
    while width > MAX_BITS:
        width -= MAX_BITS
        sink.bits(np.array([value >> width]), np.array([MAX_BITS]))
        value &= (1 << width) - 1
    if width:
        sink.bits(np.array([value]), np.array([width]))


def encode_escape(sink: Sink, value: int) -> None:
    """A value beyond -15..15: sign, then Exp-Golomb of order 2 of |value| - 16."""
    number = abs(value) - EDGE - 1 + (1 << GOLOMB_ORDER)
    extra = number.bit_length() - 1 - GOLOMB_ORDER
    sign_and_prefix = [int(value < 0)] + [1] * extra + [0]
    sink.bits(np.array(sign_and_prefix), np.ones(len(sign_and_prefix), np.int64))
    width = number.bit_length() - 1
    _bits(sink, number - (1 << width), width)


def decode_escape(source: RangeDecoder) -> int:
    one = np.ones(1, np.int64)
    negative = int(source.bits(one)[0])
    width = GOLOMB_ORDER
    while source.bits(one)[0]:
        width += 1
        if width > MAX_GOLOMB_BITS:
            raise DamagedError("an escaped value is out of range")
    number, left = 1, width
    while left:
        part = min(left, MAX_BITS)
        number = number << part | int(source.bits(np.array([part]))[0])
        left -= part
    magnitude = number - (1 << GOLOMB_ORDER) + EDGE + 1
    return -magnitude if negative else magnitude


def encode_values(sink: Sink, values: Ints, levels: Ints, shape: int | Ints = 0) -> None:
    """Codes values (n,) at levels (n,), under one shape or (n,).

    Raises UsageError for a magnitude above four times MAX_MAGNITUDE: that of a difference of differences.
    """
    if len(values) and int(np.abs(values).max()) > 4 * MAX_MAGNITUDE:
        raise UsageError(f"value beyond {MAX_MAGNITUDE}")
    shifts = SHIFT_OF_LEVEL[levels]
    upper = values >> shifts
    plain = np.abs(upper) <= EDGE
    sink.rows(np.where(plain, upper + EDGE, ESCAPE), ROW_OF_LEVEL[levels] + shape * ROWS)
    if not plain.all():
        for value in upper[~plain].tolist():
            encode_escape(sink, value)
    if shifts.any():
        some = shifts > 0
        sink.bits((values & ((1 << shifts) - 1))[some], shifts[some])


def decode_values(source: RangeDecoder, levels: Ints, shape: int | Ints = 0) -> Ints:
    """Reads back values (n,) at levels (n,), under one shape or (n,)."""
    return decode_from(source, levels, shape * ROWS)


def decode_from(source: RangeDecoder, levels: Ints, first: int | Ints) -> Ints:
    """The same when the first rows of the shapes are known. The innermost loop of decoding."""
    high = np.maximum.reduce(levels) >= ROWS
    rows = ROW_OF_LEVEL[levels] if high else levels
    symbols = source.rows(rows + first)
    values = symbols.astype(np.int64) - EDGE
    if np.maximum.reduce(symbols) == ESCAPE:
        for i in np.flatnonzero(symbols == ESCAPE).tolist():
            values[i] = decode_escape(source)
    if high:
        shifts = SHIFT_OF_LEVEL[levels]
        some = np.flatnonzero(shifts)
        values[some] = values[some] << shifts[some] | source.bits(shifts[some])
    return values


def level_of(means: Ints) -> Ints:
    """Levels of mean magnitudes given in units of 2**-16."""
    return load().thresholds.searchsorted(means, side="right")


def mean_of_level(level: int) -> int:
    """The least mean (in 2**-16) of a level: where an adaptive mean starts that was told a
    level."""
    return int(load().thresholds[level - 1]) if level else 0


def value_bits(values: Ints, levels: Ints, shapes: int | Ints = 0) -> NDArray[np.float64]:
    """Estimated bits of values at levels under shapes, broadcast to one form. For rate control,
    never to decode."""
    shifts = SHIFT_OF_LEVEL[levels]
    upper = values >> shifts
    plain = np.abs(upper) <= EDGE
    bits = load().bits[shapes, ROW_OF_LEVEL[levels], np.where(plain, upper + EDGE, ESCAPE)] + shifts
    beyond = np.maximum(np.abs(upper) - EDGE - 1 + (1 << GOLOMB_ORDER), 1 << GOLOMB_ORDER)
    total: NDArray[np.float64] = bits + np.where(plain, 0, 2 * np.floor(np.log2(beyond)))
    return total
