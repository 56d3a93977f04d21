"""The report's plots, with matplotlib, as SVG: rate against quality, cost against length, quality frame by frame.

`page` puts them in.  What was measured and what others published never share a plot.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from . import published, views
from .curves import Point, front
from .scoring import METRICS

COLOURS = {"x264": "#8c8c8c", "x265": "#2b7bba", "svtav1": "#d95f02", "vp9": "#6a9f3a", "fev": "#7b2d8b"}
PANEL_COLOURS = ("#b8860b", "#5f9ea0", "#a0522d", "#556b2f", "#708090")
COLUMNS = 3
LENGTHS = np.geomspace(1, 1800, 120)


def _figure(count: int, width: float = 4.2, height: float = 3.2) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure  # without pyplot: nothing looks for a screen

    columns = min(COLUMNS, count)
    rows = -(-count // columns)
    figure = Figure((width * columns, height * rows + 0.5), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for spare in axes[count:]:
        spare.set_axis_off()
    return figure, list(axes[:count])


def _svg(figure: Any) -> bytes:
    import matplotlib

    out = io.BytesIO()
    # Text stays text; a fixed salt and no date give the same bytes for the same report.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "fev", "font.family": "sans-serif"}):
        figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()


def _style(rows: list[dict[str, Any]], curves: list[str]) -> dict[str, Any]:
    r = rows[0]
    mine = r["codec"] == "fev"
    dashed = r["setting"].get("gop") == "1s"
    same = [c for c in curves if c.startswith("fev")]
    marker = "osD^v"[same.index(r["curve"]) % 5] if mine else "o"
    return {
        "color": COLOURS.get(r["codec"], "#444444"), "linestyle": "--" if dashed else "-", "marker": marker,
        "markersize": 5 if mine else 3.5, "linewidth": 2 if mine else 1.2, "zorder": 5 if mine else 3,
        "markerfacecolor": "white" if dashed else None,
    }  # fmt: skip


def _legend(figure: Any, axis: Any) -> None:
    handles, labels = axis.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8, frameon=False)


def rate_quality(results: list[dict[str, Any]], marginal: bool = False) -> bytes:
    """One clip, a panel a measure.

    Args:
        marginal: fev at what the next second costs, the others as they are.
    """
    by = views.lines(results)
    fixed = [r for r in results if r["coded"].get("bytes") is None]
    metrics = [m for m in METRICS if any(m in r["scores"] for r in results)]
    figure, axes = _figure(len(metrics))
    for axis, metric in zip(axes, metrics, strict=True):
        for curve, rows in by.items():
            mine = rows[0]["codec"] == "fev"
            rows = [r for r in rows if metric in r["scores"]]
            if not rows:
                continue
            cost = [views.cost_of(r).marginal if marginal and mine else views.cost_of(r).kbps() for r in rows]
            style = _style(rows, list(by))
            if mine:  # budgets and qualities make a cloud: its front is the line
                style |= {"linestyle": "none"}
                pairs = zip(cost, rows, strict=True)
                best = front(Point(c, q) for c, r in pairs if (q := views.quality(r, metric)) is not None)
                values = [views.plain(metric, p.quality) for p in best]
                axis.plot([p.rate for p in best], values, color=style["color"], linewidth=2, zorder=4)
            axis.plot(cost, [r["scores"][metric] for r in rows], label=curve, **style)
        for k, r in enumerate(fixed):
            if metric in r["scores"]:
                label = f"{r['curve']} (published output, no bitstream)"
                axis.axhline(r["scores"][metric], color=PANEL_COLOURS[k % 5], linestyle=":", linewidth=1.3, label=label)
        _axis(axis, metric)
    _legend(figure, axes[0])
    return _svg(figure)


def _axis(axis: Any, metric: str) -> None:
    m = METRICS[metric]
    axis.set_xscale("log")
    axis.set_xlabel("kbit/s", fontsize=8)
    axis.set_title(f"{m.title}{', ' + m.unit if m.unit else ''} ({'more' if m.up else 'less'} is better)", fontsize=9)
    if not m.up:
        axis.invert_yaxis()
    _ticks(axis)


def _ticks(axis: Any) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axis.xaxis.set_major_locator(LogLocator(10, (1, 2, 5)))
    axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.tick_params(labelsize=8)
    axis.grid(True, which="both", alpha=0.25, linewidth=0.5)


def cost_length(results: list[dict[str, Any]]) -> bytes:
    """One clip: kbit/s against length, of fev's points and of the others' lowest; dots where it was measured."""
    by = views.lines(results)
    figure, (axis,) = _figure(1, 9, 4)
    for curve, rows in by.items():
        mine = rows[0]["codec"] == "fev"
        for k, r in enumerate(rows if mine else rows[:1]):
            cost, style = views.cost_of(r), _style(rows, list(by))
            label = (curve if not k else None) if mine else f"{curve}, its lowest rate"
            line = {n: style[n] for n in ("color", "linestyle", "linewidth", "zorder")}
            axis.plot(LENGTHS, [cost.kbps(t) for t in LENGTHS], label=label, **line)
            axis.plot([cost.seconds], [cost.kbps()], color=style["color"], marker=style["marker"], markersize=5)
    axis.set_yscale("log")
    axis.set_xscale("log")
    axis.set_xlabel("length of the clip, seconds", fontsize=8)
    axis.set_ylabel("kbit/s", fontsize=8)
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axis.yaxis.set_major_locator(LogLocator(10, (1, 2, 5)))
    axis.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())
    _ticks(axis)
    _legend(figure, axis)
    return _svg(figure)


def per_frame(results: list[dict[str, Any]]) -> bytes:
    """A few points of one clip, frame by frame, a panel a measure."""
    metrics = [m for m in METRICS if all(m in r["per_frame"] for r in results)]
    figure, axes = _figure(len(metrics), 4.2, 2.4)
    for axis, metric in zip(axes, metrics, strict=True):
        for r in results:
            kbps = views.cost_of(r).kbps()
            label = f"{r['curve']}, {r['point']}, {kbps:.1f} kbit/s"
            colour, order = COLOURS.get(r["codec"], "#444444"), 4 if r["codec"] == "fev" else 3
            axis.plot(
                r["per_frame"]["frame"], r["per_frame"][metric], color=colour, linewidth=1, zorder=order, label=label
            )
        m = METRICS[metric]
        axis.set_title(f"{m.title} ({'more' if m.up else 'less'} is better)", fontsize=9)
        axis.set_xlabel("frame", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.grid(True, alpha=0.25, linewidth=0.5)
    _legend(figure, axes[0])
    return _svg(figure)


def others_published() -> bytes:
    """Published comparators, alone."""
    figure, axes = _figure(len(published.COLUMNS))
    for axis, (column, title) in zip(axes, published.COLUMNS.items(), strict=True):
        for k, (name, rows) in enumerate(published.METHODS.items()):
            found = [(r.kbps, getattr(r, column)) for r in rows if getattr(r, column) is not None]
            label, style = name, dict(marker="x", linestyle=":", linewidth=1, color=f"C{k}")
            axis.plot([x for x, _ in found], [y for _, y in found], label=label, **style)
        axis.set_xscale("log")
        axis.set_xlabel("kbit/s", fontsize=8)
        axis.set_title(title, fontsize=9)
        _ticks(axis)
    figure.suptitle(published.MARK, fontsize=9, style="italic")
    _legend(figure, axes[0])
    return _svg(figure)
