"""The MODE chunk: pictures and displacements that the clip adds to what the model draws.

`modecontexts.py` says under what each value is coded. `codec/draw/modes.py` applies the modes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .coders import Coder, Reading, Writing
from .entropy import RangeDecoder, RangeEncoder
from .errors import DamagedError, LimitError, UsageError, check
from .limits import Limits
from .modecontexts import ModeContexts, Turn, cut, present, put
from .tables import EDGE, LEVELS, MEAN_BITS
from .values import MAX_MAGNITUDE, Meter, level_of
from .wire import Pack, Take, crc16

LONELY = 9.0  # bits, for estimates: what the first value of a band costs
_LEVEL_BITS = 7  # of a column of the mix

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Modes:
    """What a clip adds to the model.

    Plane 0 is always there, plane k is multiplied by parameter k - 1.

    Args:
        mix: (params, 1 + driven) int32, what drives the model: its parameter i is
            mix[i, 0] + sum of mix[i, 1 + k] * parameter k.
        mix_step_code: of `mix`.
        luma: (planes, S, S) int32, S a power of two, 8 or more.  chroma: (planes, 2, S / 2, S / 2).
        flow: (planes, 2, G, G), across and down, G a power of two, 8 or more.
        texture_step_codes, flow_step_codes: (planes,).
    """

    mix: NDArray[np.int32]
    mix_step_code: int
    luma: NDArray[np.int32]
    chroma: NDArray[np.int32]
    flow: NDArray[np.int32]
    texture_step_codes: NDArray[np.int64]
    flow_step_codes: NDArray[np.int64]

    @classmethod
    def empty(cls, mix: NDArray[np.int32], mix_step_code: int) -> Modes:
        """Modes that add nothing to what the model draws."""
        planes = mix.shape[1]
        codes = np.zeros(planes, np.int64)
        luma, rest = np.zeros((planes, 8, 8), np.int32), np.zeros((planes, 2, 8, 8), np.int32)
        return cls(mix, mix_step_code, luma, rest[:, :, :4, :4], rest, codes, codes)

    @property
    def planes(self) -> int:
        return len(self.luma)


def components(modes: Modes) -> list[list[Ints]]:
    """The planes of every component, copies: luma, blue, red, across, down."""
    wide = [np.asarray(v).astype(np.int64) for v in (modes.luma, modes.chroma, modes.flow)]
    return [list(part) for part in (wide[0], wide[1][:, 0], wide[1][:, 1], wide[2][:, 0], wide[2][:, 1])]


def _mix_level(column: Ints) -> int:
    return int(level_of(np.array((int(np.abs(column).sum()) << MEAN_BITS) // len(column))))


def _walk(
    coder: Coder, mix: Ints, parts: Iterable[list[Ints]], seen: Callable[[int, Turn], None] | None = None
) -> list[list[Ints]]:
    """Every value of a chunk in its order: written, measured, or read into the arrays.

    Args:
        mix: (columns, params).
        parts: planes (S, S) of the five components, asked for one by one: a reader has memory for
            one more only when the values before were sound.
        seen: told the component's number and every turn just coded.

    Returns:
        The parts.

    Raises:
        DamagedError: what was read is not what a writer writes.
    """
    for column in mix:
        level = int(coder.bits(np.array([_mix_level(column)]), np.array([_LEVEL_BITS]))[0])
        check(level < LEVELS, "modes: unknown level")
        column[:] = coder.values(column, np.full(len(column), level))
        check(_mix_level(column) == level, "modes: a level is not the one its values have")
    contexts = ModeContexts()
    coded: list[list[Ints]] = []
    for number, planes in enumerate(parts):
        coded.append(planes)
        flags = present(planes)
        flags = coder.bits(flags.ravel(), np.ones(flags.size, np.int64)).reshape(flags.shape)
        for turn in contexts.turns(number, coded, flags):
            turn.now[turn.mask] = coder.counted(turn.now[turn.mask], turn.kinds, turn.counts)
            if seen is not None:
                seen(number, turn)
        check((present(planes) == flags).all(), "modes: a band is announced and empty")
    return coded


def _crc(modes: Modes) -> int:
    seed = 0xFFFF
    for part in (modes.mix, modes.luma, modes.chroma, modes.flow):
        seed = crc16(np.ascontiguousarray(part, "<i4").tobytes(), seed)
    return seed


class _Prices(Meter):
    """A Meter that keeps what a 1 would cost more than a 0 in the place of each symbol it was told
    last."""

    of_one: NDArray[np.float64]

    def kinds(self, symbols: NDArray[Any], frequencies: NDArray[Any], numbers: NDArray[Any]) -> None:
        super().kinds(symbols, frequencies, numbers)
        bits = np.log2(frequencies[:, EDGE - 1 : EDGE + 2])
        self.of_one = (bits[:, 1] - (bits[:, 0] + bits[:, 2]) / 2)[numbers]


class _OfPlanes(Writing):
    """Leaves out the mix and the flags: a few bytes, which are taken as known."""

    def bits(self, values: Ints, widths: Ints) -> Ints:
        return values

    def values(self, values: Ints, levels: Ints, shape: int = 0) -> Ints:
        return values


def modes_bits(modes: Modes) -> tuple[float, list[NDArray[np.float32]]]:
    """Estimated bits of the chunk's payload, and of luma, chroma and flow how many bits a 1 costs
    more than a 0.

    The second is for an encoder that asks what a value is worth: one that stands alone costs
    several times what one among others does.
    """
    meter = _Prices()
    parts = components(modes)
    prices = [np.full((len(part), *part[0].shape), LONELY, np.float32) for part in parts]

    def note(number: int, turn: Turn) -> None:
        plane = prices[number][turn.plane]
        squares = cut(plane, turn.side, turn.detail)
        squares[turn.mask] = meter.of_one
        put(plane, squares, turn.side, turn.detail)

    _walk(_OfPlanes(meter), np.asarray(modes.mix).astype(np.int64).T, parts, note)
    luma, blue, red, across, down = prices
    return meter.spent + 16 * modes.planes + 80, [luma, np.stack([blue, red], 1), np.stack([across, down], 1)]


def _check(modes: Modes) -> None:
    planes = len(modes.luma)
    size, grid = modes.luma.shape[-1], modes.flow.shape[-1]
    shapes = [(planes, size, size), (planes, 2, size // 2, size // 2), (planes, 2, grid, grid)]
    good = [v.shape for v in (modes.luma, modes.chroma, modes.flow)] == shapes and planes > 0
    good = good and all(side >= 8 and side & (side - 1) == 0 for side in (size, grid))
    good = good and modes.mix.ndim == 2 and 1 <= modes.mix.shape[1] <= planes and 1 <= len(modes.mix) <= 255
    good = good and len(modes.texture_step_codes) == len(modes.flow_step_codes) == planes <= 255
    if not good:
        raise UsageError("modes: the parts do not fit each other")
    for part in (modes.mix, modes.luma, modes.chroma, modes.flow):
        if int(np.abs(np.asarray(part).astype(np.int64)).max()) > MAX_MAGNITUDE:
            raise UsageError(f"modes: a value is beyond {MAX_MAGNITUDE}")


def encode_modes(modes: Modes) -> bytes:
    """Codes modes.  Raises UsageError where the parts do not fit each other."""
    _check(modes)
    encoder = RangeEncoder()
    _walk(Writing(encoder), np.asarray(modes.mix).astype(np.int64).T, components(modes))
    size, grid = modes.luma.shape[-1], modes.flow.shape[-1]
    pack = Pack().fixed(
        "BBBBBB", modes.planes, len(modes.mix), modes.mix.shape[1], size.bit_length() - 1, grid.bit_length() - 1,
        modes.mix_step_code,
    )  # fmt: skip
    codes = np.concatenate([modes.texture_step_codes, modes.flow_step_codes]).astype(np.uint8).tobytes()
    return pack.raw(codes).raw(encoder.finish()).fixed("H", _crc(modes)).bytes()


def decode_modes(data: bytes, limits: Limits | None = None) -> Modes:
    """Reads modes back.  Raises DamagedError or LimitError."""
    limits = limits or Limits()
    take = Take(data, "modes")
    planes, params, columns, size_bits, grid_bits, mix_step_code = take.fixed("BBBBBB")
    check(planes and params and 1 <= columns <= planes, "modes: no planes, or more driven than there are")
    check(3 <= grid_bits <= 16 and 3 <= size_bits <= 16, "modes: unknown size")
    size, grid = 1 << size_bits, 1 << grid_bits
    total = planes * (size * size * 3 // 2 + 2 * grid * grid)
    if total > limits.max_mode_values:
        raise LimitError(f"more than {limits.max_mode_values} mode values")
    codes = np.frombuffer(take.raw(2 * planes), np.uint8).astype(np.int64)
    check(take.left() >= 2, "modes end early")
    decoder = RangeDecoder(take.raw(take.left() - 2))
    stated = take.fixed("H")[0]
    mix = np.zeros((columns, params), np.int64)
    sides = (size, size // 2, size // 2, grid, grid)
    blank = ([np.zeros((side, side), np.int64) for _ in range(planes)] for side in sides)
    parts = _walk(Reading(decoder), mix, blank)
    decoder.finish()
    most = max(int(np.abs(plane).max()) for plane in (mix, *(plane for part in parts for plane in part)))
    check(most <= MAX_MAGNITUDE, f"modes: a value is beyond {MAX_MAGNITUDE}")
    luma, blue, red, across, down = (np.stack(part, dtype=np.int32, casting="unsafe") for part in parts)
    narrow = [np.ascontiguousarray(mix.T, np.int32), luma, np.stack([blue, red], 1), np.stack([across, down], 1)]
    modes = Modes(narrow[0], mix_step_code, narrow[1], narrow[2], narrow[3], codes[:planes], codes[planes:])
    if _crc(modes) != stated:
        raise DamagedError("the modes' final check fails")
    return modes
