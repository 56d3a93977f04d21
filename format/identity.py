"""The IDEN chunk: who it is, as quantised coefficients. What they multiply is up to the model.

The coefficients are coded in groups of 8 under the level of a running mean magnitude, which starts
where the encoder says.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .coders import Coder, Reading, Writing
from .entropy import RangeDecoder, RangeEncoder
from .errors import DamagedError, UsageError, check
from .limits import Limits
from .tables import LAWS, LEVELS, MEAN_BITS
from .values import MAX_MAGNITUDE, Meter, level_of, mean_of_level
from .wire import Pack, Take, crc16

GROUP = 8


def _next_mean(mean: int, magnitudes: NDArray[np.int64]) -> int:
    """The running mean after one more group: moves a quarter of the way."""
    return mean + (((int(magnitudes.sum()) << MEAN_BITS) // len(magnitudes) - mean) >> 2)


def _walk(coder: Coder, values: NDArray[np.int64], level: int, shape: int) -> None:
    """All coefficients in their order: written, measured, or read into `values`."""
    mean = mean_of_level(level)
    for at in range(0, len(values), GROUP):
        group = values[at : at + GROUP]
        group[:] = coder.values(group, np.full(len(group), level_of(np.array(mean))), shape)
        mean = _next_mean(mean, np.abs(group))


def encode_identity(values: NDArray[np.int32]) -> bytes:
    """Codes coefficients (n,), n > 0, magnitudes up to 2**30."""
    wide = np.asarray(values).astype(np.int64)
    if wide.ndim != 1 or len(wide) == 0 or not np.issubdtype(np.asarray(values).dtype, np.integer):
        raise UsageError("an identity is a non-empty row of integers")
    if int(np.abs(wide).max()) > MAX_MAGNITUDE:
        raise UsageError(f"an identity value is beyond {MAX_MAGNITUDE}")
    start = (int(np.abs(wide[: 4 * GROUP]).sum()) << MEAN_BITS) // len(wide[: 4 * GROUP])
    level = int(level_of(np.array(start)))
    costs = []
    for shape in range(LAWS):
        meter = Meter()
        _walk(Writing(meter), wide, level, shape)
        costs.append(meter.spent)
    shape = int(np.argmin(costs))
    encoder = RangeEncoder()
    _walk(Writing(encoder), wide, level, shape)
    pack = Pack().varint(len(wide)).fixed("BB", level, shape).raw(encoder.finish())
    return pack.fixed("H", crc16(wide.astype("<i4").tobytes())).bytes()


def decode_identity(data: bytes, limits: Limits | None = None) -> NDArray[np.int32]:
    """Coefficients (n,). Raises DamagedError or LimitError."""
    take = Take(data, "identity")
    count = take.varint((limits or Limits()).max_identity_values, "number of coefficients")
    check(count, "the identity is empty")
    level, shape = take.fixed("BB")
    check(level < LEVELS and shape < LAWS, "identity: unknown level or shape")
    check(take.left() >= 2, "identity ends early")
    code = take.raw(take.left() - 2)
    stated = take.fixed("H")[0]
    decoder = RangeDecoder(code)
    values = np.zeros(count, np.int64)
    _walk(Reading(decoder), values, level, shape)
    decoder.finish()
    check(int(np.abs(values).max()) <= MAX_MAGNITUDE, f"an identity value is beyond {MAX_MAGNITUDE}")
    narrow = values.astype(np.int32)
    if crc16(narrow.astype("<i4").tobytes()) != stated:
        raise DamagedError("the identity's final check fails")
    return narrow
