"""An actor's entropy block in a segment: its motion and placement. `segment.py` wraps it.

A frame's parameters are coded as differences from the frame before; the segment's first frame: from
zero. Frames marked held repeat the one before and cost nothing, and of motion's other frames those
in which nothing moves are flagged and left out. `motioncontexts.py` says how each residual is
coded. Motion and placement are separate codes, so that a file's bytes can be told apart without
decoding.

A segment ends with a CRC-16 of all decoded integers. Unlike the CRC-32 of the chunk it notices a
reader whose tables, model or arithmetic differ from the writer's.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .entropy import RangeDecoder, RangeEncoder
from .errors import UsageError, check
from .motioncontexts import Contexts, MotionContexts, PathContexts, Stills
from .tables import EDGE, LEVELS, MEAN_BITS, ROWS
from .values import MAX_MAGNITUDE, SHIFT_OF_LEVEL, decode_from, encode_values, level_of, value_bits
from .wire import Pack, Take, crc16

PLACEMENT_VALUES = 4  # centre x, centre y, half side in 1/8 pixel; angle in 2*pi/16384

Ints = NDArray[np.int64]


class Plan(NamedTuple):
    """How a track's frames are coded, each array (m, P).

    frames: those that have residuals: the first, and all that are not held and do not stand still.
    values: the residuals as they are coded (`Contexts.turn`).
    levels, shapes: under which.
    """

    frames: list[int]
    values: Ints
    levels: Ints
    shapes: Ints

    def bits(self) -> NDArray[np.float64]:
        """Estimated bits of every residual. For rate control."""
        return value_bits(self.values, self.levels, self.shapes)


def checked_track(values: NDArray[np.int32], held: NDArray[np.bool_]) -> Ints:
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


def _level(magnitudes: Ints, factor: int) -> int:
    """Level of the mean of some magnitudes, times a factor."""
    if not magnitudes.size:
        return 0
    return int(level_of(np.array(factor * (int(magnitudes.sum()) << MEAN_BITS) // magnitudes.size)))


def first_levels(values: Ints) -> tuple[int, int]:
    """The two levels to begin with, of values (m, P) as they are coded: of the first frame, and of
    the others."""
    magnitudes = np.abs(values)
    # Starting too high costs less than too low: the means fall as fast as they rise, but a large
    # residual under a small mean is dear. Twice the mean was best or nearly so on all material
    # tried.
    return _level(magnitudes[:1], 1), _level(magnitudes[1:], 2)


def trace(residuals: Ints, contexts: Contexts) -> tuple[Ints, Ints, Ints]:
    """What the contexts make of residuals (m, P): values as they are coded, levels, shapes."""
    values, levels, shapes = residuals.copy(), np.zeros_like(residuals), np.zeros_like(residuals)
    for t in range(len(residuals)):
        shapes[t] = contexts.shapes
        contexts.turn(values[t])
        for a, b in contexts.groups:
            levels[t, a:b] = contexts.levels(a, b)
            contexts.saw(a, b, values[t, a:b])
        contexts.end_frame(residuals[t])
    return values, levels, shapes


class TrackCoder:
    """A track of a segment on its way into a range code and out of it, some frames after others.

    Args:
        kind: its contexts.
        params: values a frame.
        levels: the two to begin with.

    Attributes:
        contexts: as the last frame left them.
        at: (params,) the values of the last frame, of which those of the next are a difference.
        begun: the segment's first frame is behind it.
    """

    def __init__(self, kind: type[Contexts], params: int, levels: bytes) -> None:
        self.contexts = kind(params, *levels)
        self.at: Ints = np.zeros(params, np.int64)
        self.begun = False
        self._stills = Stills() if kind.STILLS else None

    def residuals(self, values: Ints, held: NDArray[np.bool_]) -> tuple[list[int], Ints, list[bool]]:
        """Of the next frames (n, P) those that have residuals, and these; and which of the frames
        that are asked stand still."""
        if self.begun and held[:1].any() and (values[0] != self.at).any():
            raise UsageError("a held frame differs from the frame before it")
        frames = self._coded(held)
        residuals = np.diff(values[frames], axis=0, prepend=self.at[None])
        still = [False] * len(frames)
        if self._stills is not None:
            still = (np.abs(residuals).max(1, initial=0) == 0).tolist()
            still[: not self.begun] = [False] * (not self.begun)
            residuals = residuals[~np.array(still, bool)]
        asked = still[not self.begun :] if self._stills is not None else []
        return [frame for frame, no in zip(frames, still, strict=True) if not no], residuals, asked

    def plan(self, values: Ints, held: NDArray[np.bool_]) -> tuple[Plan, list[bool]]:
        """How the next frames are coded, and which of those that are asked stand still."""
        frames, residuals, asked = self.residuals(values, held)
        self.begun, self.at = True, values[-1]
        return Plan(frames, *trace(residuals, self.contexts)), asked

    def encode(self, encoder: RangeEncoder, values: Ints, held: NDArray[np.bool_]) -> None:
        """The next frames (n, P)."""
        plan, asked = self.plan(values, held)
        for still in asked:
            assert self._stills is not None
            encoder.table(np.array([still]), self._stills.row())
            self._stills.saw(still)
        if not SHIFT_OF_LEVEL[plan.levels].any() and int(np.abs(plan.values).max(initial=0)) <= EDGE:
            # one call: nothing comes between the symbols
            encode_values(encoder, plan.values.ravel(), plan.levels.ravel(), plan.shapes.ravel())
            return
        for line, level, shape in zip(plan.values, plan.levels, plan.shapes, strict=True):
            for a, b in self.contexts.groups:
                encode_values(encoder, line[a:b], level[a:b], shape[a:b])

    def decode(self, decoder: RangeDecoder, held: NDArray[np.bool_], name: str) -> NDArray[np.int32]:
        """The next frames (n, P). Raises DamagedError."""
        residuals, coded = np.zeros((2, len(held), len(self.at)), np.int64)
        contexts, frames = self.contexts, self._coded(held)
        if self._stills is not None:
            frames = self._moving(decoder, frames, self._stills)
        for t in frames:
            line, rows = residuals[t], contexts.shapes * ROWS
            for a, b in contexts.groups:
                line[a:b] = values = decode_from(decoder, contexts.levels(a, b), rows[a:b])
                contexts.saw(a, b, values)
            if self.begun and self._stills is not None:
                check(np.logical_or.reduce(line), "a frame that stands still is not flagged")
            coded[t] = line
            contexts.back(line)
            contexts.end_frame(line)
            self.begun = True
        # So no sum of them leaves 64 bits.
        check(int(np.abs(coded).max(initial=0)) <= 4 * MAX_MAGNITUDE, f"a {name} residual is out of range")
        out = self.at + np.cumsum(residuals, axis=0)  # held frames have residual 0
        check(int(np.abs(out).max(initial=0)) <= MAX_MAGNITUDE, f"a {name} value is beyond {MAX_MAGNITUDE}")
        self.at = out[-1]
        return out.astype(np.int32)

    def _coded(self, held: NDArray[np.bool_]) -> list[int]:
        """The frames that are coded: the segment's first, and all that are not held."""
        return [t for t, no in enumerate(held.tolist()) if not (no and (self.begun or t))]

    def _moving(self, decoder: RangeDecoder, frames: list[int], stills: Stills) -> list[int]:
        """Of the coded frames those that have residuals."""
        moving = frames[: not self.begun]
        for frame in frames[not self.begun :]:
            still = int(decoder.table(stills.row(), 1)[0])
            check(still < 2, "a frame neither moves nor stands still")
            stills.saw(bool(still))
            if not still:
                moving.append(frame)
        return moving


def begin_track(values: Ints, held: NDArray[np.bool_], kind: type[Contexts]) -> bytes:
    """The two levels with which a track (n, P) begins."""
    residuals = TrackCoder(kind, values.shape[1], bytes(2)).residuals(values, held)[1]
    return bytes(first_levels(kind.coded(residuals)))


def take_levels(take: Take, name: str) -> bytes:
    """The two levels with which a track begins. Raises DamagedError."""
    levels = take.raw(2) if take.left() >= 2 else b"\xff"
    check(max(levels) < LEVELS, f"the {name} has no level to begin with")
    return levels


def _encode(values: Ints, held: NDArray[np.bool_], kind: type[Contexts]) -> bytes:
    begin, encoder = begin_track(values, held, kind), RangeEncoder()
    TrackCoder(kind, values.shape[1], begin).encode(encoder, values, held)
    return begin + encoder.finish()


def _decode(data: bytes, held: NDArray[np.bool_], params: int, kind: type[Contexts], name: str) -> NDArray[np.int32]:
    take = Take(data, name)
    levels = take_levels(take, name)
    decoder = RangeDecoder(take.rest())
    values = TrackCoder(kind, params, levels).decode(decoder, held, name)
    decoder.finish()
    return values


def final_check(motion: NDArray[np.int32], placement: NDArray[np.int32] | None, seed: int) -> int:
    """CRC-16, begun with `seed`, over the values as little-endian int32: all of motion frame by
    frame, then all of placement."""
    value = crc16(np.ascontiguousarray(motion, "<i4").tobytes(), seed)
    return value if placement is None else crc16(np.ascontiguousarray(placement, "<i4").tobytes(), value)


def encode_motion(
    motion: NDArray[np.int32], placement: NDArray[np.int32] | None = None, *, held: NDArray[np.bool_] | None = None
) -> bytes:
    """Codes the frames of one actor in one segment.

    Args:
        motion: (n, P) quantised parameters, magnitudes up to 2**30.
        placement: (n, 4) centre x, centre y, half side, angle; None if the stream has none.
        held: (n,) True where a frame repeats the one before it.

    Raises:
        UsageError: shapes disagree, or a held frame is not a repetition.
    """
    held = np.zeros(len(motion), bool) if held is None else np.asarray(held, bool)
    wide = checked_track(motion, held)
    pack = Pack()
    if placement is not None:
        code = encode_track(placement, held)
        pack.varint(len(code)).raw(code)
    return pack.raw(_encode(wide, held, MotionContexts)).bytes()


def split_block(data: bytes, has_placement: bool) -> tuple[bytes, bytes]:
    """Placement track and motion track of an entropy block, without decoding any of it."""
    take = Take(data, "entropy block")
    placement = take.raw(take.varint(name="size of the placement")) if has_placement else b""
    return placement, take.rest()


def decode_motion(
    data: bytes, frames: int, params: int, *, has_placement: bool = False, held: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.int32], NDArray[np.int32] | None]:
    """Reads back motion (frames, params) and placement (frames, 4) or None.

    `frames` and `params` must come from checked fields: memory is taken for them. Raises
    DamagedError if the code is not valid or not canonical.
    """
    held = np.zeros(frames, bool) if held is None else held
    place_track, motion_track = split_block(data, has_placement)
    placement = decode_track(place_track, held, "placement") if has_placement else None
    return _decode(motion_track, held, params, MotionContexts, "motion"), placement


def encode_track(values: NDArray[np.int32], held: NDArray[np.bool_]) -> bytes:
    """Codes (n, 4) of placement or camera."""
    places = checked_track(values, held)
    if places.shape[1] != PLACEMENT_VALUES:
        raise UsageError(f"placement has {places.shape[1]} values a frame, expected {PLACEMENT_VALUES}")
    return _encode(places, held, PathContexts)


def decode_track(data: bytes, held: NDArray[np.bool_], name: str) -> NDArray[np.int32]:
    """The inverse of `encode_track`."""
    return _decode(data, held, PLACEMENT_VALUES, PathContexts, name)


def motion_plan(motion: NDArray[np.int32], held: NDArray[np.bool_] | None = None) -> Plan:
    """How one segment's motion (n, P) is coded. For encoders that weigh bits."""
    held = np.zeros(len(motion), bool) if held is None else np.asarray(held, bool)
    values = checked_track(motion, held)
    return TrackCoder(MotionContexts, values.shape[1], begin_track(values, held, MotionContexts)).plan(values, held)[0]


def motion_bits(motion: NDArray[np.int32], held: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    """Estimated bits (P,) that each parameter of one segment's motion (n, P) costs. For rate
    control."""
    total: NDArray[np.float64] = motion_plan(motion, held).bits().sum(0)
    return total
