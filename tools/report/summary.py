"""What is found over all clips: the report as one object, from which the page, the CSV and the JSON are made.

`views` looks at one clip; here its rows are gathered, averaged where that means something, and counted.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict
from statistics import fmean
from typing import Any

from . import published, views
from .scoring import METRICS
from .square import Square

ACCOUNT = (
    "Counted of fev: every byte of the .fev file, framing, checksums and index included. Counted of the others: their "
    "packets and parameter sets; MP4 around them is stated apart (container) and not counted, nor is the text in which "
    "x264 names itself. Sound is left out everywhere.",
    "All codecs get the same frames: the aligned FFHQ square at one size, 8-bit 4:2:0, BT.709, limited range, at the "
    "clip's own frame rate. Decoded pictures are scored against the square before 4:2:0; fev's own pictures go through "
    "the same 4:2:0 first, as those of every codec do.",
    "Every codec works on one thread, with constant quality.",
)
VIEWS = (
    ("This clip, whole", "All bytes of the file over the length of the clip as it is: what a short message costs."),
    (
        "Cost against length",
        "What is paid once, over a longer and longer clip. Reckoned from the measured clip, not measured: fev's bytes "
        "before the first segment, the others' parameter sets and (one GOP) key frame, are spread; the rest grows with "
        "time. Quality is taken to stay as measured, which a longer clip with more to show may not keep.",
    ),
    (
        "When the identity is already there",
        "What the next second costs: fev's segments alone, as in a file that refers to an identity in another one "
        "(--identity). Quality is that of this clip's own identity. The others have no such thing and stand with their "
        "whole files.",
    ),
)


def report(squares: list[Square], results: list[dict[str, Any]], facts: dict[str, Any]) -> dict[str, Any]:
    """squares: of the clips, without panels.  results: all of them.  facts: of the run."""
    ours = ours_of(results)
    bd: list[dict[str, Any]] = []
    even: list[dict[str, Any]] = []
    duels: list[dict[str, Any]] = []
    for square in squares:
        rows = of_clip(results, square.name)
        bd += views.bd_rows(rows, ours)
        duels += views.duels(rows, ours)
        by = views.lines(rows)
        for mine in sorted(ours & by.keys()):
            for other in (c for c in by if c not in ours):
                even += views.break_evens(by[mine], by[other])
    return {
        **facts, "account": list(ACCOUNT), "clips": [clip(s) for s in squares], "points": [point(r) for r in results],
        "bd": bd, "bd_mean": mean_bd(bd), "break_even": even, "duels": duels, "score": score(duels),
        "measures": {m: {"title": v.title, "up": v.up, "unit": v.unit} for m, v in METRICS.items()},
        "by": _merged(results, "by"), "missing": _merged(results, "missing"),
        "published": {
            "mark": published.MARK, "source": published.SOURCE, "clips": published.CLIPS,
            "methods": {name: [asdict(p) for p in rows] for name, rows in published.METHODS.items()},
        },
    }  # fmt: skip


def ours_of(results: list[dict[str, Any]]) -> set[str]:
    """Curves that are fev's."""
    return {r["curve"] for r in results if r["codec"] == "fev"}


def of_clip(results: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [r for r in results if r["clip"] == name]


def clip(square: Square) -> dict[str, Any]:
    row = asdict(square)
    return {
        k: row[k] for k in ("name", "about", "digest", "size", "frames", "fps", "duration_s", "dropped", "faceless")
    }


def point(result: dict[str, Any]) -> dict[str, Any]:
    """A row of the table of points."""
    coded, scores = result["coded"], result["scores"]
    row: dict[str, Any] = {k: result[k] for k in ("clip", "codec", "curve", "point", "frames", "duration_s", "setting")}
    row["setting"] = {k: v for k, v in row["setting"].items() if k not in ("path", "digest")}
    row |= {"bytes": coded["bytes"], "once": coded["once"], "container": coded.get("container")}
    kbps = views.lengths(result) if coded["bytes"] is not None else {}
    row |= {"kbps": {k: round(v, 4) for k, v in kbps.items()}, "sections": coded["sections"]}
    row |= {"key_frames": coded.get("key_frames"), "software": coded.get("software")}
    row["encode_s_per_frame"] = (
        None if coded.get("elapsed_s") is None else round(coded["elapsed_s"] / result["frames"], 4)
    )
    row["decode_s_per_frame"] = round(result["decode_s"] / result["frames"], 5)
    return row | {"scores": {m: round(v, 6) for m, v in scores.items()}, "stream": result.get("stream")}


def mean_bd(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Over the clips whose curves overlap; how many of them, and how the others are flagged, is in the row."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for r in rows:
        groups[r["ours"], r["curve"], r["metric"]].append(r)
    out = []
    for (ours, curve, metric), found in groups.items():
        known = [r["bd_rate"] for r in found if r["bd_rate"] is not None]
        flags: dict[str, int] = defaultdict(int)
        for r in found:
            if r["flag"]:
                flags[r["flag"]] += 1
        out.append({
            "ours": ours, "curve": curve, "metric": metric, "bd_rate": fmean(known) if known else None,
            "clips": len(known), "of": len(found), "flags": dict(flags),
        })  # fmt: skip
    return out


def score(duels: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """How often each curve wins and loses against fev at equal rate, and by how much it wins where it wins most."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for d in duels:
        groups[d["our_curve"], d["curve"], d["metric"]].append(d)
    out = []
    for (ours, curve, metric), found in groups.items():
        lost = [d for d in found if d["verdict"] == "lost"]
        beyond = [d for d in found if d["verdict"] == "out of reach"]
        worst = max(lost, key=lambda d: d["margin"], default=None)
        out.append({
            "ours": ours, "curve": curve, "metric": metric, "of": len(found), "lost": len(lost),
            "won": sum(d["verdict"] == "won" for d in found), "out_of_reach": len(beyond),
            "better_at_its_lowest": sum(d["better"] for d in beyond), "worst": worst,
            "lost_at": [{"ours": p, **where(found, p)} for p in dict.fromkeys(d["ours"] for d in lost)],
        })  # fmt: skip
    return out


def where(duels: list[dict[str, Any]], point: str) -> dict[str, Any]:
    """Of the duels of one measure and curve: the clips in which fev loses at `point`, of how many."""
    here = [d for d in duels if d["ours"] == point]
    return {"clips": sorted(d["clip"] for d in here if d["verdict"] == "lost"), "of": len(here)}


def _merged(results: list[dict[str, Any]], key: str) -> dict[str, str]:
    """Measure -> reason or network, in the order of the measures; what some results have and others lack says so."""
    out: dict[str, str] = {}
    for metric in METRICS:
        found = sorted({r[key][metric] for r in results if metric in r[key]})
        if found:
            out[metric] = "; ".join(found)
    return out
