"""A coder is what a walk over a chunk's values is done with: it writes them, measures them, or
reads them.

The walk says in which order values come and under what they are coded, once for all three. What it
hands to a coder are the values to write; a reader ignores those and gives back what it read.
`modes.py` and `identity.py` walk like this.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .counts import Counts, encode_escapes, symbols_of, values_of
from .entropy import RangeDecoder
from .values import Sink, decode_values, encode_values

Ints = NDArray[np.int64]


class Coder(Protocol):
    """Every method takes values (n,) and returns the values (n,) to go on with."""

    def bits(self, values: Ints, widths: Ints) -> Ints:
        """Plain values of these widths (n,)."""

    def values(self, values: Ints, levels: Ints, shape: int = 0) -> Ints:
        """Values at these levels (n,), under one shape."""

    def counted(self, values: Ints, kinds: Ints, counts: Counts) -> Ints:
        """Values of these kinds (n,), under counts, which learn from them."""


class Writing:
    """Writes to a RangeEncoder, or measures with a Meter."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink

    def bits(self, values: Ints, widths: Ints) -> Ints:
        self.sink.bits(values, widths)
        return values

    def values(self, values: Ints, levels: Ints, shape: int = 0) -> Ints:
        encode_values(self.sink, values, levels, shape)
        return values

    def counted(self, values: Ints, kinds: Ints, counts: Counts) -> Ints:
        symbols = symbols_of(values)
        self.sink.kinds(symbols, counts.frequencies(), kinds)
        encode_escapes(self.sink, values)
        counts.learn(symbols, kinds)
        return values


class Reading:
    """Reads from a RangeDecoder."""

    def __init__(self, source: RangeDecoder) -> None:
        self.source = source

    def bits(self, values: Ints, widths: Ints) -> Ints:
        return self.source.bits(widths).astype(np.int64)

    def values(self, values: Ints, levels: Ints, shape: int = 0) -> Ints:
        return decode_values(self.source, levels, shape)

    def counted(self, values: Ints, kinds: Ints, counts: Counts) -> Ints:
        symbols = self.source.kinds(counts.frequencies(), kinds)
        counts.learn(symbols, kinds)
        return values_of(symbols, self.source)
