"""The report's tables: as HTML for the page, and the points and per-frame values as CSV."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from html import escape
from statistics import median
from typing import Any

from .scoring import METRICS
from .views import LENGTHS, WORSE

Cell = str | tuple[str, str]  # text, or text and a class of the style sheet


def table(head: list[str], rows: list[list[Cell]]) -> str:
    """HTML; everything in it is escaped."""
    if not rows:
        return ""
    lines = ["<div class=wide><table><tr>" + "".join(f"<th>{escape(h)}</th>" for h in head) + "</tr>"]
    for row in rows:
        cells = [(c, "") if isinstance(c, str) else c for c in row]
        lines.append("<tr>" + "".join(f'<td class="{k}">{escape(t)}</td>' for t, k in cells) + "</tr>")
    return "\n".join([*lines, "</table></div>"])


def number(value: float | None, decimals: int = 2) -> str:
    return "–" if value is None else f"{value:.{decimals}f}"


def shown(metric: str, value: float | None) -> str:
    return number(value, METRICS[metric].decimals)


def measured(report: dict[str, Any]) -> list[str]:
    """Measures that some point has."""
    return [m for m in METRICS if any(m in p["scores"] for p in report["points"])]


def losses(report: dict[str, Any]) -> list[str]:
    """A line of text a codec and setting, what wins most against fev first."""
    by: dict[str, list[dict[str, Any]]] = {}
    for s in report["score"]:
        by.setdefault(f"{s['curve']} against {s['ours']}", []).append(s)
    lines = []
    for title, rows in sorted(by.items(), key=lambda item: -sum(s["lost"] / s["of"] for s in item[1])):
        lost = [f"{METRICS[s['metric']].title} ({s['lost']} of {s['of']}: {_where(s)})" for s in rows if s["lost"]]
        kept = [METRICS[s["metric"]].title for s in rows if not s["lost"] and s["won"]]
        reach = max(s["out_of_reach"] for s in rows)
        text = f"{title}: better in {', '.join(lost)}" if lost else f"{title}: never better at the same rate"
        text += f"; worse wherever compared in {', '.join(kept)}" if kept else ""
        lines.append(text + (f"; cannot go as low as fev in up to {reach} of {rows[0]['of']}." if reach else "."))
    return lines


def _where(s: dict[str, Any]) -> str:
    """At which of fev's points, and in which clips."""
    found = ((at["ours"], at["clips"] if len(at["clips"]) < at["of"] else []) for at in s["lost_at"])
    return ", ".join(f"{point} in {' and '.join(clips) if clips else 'every clip'}" for point, clips in found)


def score_table(report: dict[str, Any]) -> str:
    """Who is better at the same rate: a codec a row, a measure a column."""
    metrics = measured(report)
    groups: dict[tuple[str, str], dict[str, Cell]] = defaultdict(dict)
    for s in report["score"]:
        parts = [f"worse in {s['lost']}" if s["lost"] else "", f"better in {s['won']}" if s["won"] else ""]
        parts.append(f"too low for it in {s['out_of_reach']}" if s["out_of_reach"] else "")
        kind = "lost" if s["lost"] > s["won"] else "won" if s["won"] else ""
        groups[s["ours"], s["curve"]][s["metric"]] = (", ".join(p for p in parts if p) + f" of {s['of']}", kind)
    rows: list[list[Cell]] = [
        [f"{a} against {b}", *(found.get(m, "–") for m in metrics)] for (a, b), found in groups.items()
    ]
    return table(["fev is", *(METRICS[m].title for m in metrics)], rows)


def worst_table(report: dict[str, Any]) -> str:
    """The same with the widest loss of each."""
    rows: list[list[Cell]] = []
    for s in report["score"]:
        w, title = s["worst"], METRICS[s["metric"]].title
        most = ""
        if w:
            ours, theirs = (shown(s["metric"], w[k]) for k in ("our_value", "their_value"))
            most = f"{ours} against {theirs} at {w['kbps']:.1f} kbit/s ({w['clip']}, {w['ours']})"
        beyond = f"{s['out_of_reach']} ({s['better_at_its_lowest']})" if s["out_of_reach"] else "0"
        rows.append([
            s["curve"], (title, "t"), (f"{s['lost']} of {s['of']}", "lost" if s["lost"] else ""),
            (str(s["won"]), "won" if s["won"] else ""), beyond, (most, "t"),
        ])  # fmt: skip
    head = ["codec", "measure", "fev is worse", "fev is better", "rate too low for it (yet better at its lowest)"]
    return table([*head, "worst for fev: ours against theirs"], rows)


def bd_table(report: dict[str, Any]) -> str:
    metrics = measured(report)
    groups: dict[tuple[str, str], dict[str, Cell]] = defaultdict(dict)
    for r in report["bd_mean"]:
        flags = ", ".join(f"{flag}{f' in {n}' if r['of'] > 1 else ''}" for flag, n in r["flags"].items())
        text = flags if r["bd_rate"] is None else f"{r['bd_rate']:+.0f} %"
        if r["bd_rate"] is not None:
            notes = [f"{r['clips']} of {r['of']} clips"] if r["clips"] < r["of"] else []
            notes += [flags] if flags else []
            text += f" ({'; '.join(notes)})" if notes else ""
        kind = "" if r["bd_rate"] is None else "lost" if r["bd_rate"] > 0 else "won"
        groups[r["ours"], r["curve"]][r["metric"]] = (text, kind)
    rows: list[list[Cell]] = [
        [f"{a} against {b}", *(found.get(m, "–") for m in metrics)] for (a, b), found in groups.items()
    ]
    return table(["BD-rate", *(METRICS[m].title for m in metrics)], rows)


def duration(seconds: float | None) -> str:
    if seconds is None:
        return "never"
    if seconds == 0:
        return "at once"
    if seconds < 10:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 300 else f"{seconds / 60:.0f} min" if seconds < 18000 else "over 5 h"


def even_table(report: dict[str, Any]) -> str:
    """Break-even lengths: the median over clips, with the range where there are several."""
    columns = list(dict.fromkeys(r["at"] for r in report["break_even"]))
    groups: dict[tuple[str, str, str], dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for r in report["break_even"]:
        groups[r["our_curve"], r["ours"], r["curve"]][r["at"]].append(r)
    rows: list[list[Cell]] = []
    for (curve, point, other), found in groups.items():
        rows.append([f"{curve}, {point}", (other, "t"), *(_even(found.get(at, [])) for at in columns)])
    return table(["fev", "cheaper than", *(f"at {c}" for c in columns)], rows)


def _even(found: list[dict[str, Any]]) -> Cell:
    if not found:
        return "–"
    if all(r["note"] == WORSE for r in found):
        return (WORSE, "t")
    known = sorted(float("inf") if r["duration_s"] is None else r["duration_s"] for r in found)
    low, middle, high = (None if v == float("inf") else v for v in (known[0], median(known), known[-1]))
    text = duration(middle)
    if len(found) > 1 and low != high:
        text += f" ({duration(low)} to {duration(high)})"
    notes = sorted({r["note"] for r in found if r["note"] and r["at"] != "its lowest rate"})
    return (text + (f"; {'; '.join(notes)}" if notes else ""), "t")


def length_table(report: dict[str, Any]) -> str:
    rows: list[list[Cell]] = []
    for p in report["points"]:
        if p["bytes"] is not None:
            k = p["kbps"]
            lengths = [number(k[f"{t:g}"]) for t in LENGTHS]
            last = number(k["marginal"]) if p["codec"] == "fev" else "–"
            rows.append([p["clip"], (p["curve"], "t"), (p["point"], "t"), number(k["own"]), *lengths, last])
    head = [f"{t:g} s" if t < 60 else f"{t / 60:g} min" for t in LENGTHS]
    return table(["clip", "codec", "point", "kbit/s, this clip", *head, "identity there"], rows)


def point_table(report: dict[str, Any]) -> str:
    metrics = measured(report)
    rows: list[list[Cell]] = []
    for p in report["points"]:
        size = ["–", "–", "–", "–"] if p["bytes"] is None else [
            str(p["bytes"]), str(p["once"]), str(p["container"]), number(p["kbps"]["own"]),
        ]  # fmt: skip
        sections = ", ".join(f"{k} {v}" for k, v in p["sections"].items() if v)
        times = [number(p["encode_s_per_frame"], 3), number(p["decode_s_per_frame"], 4)]
        scores = [shown(m, p["scores"].get(m)) for m in metrics]
        rows.append([p["clip"], (p["curve"], "t"), (p["point"], "t"), *size, *scores, *times, (sections, "t")])
    head = ["clip", "codec", "point", "bytes", "of these once", "container, not counted", "kbit/s"]
    titles = [METRICS[m].title for m in metrics]
    return table([*head, *titles, "encode, s/frame", "decode, s/frame", "sections of .fev, bytes"], rows)


def published_table(report: dict[str, Any]) -> str:
    rows: list[list[Cell]] = [
        [name, number(p["kbps"]), *(number(p[k], d) for k, d in (("lpips", 3), ("dists", 3), ("psnr", 1)))]
        for name, points in report["published"]["methods"].items()
        for p in points
    ]
    return table(["published", "kbit/s", "1 - LPIPS", "1 - DISTS", "PSNR, dB"], rows)


def points_csv(report: dict[str, Any]) -> str:
    metrics, sections = measured(report), sorted({s for p in report["points"] for s in p["sections"]})
    plain = ["clip", "codec", "curve", "point", "frames", "duration_s", "bytes", "once", "container", "key_frames"]
    times = ["encode_s_per_frame", "decode_s_per_frame"]
    kbps = ["own", *(f"{t:g}" for t in LENGTHS), "marginal"]
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        [*plain, *(f"kbps_{k}" for k in kbps), *metrics, *times, *(f"bytes_{s}" for s in sections), "stream"]
    )
    for p in report["points"]:
        row = [*(p[k] for k in plain), *(p["kbps"].get(k) for k in kbps), *(p["scores"].get(m) for m in metrics)]
        writer.writerow([*row, *(p[k] for k in times), *(p["sections"].get(s) for s in sections), p["stream"]])
    return out.getvalue()


def frames_csv(results: list[dict[str, Any]]) -> str:
    """A row a scored frame of every point."""
    metrics = [m for m in METRICS if any(m in r["per_frame"] for r in results)]
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["clip", "curve", "point", "frame", *metrics])
    for r in results:
        columns = [r["per_frame"].get(m) for m in metrics]
        for i, frame in enumerate(r["per_frame"]["frame"]):
            writer.writerow([r["clip"], r["curve"], r["point"], frame, *(None if c is None else c[i] for c in columns)])
    return out.getvalue()
