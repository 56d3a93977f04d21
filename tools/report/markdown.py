"""The report's short form for a Markdown file: between two marks, so that one command brings it up to date.

A table of every clip: fev's points; of each classical codec the points whose rates are nearest to fev's cheapest and to
its dearest, whether above or below, and with one GOP; published outputs without a rate.  Then where others win, and one
picture of the stills of fev's cheapest setting.
"""

from __future__ import annotations

import csv
import io
import math
import os
import re
import textwrap
from functools import partial
from pathlib import Path
from typing import Any

from ...format.errors import FevError, UsageError
from ..common import output_file
from .scoring import METRICS
from .tables import losses, number, shown

BEGIN, END = "<!-- fev-rd -->", "<!-- /fev-rd -->"
MEASURES = ("psnr", "ms_ssim", "haarpsi", "lpips", "identity")
WIDTH = 100  # of the page's lines; tables are wider
MOST_SCORES = 1 << 20  # bytes of a CSV of scores
FrameScores = dict[tuple[str, str | None, str | None], dict[str, str]]


def check(path: Path) -> str:
    """The file's text.  Raises UsageError where it has no place for a table."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FevError(f"{path}: cannot be read: {error}") from None
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise UsageError(f"{path}: the lines {BEGIN} and {END} have to be in it, once each")
    return text


def put(path: Path, report: dict[str, Any], folder: Path, scores: FrameScores) -> None:
    """Write the table into `path`, and the stills where the picture `stills.png` is that stands in it already, else
    into the folder `docs` beside it."""
    text = check(path)
    parts = [table(report, scores), "\n".join(wrapped(f"- {line}", "  ") for line in losses(report))]
    sheet, caption = _sheet(report, folder)
    if sheet is not None:
        link = _stills_in(text, path.parent)
        place = path.parent / link
        place.parent.mkdir(exist_ok=True)
        with output_file(str(place), force=True) as file:
            file.write(sheet)
        parts.append(wrapped(f"![{caption[0]}]({link})") + "\n\n" + wrapped(caption[1]))
    head, rest = text.split(BEGIN)
    whole = "\n\n".join([BEGIN, *(p for p in parts if p), END])
    with output_file(str(path), force=True) as file:
        file.write((head + whole + rest.split(END)[1]).encode())


def wrapped(text: str, hang: str = "") -> str:
    """A paragraph in lines of at most WIDTH.  hang: what all lines but the first begin with."""
    return textwrap.fill(text, WIDTH, subsequent_indent=hang, break_long_words=False, break_on_hyphens=False)


def _stills_in(text: str, folder: Path) -> str:
    """The link to the stills between the marks, where it leads to a picture."""
    between = text.split(BEGIN)[1].split(END)[0]
    found = re.search(r"\]\(([^()\s]*stills\.png)\)", between)
    return found[1] if found and (folder / found[1]).is_file() else "docs/stills.png"


def read_scores(path: str | None, report: dict[str, Any]) -> FrameScores:
    """Figures of another scorer, by clip, curve and point (both None for a square itself).

    The CSV's column `file` names a file of --keep; its other columns are shown as they are.  Raises FevError where the
    file cannot be read or speaks of none of the frames that were kept.
    """
    if path is None:
        return {}
    try:
        if os.path.getsize(path) > MOST_SCORES:
            raise FevError(f"{path}: larger than {MOST_SCORES} bytes")
        rows = list(csv.DictReader(io.StringIO(Path(path).read_text("utf-8"))))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FevError(f"{path}: cannot be read: {error}") from None
    where = {os.path.basename(k["file"]): (k["clip"], k["curve"], k["point"]) for k in report.get("kept", [])}
    out = {}
    for row in rows:
        key = where.get(os.path.basename(row.pop("file", None) or ""))
        if key is not None:
            out[key] = {str(k): str(v) for k, v in row.items() if k is not None}
    if not out:
        raise FevError(f"{path}: no column file with names of frames that --keep wrote in this run")
    return out


def chosen(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of one clip, by the rule above."""
    rated = [p for p in points if p["bytes"] is not None]
    ours = sorted((p for p in rated if p["codec"] == "fev"), key=lambda p: p["bytes"])
    out = list(ours)
    if ours:
        for codec in dict.fromkeys(p["codec"] for p in rated if p["codec"] != "fev"):
            rows = [p for p in rated if p["codec"] == codec]
            rows = [p for p in rows if p["setting"].get("gop") == "single"] or rows
            near = [min(rows, key=partial(_apart, to=p)) for p in (ours[0], ours[-1])]
            out += near[: 1 + (near[0] is not near[1])]
    return out + [p for p in points if p["bytes"] is None]


def _apart(point: dict[str, Any], to: dict[str, Any]) -> float:
    """How far a point's rate is from that of another one."""
    return abs(math.log(point["bytes"] / to["bytes"]))


def table(report: dict[str, Any], scores: FrameScores) -> str:
    """Markdown."""
    rows = [p for c in report["clips"] for p in chosen([p for p in report["points"] if p["clip"] == c["name"]])]
    metrics = [m for m in MEASURES if any(m in p["scores"] for p in rows)]
    more = list(dict.fromkeys(k for found in scores.values() for k in found))
    head = ["clip", "codec", "bytes", "kbit/s", "1 min", "identity there", *(METRICS[m].title for m in metrics), *more]
    lines = [head, ["---"] * len(head)]
    for p in rows:
        size = ["–"] * 4
        if p["bytes"] is not None:
            last = number(p["kbps"]["marginal"]) if p["codec"] == "fev" else "–"
            size = [f"{p['bytes']:,}", number(p["kbps"]["own"]), number(p["kbps"]["60"]), last]
        found = scores.get((p["clip"], p["curve"], p["point"]), {})
        values = [shown(m, p["scores"].get(m)) for m in metrics]
        name = f"{p['curve']}, {p['point']}"
        lines.append([p["clip"], name, *size, *values, *(found.get(k, "–") for k in more)])
    return "\n".join("| " + " | ".join(c.replace("|", "/") for c in row) + " |" for row in lines)


def _sheet(report: dict[str, Any], folder: Path) -> tuple[bytes | None, tuple[str, str]]:
    """The stills of the cheapest setting, a clip a row; what they show, and the rule."""
    from PIL import Image

    stills = report["stills"]["files"]
    ours = [s for s in stills if s["what"] == "fev"]
    if not ours:
        return None, ("", "")
    cheapest = ours[0]["point"]
    rows: dict[str, list[dict[str, Any]]] = {}
    for at, s in enumerate(stills):
        if s["what"] == "source" and stills[at + 1]["point"] == cheapest:
            after = next((k for k in range(at + 1, len(stills)) if stills[k]["what"] == "source"), len(stills))
            rows[s["why"]] = stills[at:after]
    pictures = [[Image.open(folder / s["file"]) for s in row] for row in rows.values()]
    side, wide = pictures[0][0].width, max(map(len, pictures))
    sheet = Image.new("RGB", (side * wide, side * len(pictures)))
    for y, row in enumerate(pictures):
        for x, picture in enumerate(row):
            sheet.paste(picture, (x * side, y * side))
    out = io.BytesIO()
    sheet.save(out, "PNG", optimize=True)

    def said(row: list[dict[str, Any]]) -> str:
        names = ", ".join("source" if s["what"] == "source" else f"{s['what']} {s['kbps']:.1f} kbit/s" for s in row)
        return f"{row[0]['why']}, {row[0]['clip']}, frame {row[0]['frame']}: {names}"

    about = "; ".join(said(row) for row in rows.values())
    return out.getvalue(), ("Stills of " + about, f"From top to bottom: {about}. The rule: {report['stills']['rule']}")
