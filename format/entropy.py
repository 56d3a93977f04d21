"""The range coder: the only module that knows constriction. Under which row a value goes others
say.

constriction's coder works with probabilities in units of 2**-24. A row of frequencies f adding up
to 2**16 stands for the probabilities 256 * f / 2**24 exactly: `perfect=False` gives every symbol
one unit first and then shares out the rest in proportion, so handing it (256 * f - 1) / 2**24 in
float64, where every step is exact, returns 256 * f.

The code of a message is one number below 1, written as bytes, most significant first, as few of
them as identify it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NoReturn

import constriction
import numpy as np
from numpy.typing import NDArray

from .errors import DamagedError, UsageError
from .tables import ROWS, SHAPES, SYMBOLS, TOTAL_BITS, load

_stream = constriction.stream
_CATEGORICAL = _stream.model.Categorical(perfect=False)
_UNIFORM = _stream.model.Uniform()
_PRECISION = 24
_WORD = 32
MAX_BITS = 16  # plain bits coded in one go

IntArray = NDArray[np.int64]
_BATCH = 4096  # symbols with a row each that are coded at once: the library wants 256 bytes for each
Op = tuple[str, NDArray[np.int32], Any]


def _weights(frequencies: IntArray) -> NDArray[np.float64]:
    weights = np.asarray(frequencies * (1 << _PRECISION - TOTAL_BITS) - 1, np.float64)
    return np.divide(weights, 1 << _PRECISION, out=weights)


_rows: NDArray[np.float64] | None = None


def _row_weights() -> NDArray[np.float64]:
    """(SHAPES * ROWS, SYMBOLS), made on first use: importing the package reads no file."""
    global _rows
    if _rows is None:
        _rows = _weights(load().frequencies).reshape(SHAPES * ROWS, SYMBOLS)
    return _rows


def _refuse(error: BaseException, cause: type[DamagedError] | type[UsageError]) -> NoReturn:
    # constriction reports misuse by Rust panics, which Python sees as BaseException, beside
    # ordinary exceptions.
    if isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError)):
        raise error
    raise cause("the entropy code is not valid" if cause is DamagedError else f"cannot be coded: {error}") from None


def _model(kind: str, parameter: Any) -> tuple[Any, ...]:
    """What constriction wants to know: a family with one parameter a symbol, or one model for
    all."""
    if kind == "rows":
        return _CATEGORICAL, _row_weights()[parameter]
    if kind == "bits":
        return _UNIFORM, np.left_shift(1, parameter, dtype=np.int32)
    if kind == "kinds":
        rows, numbers = parameter
        return _CATEGORICAL, _weights(rows)[numbers]
    return (_table(np.ascontiguousarray(parameter, np.int64).tobytes()),)


@lru_cache(maxsize=1024)  # flags meet the same few hundred rows again and again
def _table(row: bytes) -> Any:
    return _stream.model.Categorical(_weights(np.frombuffer(row, np.int64)), perfect=False)


class RangeEncoder:
    """Codes symbols one batch after another; `finish()` gives the bytes."""

    def __init__(self) -> None:
        self._coder = _stream.queue.RangeEncoder()

    def rows(self, symbols: NDArray[Any], rows: NDArray[Any]) -> None:
        """Symbols (n,) in 0..31, each under the table row of the same place; row = shape * ROWS +
        number."""
        self._run("rows", symbols, rows)

    def bits(self, values: NDArray[Any], widths: NDArray[Any]) -> None:
        """Plain values (n,), each below 2**width with a width of 1..16."""
        self._run("bits", values, widths)

    def table(self, symbols: NDArray[Any], frequencies: NDArray[Any]) -> None:
        """Symbols (n,) in 0..31, all under one row (32,) of frequencies adding up to 2**16, none
        zero."""
        self._run("table", symbols, frequencies)

    def kinds(self, symbols: NDArray[Any], frequencies: NDArray[Any], numbers: NDArray[Any]) -> None:
        """Symbols (n,) in 0..31, each under the row numbers (n,) of frequencies (m, 32), m up to
        256."""
        for at in range(0, len(numbers), _BATCH):
            self._run("kinds", symbols[at : at + _BATCH], (frequencies, numbers[at : at + _BATCH]))

    def _run(self, kind: str, symbols: NDArray[Any], parameter: Any) -> None:
        if len(symbols) == 0:
            return
        symbols = np.ascontiguousarray(symbols, np.int32)
        try:
            self._coder.encode(symbols, *_model(kind, parameter))
        except BaseException as error:  # noqa: BLE001
            _refuse(error, UsageError)

    def finish(self) -> bytes:
        """The shortest byte string whose number, zeros appended for ever, lies in the final
        interval."""
        position, (lower, span) = self._coder.pos()
        if position == 0 and span == (1 << 64) - 1:
            return b""
        words = self._coder.get_compressed()
        digits = position + 2
        number = int.from_bytes(np.asarray(words, ">u4").tobytes(), "big") << (_WORD * (digits - len(words)))
        # The library's own ending lies in the interval; its distance from the interval's start is
        # what fits 64 bits.
        start = number - ((number - lower) % (1 << 64))
        for size in range(max(0, 4 * digits - 8), 4 * digits + 1):
            unit = 8 * (4 * digits - size)
            code = -(-start >> unit)
            if (code << unit) < start + span:
                return bytes(code.to_bytes(size, "big").rstrip(b"\0"))
        raise UsageError("the entropy coder lost its interval")


class RangeDecoder:
    """Reads back what RangeEncoder wrote, when asked in the same order. Bytes beyond the code's end
    read as zeros."""

    def __init__(self, code: bytes) -> None:
        padded = code + bytes(-len(code) % 4)
        words = np.frombuffer(padded, ">u4").astype(np.uint32)
        self._code = code
        self._coder = _stream.queue.RangeDecoder(words)
        self._done: list[Op] = []

    def rows(self, rows: NDArray[Any]) -> NDArray[np.int32]:
        return self._run("rows", rows, len(rows))

    def bits(self, widths: NDArray[Any]) -> NDArray[np.int32]:
        return self._run("bits", widths, len(widths))

    def table(self, frequencies: NDArray[Any], count: int) -> NDArray[np.int32]:
        return self._run("table", frequencies, count)

    def kinds(self, frequencies: NDArray[Any], numbers: NDArray[Any]) -> NDArray[np.int32]:
        narrow = numbers.astype(np.uint8)  # kept until `finish`
        parts = [narrow[at : at + _BATCH] for at in range(0, len(narrow), _BATCH)]
        return np.concatenate([self._run("kinds", (frequencies, part), len(part)) for part in parts])

    def _run(self, kind: str, parameter: Any, count: int) -> NDArray[np.int32]:
        if count == 0:
            return np.zeros(0, np.int32)
        try:
            model = _model(kind, parameter)
            symbols: NDArray[np.int32] = self._coder.decode(*model, *([count] if kind == "table" else []))
        except BaseException as error:  # noqa: BLE001
            _refuse(error, DamagedError)
        self._done.append((kind, symbols, parameter))
        return symbols

    def finish(self) -> None:
        """Raises DamagedError unless the code is byte for byte the one the encoder writes for the
        decoded symbols.

        So nothing can hide behind the code, and one content has one code.
        """
        encoder = RangeEncoder()
        at = 0
        while at < len(self._done):
            kind, symbols, parameter = self._done[at]
            upto = at + 1
            if kind in ("rows", "bits"):
                while upto < len(self._done) and self._done[upto][0] == kind:
                    upto += 1
                symbols = np.concatenate([op[1] for op in self._done[at:upto]])
                parameter = np.concatenate([op[2] for op in self._done[at:upto]])
            encoder._run(kind, symbols, parameter)
            at = upto
        if encoder.finish() != self._code:
            raise DamagedError("the entropy code is not the one its content has")
