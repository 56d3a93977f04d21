"""The MODE chunk: pictures and displacements that the clip adds to what the model draws.

`codec/draw/modes.py` applies them.

Every plane is a wavelet transform in integers, most of them zero. A value is coded under the counts of the values with
surroundings like its own so far: a weighted sum of magnitudes of the planes before, of another component, one level
coarser and (for every second value, chequered) of its four neighbours. Counting is in integers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .counts import Counts, encode_escapes, symbols_of, values_of
from .entropy import RangeDecoder, RangeEncoder
from .errors import DamagedError, LimitError, UsageError, check
from .limits import Limits
from .tables import EDGE, MEAN_BITS, ROWS
from .values import MAX_MAGNITUDE, Meter, Sink, decode_values, encode_values, level_of
from .wire import Pack, Take, crc16

SMALLEST = 4  # side of the coarsest square of a transform
CLAMP = 31  # magnitudes count as this at most in a neighbourhood
# What the magnitudes nearby say, in 1/256, a row a turn: the same place in the plane before and in the guide, the
# neighbours of this turn's place, of that place in the plane before, in the guide and one level coarser, and the
# history of the place.  Least squares over ten clips (tools/lab/train/contexts.py).
WEIGHTS = {
    "luma": np.array([[21, 0, 0, 6, 0, 17, 3], [13, 0, 45, 1, 0, 5, 2]]),
    "chroma": np.array([[21, 12, 0, 5, 2, 12, 2], [11, 6, 41, 2, 0, 5, 2]]),
    "flow": np.array([[16, 32, 0, 14, 15, 12, 5], [10, 19, 42, 4, 4, 4, 3]]),
}
BOUNDS = np.array([10, 20, 31, 44, 59, 77, 102, 128, 166, 218, 282, 384, 538, 819, 1280, 2048])  # of the sum
CLASSES = len(BOUNDS) + 1
LONELY = 9.0  # bits, for estimates: what the first value of a band costs
# The frozen rows that the counts of the classes begin from, of the last shape: by the mean that the bounds suggest
START = 2 * ROWS + np.array([0, 8, 11, 13, 15, 16, 18, 19, 21, 22, 24, 26, 27, 30, 32, 35, 35])

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


def _cut(plane: NDArray[Any], side: int, detail: bool) -> NDArray[Any]:
    """The squares of a level, (1 or 3, side, side) out of (..., S, S), as a copy."""
    if not detail:
        squares: NDArray[Any] = plane[..., None, :side, :side].copy()
        return squares
    low, high = slice(0, side), slice(side, 2 * side)
    return np.stack([plane[..., low, high], plane[..., high, low], plane[..., high, high]], -3)


def _put(plane: NDArray[Any], squares: NDArray[Any], side: int, detail: bool) -> None:
    if not detail:
        plane[:side, :side] = squares[0]
        return
    low, high = slice(0, side), slice(side, 2 * side)
    plane[low, high], plane[high, low], plane[high, high] = squares


def _magnitudes(values: NDArray[Any]) -> NDArray[np.int32]:
    clamped: NDArray[np.int32] = np.minimum(np.abs(values), CLAMP).astype(np.int32)
    return clamped


def _chequer(side: int) -> NDArray[np.bool_]:
    return (np.add.outer(np.arange(side), np.arange(side)) & 1).astype(bool)


def _around(values: NDArray[np.int32]) -> NDArray[np.int32]:
    """Sum of the four neighbours' magnitudes (n, side, side)."""
    padded = np.pad(values, ((0, 0), (1, 1), (1, 1)))
    return padded[:, :-2, 1:-1] + padded[:, 2:, 1:-1] + padded[:, 1:-1, :-2] + padded[:, 1:-1, 2:]


@dataclass(frozen=True)
class Turn:
    """Every second place of a plane's band, in all its squares.

    plane, side, detail: which band.  now: the band's values (1 or 3, side, side), to be filled in at `mask` before
    the next turn.  number: 0 or 1.  parts: what WEIGHTS weighs, each like `now`.
    """

    plane: int
    side: int
    detail: bool
    now: Ints
    mask: NDArray[np.bool_]
    number: int
    parts: tuple[NDArray[np.int32], ...]


def turns(component: list[Ints], flags: NDArray[np.int64], guide: list[Ints] | None) -> Iterator[Turn]:
    """Visit every present band of every plane.  component: planes (S, S), written to as the turns are filled in.

    flags: (planes, levels) whether a band is there.  guide: planes of another component whose bands of the same
    frequency say where there is something.
    """
    size = component[0].shape[-1]
    for level, (side, detail) in enumerate(bands(size)):
        odd = np.broadcast_to(_chequer(side), (3 if detail else 1, side, side))
        nothing = np.zeros(odd.shape, np.int32)
        before, around_before, history = nothing, nothing, nothing
        for k, plane in enumerate(component):
            if not flags[k, level]:
                before = around_before = nothing
                continue
            now = _cut(plane, side, detail)
            beside = around_beside = around_coarser = nothing
            if guide is not None:
                beside = _magnitudes(_cut(guide[k], side, detail))
                around_beside = _around(beside)
            if side > SMALLEST:
                coarser = _magnitudes(_cut(plane, side // 2, True))
                around_coarser = _around(coarser.repeat(2, 1).repeat(2, 2))
            rest = (around_before, around_beside, around_coarser, history)
            yield Turn(k, side, detail, now, ~odd, 0, (before, beside, nothing, *rest))
            yield Turn(
                k, side, detail, now, odd, 1, (before, beside, _around(_magnitudes(np.where(odd, 0, now))), *rest)
            )
            _put(plane, now, side, detail)
            before = _magnitudes(now)
            around_before = _around(before)
            history = (3 * history >> 2) + 4 * before


class _Coder(Protocol):
    """Codes the values of one turn, or reads them; returns them either way."""

    def __call__(self, values: Ints, kinds: Ints, counts: Counts) -> Ints: ...


def _kinds(turn: Turn, weights: Ints) -> Ints:
    """Which counts each value of a turn goes by."""
    used = [(w, part) for w, part in zip(weights[turn.number].tolist(), turn.parts, strict=True) if w]
    total = sum(w * part for w, part in used)[turn.mask]
    kinds: Ints = np.searchsorted(BOUNDS, total, side="right") + CLASSES * turn.number
    return kinds


def _walk(turns: Iterator[Turn], name: str, counts: dict[str, Counts], code: _Coder) -> None:
    """Code the turns of a component whose weights and counts go by `name`."""
    for turn in turns:
        kinds = _kinds(turn, WEIGHTS[name])
        turn.now[turn.mask] = code(turn.now[turn.mask], kinds, counts[name])


# What a component's counts are shared under, and which component guides it: luma, blue, red, across, down
COMPONENTS: tuple[tuple[str, int | None], ...] = (
    ("luma", None), ("chroma", 0), ("chroma", 1), ("flow", None), ("flow", 3),
)  # fmt: skip


def components(modes: Modes) -> list[list[Ints]]:
    """Every component's planes."""
    wide = [np.asarray(v).astype(np.int64) for v in (modes.luma, modes.chroma, modes.flow)]
    return [list(part) for part in (wide[0], wide[1][:, 0], wide[1][:, 1], wide[2][:, 0], wide[2][:, 1])]


def _counts() -> dict[str, Counts]:
    return {name: Counts(np.tile(START, 2)) for name in WEIGHTS}


def _levels_of(size: int) -> int:
    return len(list(bands(size)))


def present(planes: list[Ints]) -> NDArray[np.int64]:
    rows = [[int(_cut(plane, side, detail).any()) for side, detail in bands(plane.shape[-1])] for plane in planes]
    return np.array(rows, np.int64)


def _emit(modes: Modes, sink: Sink) -> None:
    parts = components(modes)

    def code(values: Ints, kinds: Ints, counts: Counts) -> Ints:
        symbols = symbols_of(values)
        sink.kinds(symbols, counts.frequencies(), kinds)
        encode_escapes(sink, values)
        counts.learn(symbols, kinds)
        return values

    mix = np.asarray(modes.mix).astype(np.int64).T
    for column in mix:
        level = _mix_level(column)
        sink.bits(np.array([level]), np.array([7]))
        encode_values(sink, column, np.full(len(column), level))
    counts = _counts()
    for planes, (name, guide) in zip(parts, COMPONENTS, strict=True):
        flags = present(planes)
        sink.bits(flags.ravel(), np.ones(flags.size, np.int64))
        _walk(turns(planes, flags, None if guide is None else parts[guide]), name, counts, code)


def _mix_level(column: Ints) -> int:
    return int(level_of(np.array((int(np.abs(column).sum()) << MEAN_BITS) // len(column))))


def _crc(modes: Modes) -> int:
    seed = 0xFFFF
    for part in (modes.mix, modes.luma, modes.chroma, modes.flow):
        seed = crc16(np.ascontiguousarray(part, "<i4").tobytes(), seed)
    return seed


def modes_bits(modes: Modes) -> tuple[float, list[NDArray[np.float32]]]:
    """Estimated bits of the chunk's payload, and of luma, chroma and flow how many bits a 1 costs more than a 0.

    The second is for an encoder that asks what a value is worth: one that stands alone costs several times what one
    among others does.
    """
    meter = Meter()
    parts, counts = components(modes), _counts()
    prices = [np.full((len(part), *part[0].shape), LONELY, np.float32) for part in parts]
    for number, (planes, (name, guide)) in enumerate(zip(parts, COMPONENTS, strict=True)):
        for turn in turns(planes, present(planes), None if guide is None else parts[guide]):
            kinds, values = _kinds(turn, WEIGHTS[name]), turn.now[turn.mask]
            symbols, rows = symbols_of(values), counts[name].frequencies()
            meter.kinds(symbols, rows, kinds)
            encode_escapes(meter, values)
            counts[name].learn(symbols, kinds)
            bits = np.log2(rows[:, EDGE - 1 : EDGE + 2])
            plane = prices[number][turn.plane]
            squares = _cut(plane, turn.side, turn.detail)
            squares[turn.mask] = (bits[:, 1] - (bits[:, 0] + bits[:, 2]) / 2)[kinds]
            _put(plane, squares, turn.side, turn.detail)
    luma, blue, red, across, down = prices
    return meter.spent + 16 * modes.planes + 80, [luma, np.stack([blue, red], 1), np.stack([across, down], 1)]


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
    encoder = RangeEncoder()
    _emit(modes, encoder)
    size, grid = modes.luma.shape[-1], modes.flow.shape[-1]
    pack = Pack().fixed(
        "BBBBBB", modes.planes, len(modes.mix), modes.mix.shape[1], size.bit_length() - 1, grid.bit_length() - 1,
        modes.mix_step,
    )  # fmt: skip
    steps = np.concatenate([modes.texture_steps, modes.flow_steps]).astype(np.uint8).tobytes()
    return pack.raw(steps).raw(encoder.finish()).fixed("H", _crc(modes)).bytes()


def decode_modes(data: bytes, limits: Limits | None = None) -> Modes:
    """Reads modes back.  Raises DamagedError or LimitError."""
    limits = limits or Limits()
    take = Take(data, "modes")
    planes, params, columns, size_bits, grid_bits, mix_step = take.fixed("BBBBBB")
    check(planes and params and 1 <= columns <= planes, "modes: no planes, or more driven than there are")
    check(3 <= grid_bits <= 16 and 3 <= size_bits <= 16, "modes: unknown size")
    size, grid = 1 << size_bits, 1 << grid_bits
    total = planes * (size * size * 3 // 2 + 2 * grid * grid)
    if total > limits.max_mode_values:
        raise LimitError(f"more than {limits.max_mode_values} mode values")
    steps = np.frombuffer(take.raw(2 * planes), np.uint8).astype(np.int64)
    check(take.left() >= 2, "modes end early")
    decoder = RangeDecoder(take.raw(take.left() - 2))
    stated = take.fixed("H")[0]

    def code(values: Ints, kinds: Ints, counts: Counts) -> Ints:
        symbols = decoder.kinds(counts.frequencies(), kinds)
        counts.learn(symbols, kinds)
        return values_of(symbols, decoder)

    mix = np.zeros((columns, params), np.int64)
    for column in mix:
        level = int(decoder.bits(np.array([7]))[0])
        check(level < 100, "modes: unknown level")
        column[:] = decode_values(decoder, np.full(params, level))
        check(_mix_level(column) == level, "modes: a level is not the one its values have")
    parts: list[list[Ints]] = []
    counts = _counts()
    for side, (name, guide) in zip((size, size // 2, size // 2, grid, grid), COMPONENTS, strict=True):
        levels = _levels_of(side)
        flags = decoder.bits(np.ones(planes * levels, np.int64)).reshape(planes, levels).astype(np.int64)
        part = [np.zeros((side, side), np.int64) for _ in range(planes)]
        _walk(turns(part, flags, None if guide is None else parts[guide]), name, counts, code)
        check((present(part) == flags).all(), "modes: a band is announced and empty")
        parts.append(part)
    decoder.finish()
    most = max(int(np.abs(plane).max()) for plane in (mix, *(plane for part in parts for plane in part)))
    check(most <= MAX_MAGNITUDE, f"modes: a value is beyond {MAX_MAGNITUDE}")
    luma, blue, red, across, down = (np.stack(part, dtype=np.int32, casting="unsafe") for part in parts)
    narrow = [np.ascontiguousarray(mix.T, np.int32), luma, np.stack([blue, red], 1), np.stack([across, down], 1)]
    modes = Modes(narrow[0], mix_step, narrow[1], narrow[2], narrow[3], steps[:planes], steps[planes:])
    if _crc(modes) != stated:
        raise DamagedError("the modes' final check fails")
    return modes
