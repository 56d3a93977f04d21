"""The DELT chunk: a small change to the model's weights, as quantised tensors.

`codec/draw/delta.py` makes and applies them.

No fixed law fits every tensor, so the frequencies adapt: they start from a frozen row (the encoder
names it), or go on from the tensor before, and every block of values moves them.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .counts import Counts, encode_escapes, symbols_of, values_of
from .entropy import RangeDecoder, RangeEncoder
from .errors import DamagedError, LimitError, UsageError, check
from .limits import Limits
from .tables import EDGE, LAWS, ROWS, SYMBOLS, TOTAL_BITS, load
from .values import MAX_MAGNITUDE
from .wire import Pack, Take, crc16

FIRST_BLOCK = 16  # values coded between two updates of the frequencies ...
LATER_BLOCK = 128  # ... and once this many values were seen since the starting row, when little changes any more:
SETTLED = 512
CARRY_ON = 255  # start byte: keep the counts of the tensor before

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class DeltaTensor:
    """One changed tensor.

    Args:
        key: index into the model's list of tunable tensors, 0..65535.
        variant: how the values make the change (`codec/draw/delta.py` lists them), 0..255.
        rank: of a low-rank change, 0..255.
        step_code: of the values, 0..255.
        values: (n,) int32, n > 0.
    """

    key: int
    variant: int
    rank: int
    step_code: int
    values: NDArray[np.int32]


class Adaptive:
    """The counts of one tensor after the other. Start: number of a frozen row, shape * ROWS +
    row."""

    def __init__(self, start: int) -> None:
        check(start < LAWS * ROWS, "delta: unknown starting row")
        self._counts = Counts(np.array([start]))
        self._seen = 0

    @property
    def block(self) -> int:
        """How many values come before the next update."""
        return FIRST_BLOCK if self._seen < SETTLED else LATER_BLOCK

    def frequencies(self) -> Ints:
        """Row (32,) adding up to 2**16, none zero."""
        row: Ints = self._counts.frequencies()[0]
        return row

    def learn(self, symbols: NDArray[np.int32]) -> None:
        """Takes note of a block of symbols."""
        self._counts.learn(symbols, np.zeros(len(symbols), np.int64))
        self._seen += len(symbols)


def _start(start: int, before: Adaptive | None) -> Adaptive:
    if start != CARRY_ON:
        return Adaptive(start)
    if before is None:
        raise DamagedError("the first delta tensor has nothing to carry on")
    return before


def _escape_bits(values: Ints) -> float:
    beyond = np.abs(values)[np.abs(values) > EDGE] - EDGE + 3
    return float((2 * np.floor(np.log2(beyond))).sum()) if len(beyond) else 0.0


def _spend(symbols: NDArray[np.int32], model: Adaptive) -> float:
    """Estimated bits of the symbols under a model, which learns from them."""
    spent, at = 0.0, 0
    while at < len(symbols):
        block = symbols[at : at + model.block]
        spent += TOTAL_BITS * len(block) - float(np.log2(model.frequencies()[block]).sum())
        model.learn(block)
        at += len(block)
    return spent


def _best_row(symbols: NDArray[np.int32]) -> tuple[int, float]:
    """The frozen row that fits best, and the bits it would take alone."""
    costs = load().bits[:LAWS].reshape(-1, SYMBOLS) @ np.bincount(symbols, minlength=SYMBOLS)
    best = int(np.argmin(costs))
    return best, float(costs[best])


def delta_bits(values: NDArray[np.int32]) -> float:
    """Estimated bits of one tensor's values (any shape). Cheap: one histogram. A little too
    high."""
    wide = np.asarray(values).astype(np.int64).ravel()
    if not len(wide):
        return 0.0
    symbols = symbols_of(wide)
    seen = np.bincount(symbols, minlength=SYMBOLS)
    used = seen[seen > 0]
    entropy = float(-(used * np.log2(used / len(wide))).sum())
    learning = 8.0 * np.log2(1 + len(wide) / 16)  # about half a bit a doubling for each of 16 counts
    return float(min(_best_row(symbols)[1], entropy + learning)) + _escape_bits(wide)


def encode_delta(tensors: Sequence[DeltaTensor]) -> bytes:
    """Codes tensors in the order given. Raises UsageError for repeated keys and values out of
    range."""
    if not tensors:
        raise UsageError("a delta has at least one tensor")
    if len({(tensor.key, tensor.variant) for tensor in tensors}) != len(tensors):
        raise UsageError("a delta tensor appears twice")
    pack = Pack().varint(len(tensors))
    encoder = RangeEncoder()
    model: Adaptive | None = None
    seed = 0xFFFF
    for tensor in tensors:
        wide = np.asarray(tensor.values).astype(np.int64)
        if wide.ndim != 1 or not len(wide) or int(np.abs(wide).max()) > MAX_MAGNITUDE:
            raise UsageError(f"delta tensor {tensor.key} is empty, not flat or out of range")
        symbols = symbols_of(wide)
        start = _best_row(symbols)[0]
        if model is not None and _spend(symbols, deepcopy(model)) <= _spend(symbols, Adaptive(start)):
            start = CARRY_ON
        model = _start(start, model)
        pack.fixed("HBBBB", tensor.key, tensor.variant, tensor.rank, tensor.step_code, start).varint(len(wide))
        at = 0
        while at < len(wide):
            block = symbols[at : at + model.block]
            encoder.table(block, model.frequencies())
            encode_escapes(encoder, wide[at : at + len(block)])
            model.learn(block)
            at += len(block)
        seed = crc16(wide.astype("<i4").tobytes(), seed)
    return pack.raw(encoder.finish()).fixed("H", seed).bytes()


def decode_delta(data: bytes, limits: Limits | None = None) -> list[DeltaTensor]:
    """Reads back the tensors. Raises DamagedError or LimitError."""
    limits = limits or Limits()
    take = Take(data, "delta")
    tensors: list[tuple[int, ...]] = []
    total = 0
    for _ in range(take.varint(limits.max_delta_tensors, "number of tensors")):
        fields = take.fixed("HBBBB")
        count = take.varint(limits.max_delta_values, "number of values")
        check(count, "a delta tensor is empty")
        total += count
        if total > limits.max_delta_values:
            raise LimitError(f"more than {limits.max_delta_values} delta values")
        tensors.append((*fields, count))
    check(tensors, "the delta has no tensor")
    check(len({fields[:2] for fields in tensors}) == len(tensors), "a delta tensor appears twice")
    check(take.left() >= 2, "delta ends early")
    decoder = RangeDecoder(take.raw(take.left() - 2))
    stated = take.fixed("H")[0]
    model: Adaptive | None = None
    seed = 0xFFFF
    out = []
    for key, variant, rank, step_code, start, count in tensors:
        model = _start(start, model)
        values = np.zeros(count, np.int64)
        at = 0
        while at < count:
            symbols = decoder.table(model.frequencies(), min(model.block, count - at))
            values[at : at + len(symbols)] = values_of(symbols, decoder)
            model.learn(symbols)
            at += len(symbols)
        check(int(np.abs(values).max()) <= MAX_MAGNITUDE, f"a delta value is beyond {MAX_MAGNITUDE}")
        narrow = values.astype(np.int32)
        seed = crc16(narrow.astype("<i4").tobytes(), seed)
        out.append(DeltaTensor(key, variant, rank, step_code, narrow))
    decoder.finish()
    if seed != stated:
        raise DamagedError("the delta's final check fails")
    return out
