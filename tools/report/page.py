"""The page: one HTML file that needs nothing else, plots and pictures and clips inside it.

`summary` has the figures, `tables` and `plots` and `stills` their forms; `page.html` is the frame around them.
"""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from . import plots, tables
from .scoring import METRICS
from .stills import RULE, Pick, ReportPictures, beside, kbps, png
from .summary import VIEWS, of_clip

MANY = 12  # clips, above which only those of the stills have plots of their own


def build(
    report: dict[str, Any], results: list[dict[str, Any]], picks: list[Pick], pictures: ReportPictures, videos: str
) -> str:
    """videos: of which picks there are clips: `median` or `all`."""
    shown = [c["name"] for c in report["clips"]]
    if len(shown) > MANY:
        shown = list(dict.fromkeys(p.clip for p in picks)) or shown[:MANY]
    lost = _folded("Where fev loses by most", tables.worst_table(report))
    parts = [
        "<h1>Rate and distortion</h1>", _clips(report), "<h2>Who is better at the same rate</h2>", _honest(report),
        tables.score_table(report), lost, _bd(report), _view(0), *_plots(shown, results, _whole), _view(1),
        *_plots(shown, results, plots.cost_length), "<h3>Break-even lengths</h3>", _paragraph(EVEN),
        tables.even_table(report), _folded("Rates at each length", tables.length_table(report)), _view(2),
        *_plots(shown, results, _marginal), *_stills(picks, pictures, videos), *_frames(shown, results, picks),
        _published(report), _method(report), _folded("All points", tables.point_table(report)),
    ]  # fmt: skip
    frame = Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
    return frame.substitute(title="fev-rd: rate and distortion", body="\n".join(parts))


EVEN = (
    "From how many seconds of clip on fev's whole file has the lower rate: against each codec at the lowest rate that "
    "it has, whatever that looks like, and at equal quality in one measure. 'Never': its next second costs no more "
    "than fev's. 'Its lowest is better': it has no point so bad, and its lowest rate is taken. 'Its best is worse': "
    "nothing that was run reaches fev's quality. Several clips: the median, and the range."
)
BD = (
    "Percent of rate that fev needs more (+) or less (-) at equal quality, whole files, over the range of quality that "
    "both curves have (bjontegaard, Akima); the mean over clips. Points that cost more without being better are left "
    "out first. Where curves do not overlap there is no figure, and it is said who lies above; 'small overlap' marks "
    "figures over less than a quarter of the range that both span together."
)


def _view(k: int) -> str:
    return f"<h2>{k + 1}. {escape(VIEWS[k][0])}</h2>" + _paragraph(VIEWS[k][1])


def _paragraph(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>'


def _list(rows: list[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(r)}</li>" for r in rows) + "</ul>" if rows else ""


def _folded(title: str, inside: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{inside}</details>" if inside else ""


def _uri(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _plot(svg: bytes, about: str) -> str:
    return f'<img class=plot alt="{escape(about)}" src="{_uri(svg, "image/svg+xml")}">'


def _clips(report: dict[str, Any]) -> str:
    rows: list[list[tables.Cell]] = []
    for c in report["clips"]:
        left = [f"{c['dropped']} before the first face left out"] if c["dropped"] else []
        left += [f"{c['faceless']} without a face"] if c["faceless"] else []
        rate = f"{c['fps'][0] / c['fps'][1]:.4g}"
        cells = (c["about"], f"{c['size']}x{c['size']}", str(c["frames"]), rate, f"{c['duration_s']:.2f}")
        rows.append([c["name"], *cells, ("; ".join(left), "t")])
    return tables.table(["clip", "from", "square", "frames", "frames/s", "seconds", ""], rows)


def _honest(report: dict[str, Any]) -> str:
    """The losses in words, the codec that wins most first."""
    about = (
        "Each of fev's points is held against each codec at the rate of fev's whole file, on each clip; between the "
        "codec's points a straight line over the logarithm of the rate, above its ladder its best point."
    )
    return _list(tables.losses(report)) + _paragraph(about)


def _bd(report: dict[str, Any]) -> str:
    found = tables.bd_table(report)
    return "<h3>BD-rate</h3>" + _paragraph(BD) + found if found else ""


def _whole(results: list[dict[str, Any]]) -> bytes:
    return plots.rate_quality(results)


def _marginal(results: list[dict[str, Any]]) -> bytes:
    return plots.rate_quality(results, marginal=True)


def _plots(names: list[str], results: list[dict[str, Any]], draw: Any) -> list[str]:
    return [f"<h3>{escape(n)}</h3>" + _plot(draw(of_clip(results, n)), n) for n in names if of_clip(results, n)]


def _caption(result: dict[str, Any], first: dict[str, Any] | None = None) -> str:
    text = f"{result['label']}, {result['point']}: {result['coded']['bytes']} bytes, {kbps(result):.1f} kbit/s"
    if first is not None:
        more = 100 * (kbps(result) / kbps(first) - 1)
        text += f", {more:+.0f} % against fev" + ("" if more >= 0 else " (its best point)")
    return text


def _stills(picks: list[Pick], pictures: ReportPictures, videos: str) -> list[str]:
    if not picks:
        return []
    out = ["<h2>Stills</h2>", _paragraph(RULE)]
    done: set[tuple[str, str]] = set()
    for found in picks:
        ours, others = found.results[0], found.results[1:]
        names = ["source", ours["label"], *(r["label"] for r in others)]
        texts = [f"source, {found.clip}, frame {found.frame}", _caption(ours), *(_caption(r, ours) for r in others)]
        out.append(
            f"<h3>{escape(found.clip)}: the {found.why} of {escape(ours['curve'])}, {escape(ours['point'])}</h3>"
        )
        out.append("<div class=still-row><div class=stills>")
        for name, text, rgb in zip(names, texts, pictures.row(found), strict=True):
            out.append(f'<figure><img alt="{escape(name)}" src="{_uri(png(np.ascontiguousarray(rgb)), "image/png")}">')
            out.append(f"<figcaption>{escape(text)}</figcaption></figure>")
        out.append(
            '</div><p>left <select></select> right <select></select></p><div class=slide><img alt=""><img alt="">'
        )
        out.append('</div><input type=range min=0 max=100 value=50 aria-label="slider"></div>')
        where = (found.clip, ours["point"])
        if where not in done and (videos == "all" or found.why == "median"):
            done.add(where)
            video = _uri(pictures.video(found), "video/mp4")
            out.append(_paragraph(f"In motion, from left to right: {', '.join(names)} (H.264, crf 18, for this page)."))
            out.append(f'<video controls muted loop preload=metadata src="{video}"></video>')
    return out


def _frames(names: list[str], results: list[dict[str, Any]], picks: list[Pick]) -> list[str]:
    """Frame by frame: the settings of the picks, on every clip, each with what stands beside it there."""
    out = ["<h2>Frame by frame</h2>"] if picks else []
    settings = list(dict.fromkeys((p.results[0]["curve"], p.results[0]["point"]) for p in picks))
    for name in names:
        for r in of_clip(results, name):
            if (r["curve"], r["point"]) in settings:
                svg = plots.per_frame([r, *beside(results, r)])
                out.append(f"<h3>{escape(name)}: {escape(r['point'])}</h3>{_plot(svg, name)}")
    return out


def _published(report: dict[str, Any]) -> str:
    p = report["published"]
    note = f"{p['mark']}. {p['clips']}. Source: {p['source']}. Not one of these was measured here."
    inside = _plot(plots.others_published(), p["mark"]) + _folded("As figures", tables.published_table(report))
    return f"<h2>Published by others</h2><div class=published>{_paragraph(note)}{inside}</div>"


def _method(report: dict[str, Any]) -> str:
    by = [f"{METRICS[m].title}: {text}" for m, text in report["by"].items()]
    gone = [f"{METRICS[m].title}: missing; {text}" for m, text in report["missing"].items()]
    software = sorted({p["software"] for p in report["points"] if p["software"]})
    return (
        "<h2>How it was measured</h2>" + _list(report["account"]) + _list([*by, *gone])
        + _list([*(f"Settings: {k} {v}" for k, v in report["settings"].items()), *software])
        + ("<h3>Not done</h3>" + _list(report["errors"]) if report["errors"] else "")
    )  # fmt: skip
