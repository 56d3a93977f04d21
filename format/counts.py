"""Frequencies that adapt: counts of symbols, begun from frozen rows. `delta.py` and `modes.py` code
under them.

Where no fixed law fits every file, the counts follow the file. Counting is in integers and the same
for v and -v.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .tables import EDGE, ESCAPE, SYMBOLS, TOTAL_BITS, load
from .values import decode_escape, encode_escape

TOTAL = 1 << TOTAL_BITS
GAIN = 1024  # what one value adds to the counts; a starting row weighs as much as TOTAL / GAIN = 64 values
MOST = TOTAL * 64  # counts are halved when they add up to more: about 4000 values are remembered

Ints = NDArray[np.int64]


class Counts:
    """Counts of symbols for n kinds of values, that turn into a row of frequencies each.

    Start: numbers (n,) of frozen rows, shape * ROWS + row.
    """

    def __init__(self, start: Ints) -> None:
        self._counts: Ints = load().frequencies.reshape(-1, SYMBOLS)[start]

    def frequencies(self) -> Ints:
        """Rows (n, 32) adding up to 2**16, none zero. What rounding leaves over goes to the value
        0."""
        rows: Ints = 1 + self._counts * (TOTAL - SYMBOLS) // self._counts.sum(1, keepdims=True)
        rows[:, EDGE] += TOTAL - rows.sum(1)
        return rows

    def learn(self, symbols: NDArray[Any], kinds: NDArray[Any]) -> None:
        """Takes note of symbols (m,) of these kinds (m,)."""
        seen = np.bincount(kinds * SYMBOLS + symbols, minlength=self._counts.size).reshape(self._counts.shape)
        both = 2 * seen
        both[:, :ESCAPE] = seen[:, :ESCAPE] + seen[:, :ESCAPE][:, ::-1]  # a value counts half for its opposite
        self._counts += both * (GAIN // 2)
        self._counts[self._counts.sum(1) > MOST] >>= 1


def symbols_of(values: Ints) -> NDArray[np.int32]:
    """Symbols (n,) in 0..31 of values: value + 15, or the escape."""
    return np.where(np.abs(values) <= EDGE, values + EDGE, ESCAPE).astype(np.int32)


def encode_escapes(sink: Any, values: Ints) -> None:
    """Those of the values that have the escape's symbol, in order."""
    for value in values[np.abs(values) > EDGE].tolist():
        encode_escape(sink, value)


def values_of(symbols: NDArray[Any], source: Any) -> Ints:
    """The inverse of `symbols_of` and `encode_escapes`."""
    values = symbols.astype(np.int64) - EDGE
    for i in np.flatnonzero(symbols == ESCAPE).tolist():
        values[i] = decode_escape(source)
    return values
