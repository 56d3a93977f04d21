"""Pictures of a report: which clip and which frame, by a rule and not by taste; source, ours and others side by side.

The rule.  Of fev's settings, the cheapest and the dearest by mean rate over the clips.  For each: the clip whose mean
PSNR is the median of the clips (the lower of two), at the scored frame whose PSNR is the median of its frames; and the
clip whose mean PSNR is the worst, at its worst frame.  Beside it AV1 and HEVC (or whichever two were run, in the order
AV1, HEVC, VP9, H.264) with one GOP, at their lowest rate that is not below ours, or at their best point if all are.
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from ...codec.media.mux import VideoWriter
from .jobs import Job, Store, decoded
from .square import Square, frames_of

ORDER = ("svtav1", "x265", "vp9", "x264")
BESIDE = 2  # other codecs
VIDEO_SECONDS = 10
RULE = " ".join(__doc__.split("The rule.")[1].split())


@dataclass(frozen=True)
class Pick:
    """why: "median" or "worst".  frame: its number.  results: ours first, then the others."""

    why: str
    clip: str
    frame: int
    results: tuple[dict[str, Any], ...]


def kbps(result: dict[str, Any]) -> float:
    return float(8 * result["coded"]["bytes"] / result["duration_s"] / 1000)


def pick(results: list[dict[str, Any]]) -> list[Pick]:
    """What to show, by the rule; nothing where fev was not run."""
    by: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for r in results:
        if r["codec"] == "fev":
            by[r["curve"], r["point"]].append(r)
    if not by:
        return []
    settings = sorted(by.values(), key=lambda rows: fmean(map(kbps, rows)))
    out = []
    for rows in settings[:1] + settings[1:][-1:]:
        ranked = sorted(rows, key=lambda r: r["scores"]["psnr"])
        for why, r in (("median", ranked[(len(ranked) - 1) // 2]), ("worst", ranked[0])):
            values = r["per_frame"]["psnr"]
            order = np.argsort(values, kind="stable")
            k = int(order[(len(order) - 1) // 2] if why == "median" else order[0])
            out.append(Pick(why, r["clip"], r["per_frame"]["frame"][k], (r, *beside(results, r))))
    return out


def beside(results: list[dict[str, Any]], ours: dict[str, Any]) -> list[dict[str, Any]]:
    """The others' points that ours is held against."""
    out: list[dict[str, Any]] = []
    for codec in ORDER:
        rows = [r for r in results if (r["clip"], r["codec"]) == (ours["clip"], codec)]
        rows = [r for r in rows if r["setting"]["gop"] == "single"] or rows
        if rows and len(out) < BESIDE:
            above = [r for r in rows if kbps(r) >= kbps(ours)]
            out.append(min(above, key=kbps) if above else max(rows, key=kbps))
    return out


class ReportPictures:
    """Decodes what is picked.  jobs: those of the results."""

    def __init__(self, store: Store, jobs: list[Job]):
        self.store = store
        self.jobs = {(j.square.name, j.curve, j.point): j for j in jobs}

    def frames(self, result: dict[str, Any]) -> Iterator[np.ndarray]:
        job = self.jobs[result["clip"], result["curve"], result["point"]]
        stream = self.store.stream(job)
        assert stream is not None
        return decoded(job, stream)

    def source(self, result: dict[str, Any]) -> Iterator[np.ndarray]:
        return frames_of(self.jobs[result["clip"], result["curve"], result["point"]].square.path)

    def row(self, found: Pick) -> list[np.ndarray]:
        """The frame of the source, of ours and of the others."""
        sides = (self.source(found.results[0]), *map(self.frames, found.results))
        return [next(islice(side, found.frame, None)) for side in sides]

    def video(self, found: Pick) -> bytes:
        """The same side by side as one H.264 video (crf 18), so that nothing can run apart; ten seconds at most."""
        job = self.jobs[found.clip, found.results[0]["curve"], found.results[0]["point"]]
        fps, size, out = Fraction(*job.square.fps), job.square.size, io.BytesIO()
        sides = (self.source(found.results[0]), *map(self.frames, found.results))
        with VideoWriter(out, size * len(sides), size, 1 / fps, fps, crf=18, preset="medium", threads=1) as writer:
            for i, row in enumerate(islice(zip(*sides, strict=True), int(VIDEO_SECONDS * fps))):
                writer.write(np.concatenate(row, 1), i)
        return out.getvalue()

    def keep(self, result: dict[str, Any], path: Path) -> None:
        """All decoded frames as an array of bytes (T, S, S, 3)."""
        _save(self.frames(result), (result["frames"], result["size"]), path)

    def keep_square(self, square: Square, path: Path) -> None:
        """The same of the source."""
        _save(frames_of(square.path), (square.frames, square.size), path)


def _save(frames: Iterator[np.ndarray], shape: tuple[int, int], path: Path) -> None:
    count, size = shape
    temporary = path.with_suffix(".part")
    with open(temporary, "wb") as file:  # frame by frame: memory does not grow with the clip
        header = {"descr": "|u1", "fortran_order": False, "shape": (count, size, size, 3)}
        np.lib.format.write_array_header_1_0(file, header)
        for rgb in frames:
            file.write(rgb.tobytes())
    temporary.replace(path)


def png(rgb: np.ndarray) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(rgb).save(out, "PNG", optimize=True)
    return out.getvalue()
