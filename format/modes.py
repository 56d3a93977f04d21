"""The MODE chunk: pictures and displacements that the clip adds to what the model draws. `codec/modes.py` applies them.

Every plane is a wavelet transform in integers, most of them zero. A value is coded under the level of the mean
magnitude that values with neighbours like its own had so far: its parent one level coarser, the same place in the
plane before and in plane 0, and (for every second value, chequered) its four neighbours. Counting is in integers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .entropy import RangeDecoder, RangeEncoder
from .errors import DamagedError, LimitError, UsageError, check
from .limits import Limits
from .tables import MEAN_BITS, SHAPES
from .values import MAX_MAGNITUDE, Meter, Sink, decode_values, encode_values, level_of
from .wire import Pack, Take, crc16

SMALLEST = 4  # side of the coarsest square of a transform
BOUNDS = np.array([1, 2, 3, 4, 6, 9, 15])  # of a neighbourhood's sum; 8 classes
PRIOR = 32  # how many values a class has seen before the first
PRIOR_MEANS = np.array([1, 4, 8, 12, 20, 32, 56, 120])  # ... and their mean, in 1/32
LIKELY_SHAPE = 2  # of the tables, for estimates: what nearly every clip ends up with
CLAMP = 31  # magnitudes count as this at most in a neighbourhood

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Modes:
    """What a clip adds to the model.

    Plane 0 is always there, plane k is multiplied by parameter k - 1.

    Args:
        mix: (params, 1 + driven) int32, what drives the model: its parameter i is
            mix[i, 0] + sum of mix[i, 1 + k] * parameter k.
        mix_step: quantiser number of `mix`.
        luma: (planes, S, S) int32, S a power of two, 8 or more.  chroma: (planes, 2, S / 2, S / 2).
        flow: (planes, 2, G, G), across and down, G a power of two, 8 or more.
        texture_steps, flow_steps: (planes,) quantiser numbers.
    """

    mix: NDArray[np.int32]
    mix_step: int
    luma: NDArray[np.int32]
    chroma: NDArray[np.int32]
    flow: NDArray[np.int32]
    texture_steps: NDArray[np.int64]
    flow_steps: NDArray[np.int64]

    @classmethod
    def empty(cls, mix: NDArray[np.int32], mix_step: int) -> Modes:
        """Modes that add nothing to what the model draws."""
        planes = mix.shape[1]
        steps = np.zeros(planes, np.int64)
        luma, rest = np.zeros((planes, 8, 8), np.int32), np.zeros((planes, 2, 8, 8), np.int32)
        return cls(mix, mix_step, luma, rest[:, :, :4, :4], rest, steps, steps)

    @property
    def planes(self) -> int:
        return len(self.luma)


def bands(size: int) -> Iterator[tuple[int, bool]]:
    """Sides of the squares of a transform, coarse to fine: first the coarsest itself, then three details a level."""
    yield SMALLEST, False
    side = SMALLEST
    while side < size:
        yield side, True
        side *= 2


def _cut(plane: Ints, side: int, detail: bool) -> Ints:
    """The squares of a level, (1 or 3, side, side) out of (..., S, S), as a copy."""
    if not detail:
        squares: Ints = plane[..., None, :side, :side].copy()
        return squares
    low, high = slice(0, side), slice(side, 2 * side)
    return np.stack([plane[..., low, high], plane[..., high, low], plane[..., high, high]], -3)


def _put(plane: Ints, squares: Ints, side: int, detail: bool) -> None:
    if not detail:
        plane[:side, :side] = squares[0]
        return
    low, high = slice(0, side), slice(side, 2 * side)
    plane[low, high], plane[high, low], plane[high, high] = squares


def _magnitudes(values: Ints) -> Ints:
    return np.minimum(np.abs(values), CLAMP)


def _chequer(side: int) -> NDArray[np.bool_]:
    return (np.add.outer(np.arange(side), np.arange(side)) & 1).astype(bool)


def _around(values: Ints) -> Ints:
    """Sum of the four neighbours' magnitudes (n, side, side)."""
    padded = np.pad(values, ((0, 0), (1, 1), (1, 1)))
    return padded[:, :-2, 1:-1] + padded[:, 2:, 1:-1] + padded[:, 1:-1, :-2] + padded[:, 1:-1, 2:]


class _Classes:
    """Running mean magnitudes of the classes of one band: two passes of eight."""

    def __init__(self) -> None:
        self.total = np.tile(PRIOR_MEANS * PRIOR, 2)  # in 1/32
        self.count = np.full(16, PRIOR, np.int64)

    def levels(self, classes: Ints) -> Ints:
        means = (self.total << (MEAN_BITS - 5)) // self.count
        return level_of(means)[classes]

    def learn(self, classes: Ints, values: Ints) -> None:
        self.count += np.bincount(classes, minlength=16)
        np.add.at(self.total, classes, 32 * _magnitudes(values))


class _Coder(Protocol):
    """Codes the values of one pass, or reads them; returns them either way."""

    def __call__(self, values: Ints, levels: Ints) -> Ints: ...


def _walk(component: list[Ints], flags: NDArray[np.int64], guide: list[Ints] | None, code: _Coder) -> None:
    """Visit every present band of every plane.  component: planes (S, S), filled in where `code` decodes.

    flags: (planes, levels) whether a band is there.  guide: planes of another component whose bands of the same
    frequency say where there is something.
    """
    size = component[0].shape[-1]
    for number, (side, detail) in enumerate(bands(size)):
        classes = _Classes()
        odd = np.broadcast_to(_chequer(side), (3 if detail else 1, side, side))
        first: Ints | None = None
        before: Ints | None = None
        for k, plane in enumerate(component):
            if not flags[k, number]:
                before = None
                continue
            now = _cut(plane, side, detail)
            around = np.zeros_like(now)
            if detail and side > SMALLEST:
                coarser = _magnitudes(_cut(plane, side // 2, True))
                around += coarser.repeat(2, 1).repeat(2, 2)
            for other in (first, before):
                if other is not None:
                    around += other
            if guide is not None:
                around += _magnitudes(_cut(guide[k], side, detail))
            for turn, mask in enumerate((~odd, odd)):
                sums = around if turn == 0 else around + _around(_magnitudes(np.where(odd, 0, now)))
                kinds = np.searchsorted(BOUNDS, sums[mask], side="right") + 8 * turn
                values = code(now[mask], classes.levels(kinds))
                now[mask] = values
                classes.learn(kinds, values)
            _put(plane, now, side, detail)
            before = _magnitudes(now)
            first = before if k == 0 else first


def _components(modes: Modes) -> list[tuple[list[Ints], int | None]]:
    """Every component's planes, and which component guides it."""
    wide = [np.asarray(v).astype(np.int64) for v in (modes.luma, modes.chroma, modes.flow)]
    parts = [wide[0], wide[1][:, 0], wide[1][:, 1], wide[2][:, 0], wide[2][:, 1]]
    guides = (None, 0, 1, None, 3)
    return [(list(part), guide) for part, guide in zip(parts, guides, strict=True)]


def _levels_of(size: int) -> int:
    return len(list(bands(size)))


def _flags(planes: list[Ints]) -> NDArray[np.int64]:
    rows = [[int(_cut(plane, side, detail).any()) for side, detail in bands(plane.shape[-1])] for plane in planes]
    return np.array(rows, np.int64)


def _emit(modes: Modes, shape: int, sink: Sink) -> None:
    parts = _components(modes)

    def code(values: Ints, levels: Ints) -> Ints:
        encode_values(sink, values, levels, shape)
        return values

    mix = np.asarray(modes.mix).astype(np.int64).T
    for column in mix:
        level = _mix_level(column)
        sink.bits(np.array([level]), np.array([7]))
        encode_values(sink, column, np.full(len(column), level))
    for planes, guide in parts:
        flags = _flags(planes)
        sink.bits(flags.ravel(), np.ones(flags.size, np.int64))
        _walk(planes, flags, None if guide is None else parts[guide][0], code)


def _mix_level(column: Ints) -> int:
    return int(level_of(np.array((int(np.abs(column).sum()) << MEAN_BITS) // len(column))))


def _crc(modes: Modes) -> int:
    seed = 0xFFFF
    for part in (modes.mix, modes.luma, modes.chroma, modes.flow):
        seed = crc16(np.ascontiguousarray(part, "<i4").tobytes(), seed)
    return seed


def modes_bits(modes: Modes) -> float:
    """Estimated bits of the chunk's payload."""
    meter = Meter()
    _emit(modes, LIKELY_SHAPE, meter)
    return meter.spent + 16 * modes.planes + 80


def _check(modes: Modes) -> None:
    planes = len(modes.luma)
    size, grid = modes.luma.shape[-1], modes.flow.shape[-1]
    shapes = [(planes, size, size), (planes, 2, size // 2, size // 2), (planes, 2, grid, grid)]
    good = [v.shape for v in (modes.luma, modes.chroma, modes.flow)] == shapes and planes > 0
    good = good and all(side >= 8 and side & (side - 1) == 0 for side in (size, grid))
    good = good and modes.mix.ndim == 2 and 1 <= modes.mix.shape[1] <= planes and 1 <= len(modes.mix) <= 255
    good = good and len(modes.texture_steps) == len(modes.flow_steps) == planes <= 255
    if not good:
        raise UsageError("modes: the parts do not fit each other")
    for part in (modes.mix, modes.luma, modes.chroma, modes.flow):
        if int(np.abs(np.asarray(part).astype(np.int64)).max()) > MAX_MAGNITUDE:
            raise UsageError(f"modes: a value is beyond {MAX_MAGNITUDE}")


def encode_modes(modes: Modes) -> bytes:
    """Codes modes.  Raises UsageError where the parts do not fit each other."""
    _check(modes)
    costs = []
    for shape in range(SHAPES):
        meter = Meter()
        _emit(modes, shape, meter)
        costs.append(meter.spent)
    shape = int(np.argmin(costs))
    encoder = RangeEncoder()
    _emit(modes, shape, encoder)
    size, grid = modes.luma.shape[-1], modes.flow.shape[-1]
    pack = Pack().fixed(
        "BBBBBBB", modes.planes, len(modes.mix), modes.mix.shape[1], size.bit_length() - 1, grid.bit_length() - 1,
        modes.mix_step, shape,
    )  # fmt: skip
    steps = np.concatenate([modes.texture_steps, modes.flow_steps]).astype(np.uint8).tobytes()
    return pack.raw(steps).raw(encoder.finish()).fixed("H", _crc(modes)).bytes()


def decode_modes(data: bytes, limits: Limits | None = None) -> Modes:
    """Reads modes back.  Raises DamagedError or LimitError."""
    limits = limits or Limits()
    take = Take(data, "modes")
    planes, params, columns, size_bits, grid_bits, mix_step, shape = take.fixed("BBBBBBB")
    check(planes and params and 1 <= columns <= planes, "modes: no planes, or more driven than there are")
    check(3 <= grid_bits <= 16 and 3 <= size_bits <= 16 and shape < SHAPES, "modes: unknown size or shape")
    size, grid = 1 << size_bits, 1 << grid_bits
    total = planes * (size * size * 3 // 2 + 2 * grid * grid)
    if total > limits.max_mode_values:
        raise LimitError(f"more than {limits.max_mode_values} mode values")
    steps = np.frombuffer(take.raw(2 * planes), np.uint8).astype(np.int64)
    check(take.left() >= 2, "modes end early")
    decoder = RangeDecoder(take.raw(take.left() - 2))
    stated = take.fixed("H")[0]

    def code(values: Ints, levels: Ints) -> Ints:
        return decode_values(decoder, levels, shape)

    mix = np.zeros((columns, params), np.int64)
    for column in mix:
        level = int(decoder.bits(np.array([7]))[0])
        check(level < 100, "modes: unknown level")
        column[:] = decode_values(decoder, np.full(params, level))
        check(_mix_level(column) == level, "modes: a level is not the one its values have")
    parts: list[list[Ints]] = []
    for side, guide in ((size, None), (size // 2, 0), (size // 2, 1), (grid, None), (grid, 3)):
        levels = _levels_of(side)
        flags = decoder.bits(np.ones(planes * levels, np.int64)).reshape(planes, levels).astype(np.int64)
        part = [np.zeros((side, side), np.int64) for _ in range(planes)]
        _walk(part, flags, None if guide is None else parts[guide], code)
        check((_flags(part) == flags).all(), "modes: a band is announced and empty")
        parts.append(part)
    decoder.finish()
    luma, blue, red, across, down = (np.stack(part) for part in parts)
    wide = [mix.T, luma, np.stack([blue, red], 1), np.stack([across, down], 1)]
    check(max(int(np.abs(part).max()) for part in wide) <= MAX_MAGNITUDE, f"modes: a value is beyond {MAX_MAGNITUDE}")
    narrow = [np.ascontiguousarray(part, np.int32) for part in wide]
    modes = Modes(narrow[0], mix_step, narrow[1], narrow[2], narrow[3], steps[:planes], steps[planes:])
    if _crc(modes) != stated:
        raise DamagedError("the modes' final check fails")
    return modes
