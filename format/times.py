"""When the frames of a segment are shown, and which of them are held. `segment.py` asks for both."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .entropy import RangeDecoder, RangeEncoder
from .errors import check
from .header import Header
from .tables import LEVELS
from .values import MAX_MAGNITUDE, Meter, decode_values, encode_values
from .wire import Pack, Take

MAX_PTS = 1 << 53
MAX_PERIOD = 15  # steps after which the rounding of a clock may repeat


def regular_pts(header: Header, first: int, count: int) -> NDArray[np.int64]:
    """What the nominal frame rate makes of frames first ..; empty if that is not in whole ticks."""
    step = header.pts_step
    if not step or (first + count) * step >= MAX_PTS:
        return np.zeros(0, np.int64)
    return np.arange(first, first + count, dtype=np.int64) * step


def pack_pts(pack: Pack, pts: NDArray[np.int64], last: int | None = None) -> None:
    """last: the time of the frame before, where the first is counted from it."""
    steps = np.diff(pts)
    if last is None:
        pack.signed(int(pts[0]))
    else:
        pack.varint(int(pts[0]) - last)
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


def take_pts(take: Take, count: int, last: int | None = None) -> NDArray[np.int64]:
    """last: the time of the frame before, where the first is counted from it."""
    if last is None:
        base = take.signed("presentation time")
    else:
        base = last + take.varint(MAX_PTS, "step of the presentation times")
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


def pack_runs(pack: Pack, held: NDArray[np.bool_]) -> None:
    """Lengths of the runs of not held, held, not held ... frames. Only the first may be 0."""
    edges = [0, *(np.flatnonzero(held[1:] != held[:-1]) + 1).tolist(), len(held)]
    if held[0]:
        pack.varint(0)
    for a, b in pairwise(edges):
        pack.varint(b - a)


def take_runs(take: Take, count: int) -> NDArray[np.bool_]:
    held = np.zeros(count, bool)
    at, state = 0, False
    while at < count:
        run = take.varint(count - at, "length of a run")
        check(run or (at == 0 and not state), "an empty run of held frames")
        held[at : at + run] = state
        at += run
        state = not state
    return held
