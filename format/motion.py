"""A segment's entropy block: the motion and placement of its frames. `segment.py` wraps it.

A frame's parameters are coded as differences from the frame before (the segment's first frame: from zero); frames
marked held repeat the one before and cost nothing. Motion and placement are separate codes, so that a file's bytes can
be told apart without decoding. Motion goes under trained rows, where a residual is seen in the direction in which the
parameter last moved, and frames in which nothing moves are flagged and left out. The block ends with a CRC-16 of the
decoded integers: unlike the CRC-32 of the chunk it notices a reader whose tables, model or arithmetic differ from the
writer's.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .adaptive import Contexts, Stills, bounds, habits
from .entropy import RangeDecoder, RangeEncoder
from .errors import DamagedError, UsageError, check
from .tables import EDGE, LEVELS, MEAN_BITS, ROWS
from .values import MAX_MAGNITUDE, SHIFT_OF_LEVEL, decode_from, encode_values, level_of, value_bits
from .wire import Pack, Take, crc16

PLACEMENT_VALUES = 4  # centre x, centre y, half side in 1/8 pixel; angle in 2*pi/16384
CHECK_SEED = 0xFFFF
CHECK_BYTES = 2

Ints = NDArray[np.int64]


class Track(NamedTuple):
    """How motion or placement is coded.

    groups: of parameters, one after another.  trained: under trained shapes, and without frames that stand still.
    """

    groups: int
    trained: bool


MOTION = Track(5, True)
FIRST_MOTION = Track(5, False)  # before there were trained shapes
PLACEMENT = Track(2, False)


class Plan(NamedTuple):
    """What a track's frames cost, each array (m, P).

    frames: those that have residuals: the first, and all that are not held and do not stand still.
    signs: -1 where a residual is coded as its opposite, since the last one was negative; else 1.
    """

    frames: list[int]
    residuals: Ints
    levels: Ints
    shapes: Ints
    signs: Ints

    def bits(self) -> NDArray[np.float64]:
        """Estimated bits of every residual. For rate control."""
        return value_bits(self.residuals * self.signs, self.levels, self.shapes)


def _checked(values: NDArray[np.int32], held: NDArray[np.bool_]) -> Ints:
    """As int64 (n, P); raises UsageError for what cannot be coded."""
    array = np.asarray(values)
    if array.ndim != 2 or not np.issubdtype(array.dtype, np.integer) or len(array) != len(held) or array.shape[1] == 0:
        raise UsageError(f"expected integers of shape ({len(held)}, P), got {array.dtype} {array.shape}")
    wide = array.astype(np.int64)
    if wide.size and int(np.abs(wide).max()) > MAX_MAGNITUDE:
        raise UsageError(f"a value is beyond {MAX_MAGNITUDE}")
    if (wide[1:] != wide[:-1])[held[1:]].any():
        raise UsageError("a held frame differs from the frame before it")
    return wide


def _coded(held: NDArray[np.bool_]) -> list[int]:
    """The frames that are coded: the first, and all that are not held."""
    return [0, *(np.flatnonzero(~held[1:]) + 1).tolist()] if len(held) else []


def _level(magnitudes: Ints, factor: int) -> int:
    """Level of the mean of some magnitudes, times a factor."""
    if not magnitudes.size:
        return 0
    return int(level_of(np.array(factor * (int(magnitudes.sum()) << MEAN_BITS) // magnitudes.size)))


def shapes_after(last: Ints, usual: Ints) -> tuple[Ints, Ints]:
    """Trained shapes and signs after residuals `last` (..., P), zero where there is none.  usual: (P,), `habits`."""
    return usual + (last != 0), 1 - 2 * (last < 0)


def _plan(values: Ints, frames: list[int], track: Track) -> tuple[Plan, bytes]:
    """How the frames are coded, and the two levels to begin with."""
    params = values.shape[1]
    residuals = np.diff(values[frames], axis=0, prepend=0)
    if track.trained:
        moving = np.abs(residuals).max(1, initial=0) > 0
        moving[:1] = True
        frames, residuals = np.array(frames, np.int64)[moving].tolist(), residuals[moving]
    magnitudes = np.abs(residuals)
    levels = np.zeros_like(residuals)
    # Starting too high costs less than too low: the means fall as fast as they rise, but a large residual under a
    # small mean is dear. Twice the mean was best or nearly so on all material tried.
    begin = bytes([_level(magnitudes[:1], 1), _level(magnitudes[1:], 2)])
    spans = bounds(params, track.groups)
    contexts = Contexts(params, *begin)
    for t in range(len(frames)):
        for a, b in spans:
            levels[t, a:b] = contexts.levels(a, b)
            contexts.saw(a, b, magnitudes[t, a:b])
        contexts.end_frame()
    shapes, signs = np.zeros_like(residuals), np.ones_like(residuals)
    if track.trained:  # the first frame is a place, not a movement
        last = np.concatenate([np.zeros_like(residuals[1:2]), residuals[1:-1]])
        shapes[1:], signs[1:] = shapes_after(last, habits(params, track.groups))
    return Plan(frames, residuals, levels, shapes, signs), begin


def _encode(values: Ints, held: NDArray[np.bool_], track: Track) -> bytes:
    coded = _coded(held)
    plan, begin = _plan(values, coded, track)
    seen = plan.residuals * plan.signs
    encoder = RangeEncoder()
    if track.trained:
        stills, moving = Stills(), set(plan.frames)
        for frame in coded[1:]:
            encoder.table(np.array([frame not in moving]), stills.row())
            stills.saw(frame not in moving)
    if not SHIFT_OF_LEVEL[plan.levels].any() and int(np.abs(seen).max(initial=0)) <= EDGE:
        # one call: nothing comes between the symbols
        encode_values(encoder, seen.ravel(), plan.levels.ravel(), plan.shapes.ravel())
    else:
        for line, level, shape in zip(seen, plan.levels, plan.shapes, strict=True):
            for a, b in bounds(values.shape[1], track.groups):
                encode_values(encoder, line[a:b], level[a:b], shape[a:b])
    return begin + encoder.finish()


def _decode(data: bytes, held: NDArray[np.bool_], params: int, track: Track, name: str) -> NDArray[np.int32]:
    check(len(data) >= 2 and max(data[:2]) < LEVELS, f"the {name} has no level to begin with")
    decoder = RangeDecoder(data[2:])
    residuals = np.zeros((len(held), params), np.int64)
    spans = bounds(params, track.groups)
    contexts = Contexts(params, *data[:2])
    usual = habits(params, track.groups)
    frames = _coded(held)
    if track.trained:
        frames = _moving(decoder, frames)
    first = np.zeros(params, np.int64)  # rows of the shapes; the first frame is a place, not a movement
    signs = None
    for place, t in enumerate(frames):
        line = residuals[t]
        for a, b in spans:
            seen = decode_from(decoder, contexts.levels(a, b), first[a:b])
            line[a:b] = seen
            contexts.saw(a, b, np.abs(seen))
        contexts.end_frame()
        if track.trained:
            check(place == 0 or np.logical_or.reduce(line), "a frame that stands still is not flagged")
            if signs is not None:
                line *= signs
            shapes, signs = shapes_after(line if place else np.zeros_like(line), usual)
            first = shapes * ROWS
    decoder.finish()
    values = np.cumsum(residuals, axis=0)  # held frames have residual 0
    check(int(np.abs(values).max(initial=0)) <= MAX_MAGNITUDE, f"a {name} value is beyond {MAX_MAGNITUDE}")
    return values.astype(np.int32)


def _moving(decoder: RangeDecoder, frames: list[int]) -> list[int]:
    """Of the coded frames those that have residuals."""
    stills, moving = Stills(), frames[:1]
    for frame in frames[1:]:
        still = int(decoder.table(stills.row(), 1)[0])
        check(still < 2, "a frame neither moves nor stands still")
        stills.saw(bool(still))
        if not still:
            moving.append(frame)
    return moving


def final_check(motion: NDArray[np.int32], placement: NDArray[np.int32] | None, seed: int) -> int:
    """CRC-16 over the values as little-endian int32: all of motion frame by frame, then all of placement."""
    value = crc16(np.ascontiguousarray(motion, "<i4").tobytes(), seed)
    return value if placement is None else crc16(np.ascontiguousarray(placement, "<i4").tobytes(), value)


def encode_motion(
    motion: NDArray[np.int32],
    placement: NDArray[np.int32] | None = None,
    *,
    held: NDArray[np.bool_] | None = None,
    seed: int = CHECK_SEED,
    track: Track = MOTION,
) -> bytes:
    """Codes the frames of one segment.

    Args:
        motion: (n, P) quantised parameters, magnitudes up to 2**30.
        placement: (n, 4) centre x, centre y, half side, angle; None if the stream has none.
        held: (n,) True where a frame repeats the one before it.
        seed: start of the final check, `Header.check_seed` in a stream.
        track: of the motion, `Header.track` in a stream.

    Raises UsageError if shapes disagree or a held frame is not a repetition.
    """
    held = np.zeros(len(motion), bool) if held is None else np.asarray(held, bool)
    wide = _checked(motion, held)
    pack = Pack()
    if placement is not None:
        places = _checked(placement, held)
        if places.shape[1] != PLACEMENT_VALUES:
            raise UsageError(f"placement has {places.shape[1]} values a frame, expected {PLACEMENT_VALUES}")
        code = _encode(places, held, PLACEMENT)
        pack.varint(len(code)).raw(code)
    pack.raw(_encode(wide, held, track))
    return pack.fixed("H", final_check(motion, placement, seed)).bytes()


def split_block(data: bytes, has_placement: bool) -> tuple[bytes, bytes, int]:
    """Placement track, motion track and final check of an entropy block, without decoding any of it."""
    take = Take(data, "entropy block")
    placement = take.raw(take.varint(name="size of the placement")) if has_placement else b""
    check(take.left() >= CHECK_BYTES, "entropy block has no final check")
    motion = take.raw(take.left() - CHECK_BYTES)
    return placement, motion, take.fixed("H")[0]


def decode_motion(
    data: bytes,
    frames: int,
    params: int,
    *,
    has_placement: bool = False,
    held: NDArray[np.bool_] | None = None,
    seed: int = CHECK_SEED,
    track: Track = MOTION,
) -> tuple[NDArray[np.int32], NDArray[np.int32] | None]:
    """Reads back motion (frames, params) and placement (frames, 4) or None.

    `frames` and `params` must come from checked fields: memory is taken for them. Raises DamagedError if the code is
    not valid, not canonical, or does not pass the final check.
    """
    held = np.zeros(frames, bool) if held is None else held
    place_track, motion_track, stated = split_block(data, has_placement)
    placement = None
    if has_placement:
        placement = _decode(place_track, held, PLACEMENT_VALUES, PLACEMENT, "placement")
    motion = _decode(motion_track, held, params, track, "motion")
    if final_check(motion, placement, seed) != stated:
        raise DamagedError("the final check fails: written for another model, other tables or another stream")
    return motion, placement


def motion_plan(motion: NDArray[np.int32], held: NDArray[np.bool_] | None = None) -> Plan:
    """How one segment's motion (n, P) is coded. For encoders that weigh bits."""
    held = np.zeros(len(motion), bool) if held is None else np.asarray(held, bool)
    return _plan(_checked(motion, held), _coded(held), MOTION)[0]


def motion_bits(motion: NDArray[np.int32], held: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    """Estimated bits (P,) that each parameter of one segment's motion (n, P) costs. For rate control."""
    total: NDArray[np.float64] = motion_plan(motion, held).bits().sum(0)
    return total
