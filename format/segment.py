"""The SEGM chunk: one to a few seconds of the stream that decodes alone. Its entropy block is
`motion.py`'s."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .audio import AudioPacket, pack_packets, unpack_packets
from .entropy import RangeDecoder, RangeEncoder
from .errors import FevError, LimitError, UsageError, check
from .header import Header
from .limits import Limits
from .motion import decode_motion, encode_motion, split_block
from .tables import LEVELS
from .values import MAX_MAGNITUDE, Meter, decode_values, encode_values
from .wire import Pack, Take

HAS_PLACE = 1  # first frame and frame count are written
HAS_PTS = 2  # presentation times are written
HAS_HELD = 4  # some frames are held
HAS_AUDIO = 8
_KNOWN = HAS_PLACE | HAS_PTS | HAS_HELD | HAS_AUDIO
MAX_PTS = 1 << 53
MAX_PERIOD = 15  # steps after which the rounding of a clock may repeat


@dataclass(frozen=True, eq=False)
class Parts:
    """A segment taken apart, its entropy block still coded."""

    index: int
    first_frame: int
    pts: NDArray[np.int64]  # (n,)
    held: NDArray[np.bool_]  # (n,)
    audio: list[AudioPacket]
    block: bytes
    sizes: dict[str, int]  # bytes of motion, placement and audio; the rest of the payload is overhead


@dataclass(eq=False)
class Segment:
    """Frames first_frame .. first_frame + n - 1.

    Args:
        index: counts segments from 0.
        pts: (n,) int64 presentation times in ticks of the header's time base, strictly rising.
        motion: (n, P) int32.
        placement: (n, 4) int32 centre x, centre y, half side in 1/8 pixel, angle in 2*pi/16384;
            None without placement.
        held: (n,) bool, True where no face was found and the frame repeats the one before; None =
            nowhere.
        audio: packets whose pts falls into the segment.
    """

    index: int
    first_frame: int
    pts: NDArray[np.int64]
    motion: NDArray[np.int32]
    placement: NDArray[np.int32] | None = None
    held: NDArray[np.bool_] | None = None
    audio: list[AudioPacket] = field(default_factory=list)

    @property
    def frames(self) -> int:
        return len(self.motion)

    def pack(self, header: Header) -> bytes:
        """Payload of the SEGM chunk. Raises UsageError for what cannot be said."""
        count = len(self.motion)
        held = np.zeros(count, bool) if self.held is None else np.asarray(self.held, bool)
        pts = np.asarray(self.pts, np.int64)
        if not 0 < count <= Limits.max_segment_frames:
            raise UsageError(f"a segment has 1 to {Limits.max_segment_frames} frames, not {count}")
        if len(pts) != count or len(held) != count or np.shape(self.motion)[1:] != (header.params,):
            raise UsageError(f"segment {self.index}: pts, held and motion disagree about {count} x {header.params}")
        if (np.diff(pts) <= 0).any() or int(np.abs(pts).max()) >= MAX_PTS:
            raise UsageError(f"segment {self.index}: presentation times do not rise")
        if (self.placement is not None) != header.placement:
            raise UsageError("the header's placement flag and the segment disagree")
        regular_place = header.segment_frames == count and self.first_frame == self.index * count
        regular_pts = np.array_equal(pts, _regular_pts(header, self.first_frame, count))
        flags = HAS_PLACE * (not regular_place) | HAS_PTS * (not regular_pts)
        flags |= HAS_HELD * bool(held.any()) | HAS_AUDIO * bool(self.audio)
        pack = Pack().fixed("B", int(flags)).varint(self.index)
        if not regular_place:
            pack.varint(self.first_frame).varint(count)
        if not regular_pts:
            _pack_pts(pack, pts)
        if held.any():
            _pack_runs(pack, held)
        if self.audio:
            pack.raw(pack_packets(self.audio))
        pack.raw(encode_motion(self.motion, self.placement, held=held, seed=header.check_seed))
        return pack.bytes()

    @classmethod
    def unpack(cls, data: bytes, header: Header, limits: Limits | None = None) -> Segment:
        """Reads a payload whole. Raises DamagedError or LimitError."""
        return cls.from_parts(parse(data, header, limits or Limits()), header)

    @classmethod
    def from_parts(cls, parts: Parts, header: Header) -> Segment:
        """Decodes the entropy block of a segment already taken apart."""
        try:
            motion, placement = decode_motion(
                parts.block,
                len(parts.pts),
                header.params,
                has_placement=header.placement,
                held=parts.held,
                seed=header.check_seed,
            )
        except FevError as error:
            raise error.at(segment=parts.index) from None
        return cls(parts.index, parts.first_frame, parts.pts, motion, placement, parts.held, parts.audio)


def parse(data: bytes, header: Header, limits: Limits) -> Parts:
    """Everything but the entropy block."""
    take = Take(data, "segment")
    flags = take.u8()
    check(not flags & ~_KNOWN, f"segment: unknown flags {flags & ~_KNOWN:#x}")
    index = take.varint(limits.max_segments, "index")
    if flags & HAS_PLACE:
        first = take.varint(limits.max_frames, "first frame")
        count = take.varint(limits.max_segment_frames, "number of frames")
        check(count, "a segment has no frames")
        regular = header.segment_frames == count and first == index * count
        check(not regular, "a regular segment is not written in its short form")
    else:
        check(header.segment_frames, "a segment does not say where it begins, and the header has no regular length")
        count, first = header.segment_frames, index * header.segment_frames
    if first + count > limits.max_frames:
        raise LimitError(f"frame {first + count}, the limit is {limits.max_frames}", segment=index)
    regular_pts = _regular_pts(header, first, count)
    if flags & HAS_PTS:
        pts = _take_pts(take, count)
        check(not np.array_equal(pts, regular_pts), "regular presentation times are not written in their short form")
    else:
        check(len(regular_pts), "a segment has no presentation times, and the header's frame rate gives none")
        pts = regular_pts
    held = _take_runs(take, count) if flags & HAS_HELD else np.zeros(count, bool)
    before = take.left()
    audio = unpack_packets(take, limits) if flags & HAS_AUDIO else []
    sizes = {"audio": before - take.left()}
    block = take.rest()
    motion = len(split_block(block, header.placement)[1]) + 2
    sizes["motion"], sizes["placement"] = motion, len(block) - motion
    return Parts(index, first, pts, held, audio, block, sizes)


def _regular_pts(header: Header, first: int, count: int) -> NDArray[np.int64]:
    """What the nominal frame rate makes of frames first ..; empty if that is not in whole ticks."""
    step = header.pts_step
    if not step or (first + count) * step >= MAX_PTS:
        return np.zeros(0, np.int64)
    return np.arange(first, first + count, dtype=np.int64) * step


def _pack_pts(pack: Pack, pts: NDArray[np.int64]) -> None:
    steps = np.diff(pts)
    pack.signed(int(pts[0]))
    if len(pts) == 1:
        return
    steady = bool((steps == steps[0]).all())
    pack.varint(int(steps[0]) if steady else 0)
    if steady:
        return
    base = int(np.sort(steps)[(len(steps) - 1) // 2])
    jitter = steps - base
    if int(np.abs(jitter).max()) > MAX_MAGNITUDE:
        pack.varint(0)
        for step in steps.tolist():
            pack.varint(step)
        return
    costs = [float(np.log2(1 + np.abs(_unrepeated(jitter, period))).sum()) for period in range(MAX_PERIOD + 1)]
    period = int(np.argmin(costs))
    news = _unrepeated(jitter, period)
    level = _cheapest_level(news)
    encoder = RangeEncoder()
    encode_values(encoder, news, np.full(len(news), level))
    code = encoder.finish()
    pack.varint(base).fixed("BB", period, level).varint(len(code)).raw(code)


def _unrepeated(jitter: NDArray[np.int64], period: int) -> NDArray[np.int64]:
    """What is new in each value against the one `period` before; a clock that rounds repeats
    itself."""
    out: NDArray[np.int64] = jitter.copy()
    if period:
        out[period:] -= jitter[:-period]
    return out


def _cheapest_level(values: NDArray[np.int64]) -> int:
    """A single long gap must not make the others dear, so it is not the level of the mean."""
    costs = []
    for level in range(LEVELS):
        meter = Meter()
        encode_values(meter, values, np.full(len(values), level))
        costs.append(meter.spent)
    return int(np.argmin(costs))


def _take_pts(take: Take, count: int) -> NDArray[np.int64]:
    base = take.signed("presentation time")
    steps = [0] * (count - 1)
    if count > 1:
        step = take.varint(MAX_PTS, "step of the presentation times")
        if step:
            steps = [step] * (count - 1)
        else:
            steps = _take_steps(take, count - 1)
            check(min(steps) > 0, "presentation times do not rise")
            check(len(set(steps)) > 1, "steady presentation times are not written in their short form")
    check(abs(base) < MAX_PTS and abs(base + sum(steps)) < MAX_PTS, "a presentation time is out of range")
    return np.cumsum(np.array([base, *steps], np.int64))


def _take_steps(take: Take, count: int) -> list[int]:
    base = take.varint(MAX_PTS, "base of the presentation times")
    if not base:
        steps = [take.varint(MAX_PTS, "step of the presentation times") for _ in range(count)]
        middle = sorted(steps)[(count - 1) // 2]
        far = max(abs(step - middle) for step in steps) > MAX_MAGNITUDE
        check(far, "near presentation times are not written in their short form")
        return steps
    period, level = take.fixed("BB")
    check(period <= MAX_PERIOD and level < LEVELS, "unknown period or level of the presentation times")
    decoder = RangeDecoder(take.raw(take.varint(name="size of the presentation times")))
    news = decode_values(decoder, np.full(count, level))
    decoder.finish()
    jitter = news.copy()
    for i in range(period, count) if period else ():
        jitter[i] += jitter[i - period]
    check(int(np.abs(jitter).max()) <= MAX_MAGNITUDE, "a presentation time is out of range")
    check(int(np.sort(jitter)[(count - 1) // 2]) == 0, "the base of the presentation times is not their middle step")
    return [base + int(value) for value in jitter]


def _pack_runs(pack: Pack, held: NDArray[np.bool_]) -> None:
    """Lengths of the runs of not held, held, not held ... frames. Only the first may be 0."""
    edges = [0, *(np.flatnonzero(held[1:] != held[:-1]) + 1).tolist(), len(held)]
    if held[0]:
        pack.varint(0)
    for a, b in pairwise(edges):
        pack.varint(b - a)


def _take_runs(take: Take, count: int) -> NDArray[np.bool_]:
    held = np.zeros(count, bool)
    at, state = 0, False
    while at < count:
        run = take.varint(count - at, "length of a run")
        check(run or (at == 0 and not state), "an empty run of held frames")
        held[at : at + run] = state
        at += run
        state = not state
    check(held.any(), "held frames are announced but there are none")
    return held
