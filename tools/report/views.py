"""The three views of cost: this clip whole; cost against length; marginal cost once the identity is there.

They answer three questions and are never mixed.  `curves` compares, `summary` gathers what is found over clips.

Cost against length is reckoned, not measured: what does not grow with a clip (`coded.CodedClip.once`) plus the rest in
proportion to time.  For the classical codecs with one GOP the key frame is the part that does not grow; with a key
frame every second nearly everything grows.  Quality is taken to stay what it is in the measured clip: a longer one has
more to show, and modes that were fitted to ten seconds may not be enough for ten minutes; that is said on the page.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from .curves import ABOVE, BELOW, CurveReading, Point, delta, front, quality_at, rate_at
from .scoring import METRICS

BETTER, WORSE = "its lowest is better", "its best is worse"  # notes where a curve does not have our quality
LENGTHS = (10.0, 60.0, 600.0)  # seconds: those that the tables state
EQUAL = ("psnr", "ms_ssim", "haarpsi", "lpips", "dists", "identity")  # measures at whose equality lengths are compared


@dataclass(frozen=True)
class ClipCost:
    """Bytes of a coded clip.

    Attributes:
        once: those that do not grow with its length.
        grows: the rest, in a clip of `seconds`.
        seconds: length of the measured clip.
    """

    once: float
    grows: float
    seconds: float

    def kbps(self, length: float | None = None) -> float:
        """kbit/s of a clip of that length; of the measured one by default."""
        length = self.seconds if length is None else length
        return 8 * (self.once / length + self.grows / self.seconds) / 1000

    @property
    def marginal(self) -> float:
        """kbit/s when what is paid once has been paid."""
        return 8 * self.grows / self.seconds / 1000


def cost_of(result: dict[str, Any]) -> ClipCost:
    coded = result["coded"]
    return ClipCost(coded["once"], coded["bytes"] - coded["once"], result["duration_s"])


def quality(result: dict[str, Any], metric: str) -> float | None:
    """With more as better; None where it was not measured."""
    value = result["scores"].get(metric)
    return None if value is None else (value if METRICS[metric].up else -value)


def plain(metric: str, value: float) -> float:
    """A quality back to the measure's own direction."""
    return value if METRICS[metric].up else -value


def lines(results: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Results with a rate, by curve, by growing rate."""
    out: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for r in results:
        if r["coded"].get("bytes") is not None:
            out[r["curve"]].append(r)
    return {curve: sorted(rows, key=lambda r: r["coded"]["bytes"]) for curve, rows in out.items()}


def points_of(rows: list[dict[str, Any]], metric: str) -> list[Point]:
    """The curve of a measure; empty where it was not measured."""
    found = [(cost_of(r).kbps(), quality(r, metric)) for r in rows]
    return [Point(rate, q) for rate, q in found if q is not None]


def interpolated(rows: list[dict[str, Any]], metric: str, read: CurveReading) -> ClipCost:
    """The cost where `rate_at` read a curve: both parts between those of the neighbouring points."""
    line = front(points_of(rows, metric))
    where = {(cost_of(r).kbps(), quality(r, metric)): cost_of(r) for r in rows}
    a, b = (where[p.rate, p.quality] for p in (line[read.i], line[min(read.i + 1, len(line) - 1)]))
    once, grows = ((1 - read.share) * x + read.share * y for x, y in ((a.once, b.once), (a.grows, b.grows)))
    return ClipCost(once, grows, a.seconds)


def break_even(one: ClipCost, other: ClipCost) -> float | None:
    """Seconds from which on `one` costs less than `other`; 0 from the start, None never.

    Where `one` is cheaper only up to a length, that is not a break-even: None too.
    """
    a, b = one.grows / one.seconds, other.grows / other.seconds
    if a >= b:
        return 0.0 if a == b and one.once < other.once else None
    return max(0.0, (one.once - other.once) / (b - a))


def break_evens(ours: list[dict[str, Any]], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each of our points against one curve: at its lowest rate, and at equal quality in each measure."""
    out = []
    floor = min(rows, key=lambda r: r["coded"]["bytes"])
    for r in ours:
        mine = cost_of(r)
        base = {"clip": r["clip"], "ours": r["point"], "our_curve": r["curve"], "curve": rows[0]["curve"]}
        at = break_even(mine, cost_of(floor))
        out.append(
            {**base, "at": "its lowest rate", "duration_s": at, "kbps": cost_of(floor).kbps(), "note": floor["point"]}
        )
        for metric in EQUAL:
            q, points = quality(r, metric), points_of(rows, metric)
            if q is None or not points:
                continue
            read = rate_at(points, q)
            note = {BELOW: BETTER, ABOVE: WORSE}
            found = interpolated(rows, metric, read)
            out.append({
                **base, "at": f"equal {METRICS[metric].title}", "kbps": found.kbps(),
                "duration_s": None if read.where == ABOVE else break_even(mine, found),
                "note": note.get(read.where, ""),
            })  # fmt: skip
    return out


def bd_rows(results: list[dict[str, Any]], ours: set[str]) -> list[dict[str, Any]]:
    """BD-rate of each of our curves against each other one, measure by measure, of one clip."""
    by = lines(results)
    out = []
    for mine in sorted(ours & by.keys()):
        for other in (c for c in by if c not in ours):
            for metric in METRICS:
                a, b = points_of(by[other], metric), points_of(by[mine], metric)
                if a and b:
                    d = delta(a, b)
                    out.append({
                        "clip": by[mine][0]["clip"], "ours": mine, "curve": other, "metric": metric,
                        "bd_rate": d.bd_rate, "overlap": round(d.overlap, 4), "flag": d.flag,
                    })  # fmt: skip
    return out


def duels(results: list[dict[str, Any]], ours: set[str]) -> list[dict[str, Any]]:
    """Each of our points against each curve at the same rate of the whole file, measure by measure: who is better.

    verdict: "lost", "won", or "out of reach" where the other cannot go so low; then its quality is that at its lowest
    rate.  Above its ladder the other stands with its best point, which costs less than ours.
    """
    by = lines(results)
    out = []
    for mine in sorted(ours & by.keys()):
        for r in by[mine]:
            rate = cost_of(r).kbps()
            for other in (c for c in by if c not in ours):
                for metric in METRICS:
                    q, points = quality(r, metric), points_of(by[other], metric)
                    if q is None or not points:
                        continue
                    read = quality_at(points, rate)
                    floor = front(points)[0].rate
                    lost = read.value > q
                    out.append({
                        "clip": r["clip"], "ours": r["point"], "our_curve": mine, "curve": other, "metric": metric,
                        "kbps": rate, "our_value": plain(metric, q), "their_value": plain(metric, read.value),
                        "their_kbps": floor if read.where == BELOW else rate,
                        "verdict": "out of reach" if read.where == BELOW else "lost" if lost else "won",
                        "better": bool(lost), "margin": abs(read.value - q),
                    })  # fmt: skip
    return out


def lengths(result: dict[str, Any]) -> dict[str, float]:
    """kbit/s of a point at the lengths that the tables state, at its own, and at no end."""
    cost = cost_of(result)
    return {"own": cost.kbps(), **{f"{t:g}": cost.kbps(t) for t in LENGTHS}, "marginal": cost.marginal}
