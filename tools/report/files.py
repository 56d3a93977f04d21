"""What lies beside the page as files: the stills, and all decoded frames where they were asked for.

`stills` says which and decodes them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..common import progress
from .square import Square
from .stills import Pick, ReportPictures, kbps, png


def plain_name(*parts: object) -> str:
    """A file's name out of words."""
    text = "_".join(str(p).replace(", ", "-") for p in parts)
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in text)


def save_stills(folder: Path, picks: list[Pick], pictures: ReportPictures) -> list[dict[str, Any]]:
    """Each picked frame as a PNG, and what it is."""
    out = []
    place = folder / "stills"
    place.mkdir(exist_ok=True)
    for found in picks:
        for k, rgb in enumerate(pictures.row(found)):
            r = found.results[k - 1] if k else None
            what = r["codec"] if r else "source"
            name = plain_name(found.why, found.clip, found.results[0]["point"], what) + ".png"
            (place / name).write_bytes(png(rgb))
            facts = {"file": f"stills/{name}", "clip": found.clip, "why": found.why, "frame": found.frame, "what": what}
            if r:
                facts |= {"point": r["point"], "bytes": r["coded"]["bytes"], "kbps": round(kbps(r), 3)}
            out.append(facts)
    return out


def keep_frames(
    folder: Path, squares: list[Square], results: list[dict[str, Any]], pictures: ReportPictures
) -> list[dict[str, Any]]:
    """All frames of the squares and of all points as .npy, bytes (T, S, S, 3); what is there already stays."""
    place = folder / "frames"
    place.mkdir(exist_ok=True)
    out = []
    with progress(len(squares) + len(results), "keep", "point") as bar:
        for s in squares:
            path = place / f"{plain_name(s.name, s.digest[:12])}.npy"
            if not path.exists():
                pictures.keep_square(s, path)
            out.append({"file": f"frames/{path.name}", "clip": s.name, "curve": None, "point": None})
            bar.update(1)
        for r in results:
            way = r["setting"].get("gop") or r["setting"].get("preset") or r["label"]
            path = place / f"{plain_name(r['clip'], r['codec'], way, r['point'], r['key'][:12])}.npy"
            if not path.exists():
                pictures.keep(r, path)
            out.append({"file": f"frames/{path.name}", "clip": r["clip"], "curve": r["curve"], "point": r["point"]})
            bar.update(1)
    return out
