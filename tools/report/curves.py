"""Two curves of rate and quality against each other: BD-rate where they overlap, and said where they do not.

`views` puts measured points in; the integration is the `bjontegaard` package's, with Akima interpolation.

A curve here is the front of its points: one that costs more than another without being better is left out, which
BD-rate needs (quality has to grow) and a user would do too.  Single points are read off between measured ones by a
straight line, quality against the logarithm of the rate: no interpolation can invent a bend there.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

LEAST_OVERLAP = 0.25  # of the range of quality that both curves span together; a BD-rate over less is marked


@dataclass(frozen=True)
class Point:
    """A point of a curve.

    Attributes:
        rate: kbit/s.
        quality: more is better (measures where less is better come in with their sign turned).
    """

    rate: float
    quality: float


def front(points: Iterable[Point]) -> list[Point]:
    """The points that are worth their rate, by growing rate and quality."""
    out: list[Point] = []
    for p in sorted(points, key=lambda p: (p.rate, -p.quality)):
        if not out or p.quality > out[-1].quality:
            out.append(p)
    return out


@dataclass(frozen=True)
class BDRate:
    """One curve against another.

    Attributes:
        bd_rate: percent that `test` needs more (+) or less (-) than `anchor` at equal quality; None
            without overlap.
        overlap: the common range of quality over the range of both together, 0 to 1.
        flag: "" or what is to be said.
    """

    bd_rate: float | None
    overlap: float
    flag: str


def delta(anchor: Iterable[Point], test: Iterable[Point]) -> BDRate:
    """BD-rate of `test` against `anchor`, any points each."""
    a, b = front(anchor), front(test)
    if len(a) < 2 or len(b) < 2:
        return BDRate(None, 0.0, "too few points")
    (a0, a1), (b0, b1) = ((c[0].quality, c[-1].quality) for c in (a, b))
    overlap = max(0.0, min(a1, b1) - max(a0, b0)) / (max(a1, b1) - min(a0, b0))
    if not overlap:
        return BDRate(None, 0.0, "no overlap: always better" if b0 >= a1 else "no overlap: always worse")
    import bjontegaard

    sides = [(np.array([p.rate for p in c]), np.array([p.quality for p in c])) for c in (a, b)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of overlap, which the flag says
        value = float(
            bjontegaard.bd_rate(*sides[0], *sides[1], method="akima", require_matching_points=False, min_overlap=0)
        )
    if not math.isfinite(value):
        return BDRate(None, overlap, "no figure")
    return BDRate(value, overlap, "" if overlap >= LEAST_OVERLAP else "small overlap")


BELOW, WITHIN, ABOVE = "below", "within", "above"


@dataclass(frozen=True)
class CurveReading:
    """What a curve has at a place.

    Attributes:
        where: the place lies below its first point, within, or above its last; outside, value
            is that of the end.
        i, share: the value is (1 - share) of point i and share of point i + 1 of the front.
    """

    where: str
    value: float
    i: int
    share: float


def quality_at(points: Iterable[Point], rate: float) -> CurveReading:
    """The quality that a curve reaches at a rate."""
    line = front(points)
    read = _read([math.log(p.rate) for p in line], math.log(rate))
    a, b = line[read[1]], line[min(read[1] + 1, len(line) - 1)]
    return CurveReading(read[0], (1 - read[2]) * a.quality + read[2] * b.quality, read[1], read[2])


def rate_at(points: Iterable[Point], quality: float) -> CurveReading:
    """The rate that a curve needs for a quality."""
    line = front(points)
    where, i, share = _read([p.quality for p in line], quality)
    a, b = line[i], line[min(i + 1, len(line) - 1)]
    return CurveReading(where, math.exp((1 - share) * math.log(a.rate) + share * math.log(b.rate)), i, share)


def _read(axis: list[float], at: float) -> tuple[str, int, float]:
    """Where `at` lies on a growing axis, as (where, index, share)."""
    if at < axis[0]:
        return BELOW, 0, 0.0
    if at > axis[-1]:
        return ABOVE, len(axis) - 1, 0.0
    i = max(0, min(int(np.searchsorted(axis, at, side="right")) - 1, len(axis) - 2))
    step = axis[i + 1] - axis[i] if len(axis) > 1 else 0.0
    return WITHIN, i, (at - axis[i]) / step if step else 0.0
