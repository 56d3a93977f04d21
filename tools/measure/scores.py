"""The measures of the paper's Table 1 over squares of a source and of what was decoded (supplement F.2).

Three regions, never mixed:

- `masked`: both pictures black outside the face of the reference frame, and means over the whole square, as published.
  The supplement says that all measures but L_ID and the correlations are "computed over a masked-out region of the
  reference face of each frame".  That means were taken over the whole blanked picture and not over the face's pixels is
  read off its figures: three clips that the authors show (at 256, an ellipse for the face) have an L1 of 1.5 to 1.9
  and 34 to 36 dB so, the table 1.99 and 34.2 dB; over the face's own pixels they have 5.4 to 6.6 and 29 to 31 dB.
  Black pixels are equal in both pictures: a face on a third of the square gains 5 dB.
- `inside`: L1 and PSNR over the face's own pixels, which is what one sees.
- `square`: the square as it is.  Needs no mask.

The face is what the face parsing calls skin, brows, eyes, glasses, nose, mouth and lips in the source's frame; the
paper's texts do not say which labels were taken, nor what fills the rest.  Frames in which it finds none are left out
of the masked means.

Per frame, then the mean over frames: L1 (bytes, 0 to 255), LPIPS (AlexNet), L_ID (1 - cosine of ArcFace, of the whole
squares), PSNR and SSIM (scikit-image).  FID over all frames.  FVD over pieces of 120 frames that follow one another
(what is left over at a clip's end counts nowhere), scored in batches of 8 and averaged, as the supplement has it; fewer
than 8 are one batch, more are batches of 8 without the rest.  FVD_M is FVD with all but the reference's mouth, and a
margin around it, black.  Fréchet distances of few rows in many dimensions lie far above those of many, and say little
alone.

Memory: only features grow with the clips, by 33 KB a frame with Inception.  Frames are held for one piece, 36 MB for
each of three regions and two clips; I3D takes 1.5 GB for a piece of 120 frames.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...codec.model.pictures import from_levels
from ...codec.paper.attributes import FACE, PARTS, covered, parsed
from .i3d import SHORTEST, shrunk
from .judges import Judge, Judges
from .metrics import absolute, decibels, frechet, structure

METRICS = ("l1", "lpips", "l_id", "psnr", "ssim", "fid", "fvd", "fvd_m", "rho_au", "rho_gaze", "rho_pose")
TRACKS = {"rho_au": "units", "rho_gaze": "gaze", "rho_pose": "pose"}
REGIONS = {
    "masked": METRICS,
    "inside": ("l1", "psnr"),
    "square": tuple(m for m in METRICS if m != "fvd_m"),
}  # L_ID and the correlations know no region and stand in two
FRAGMENT = 120  # frames of a piece
BATCH = 8  # pieces that are scored together
OPENFACE = "no tables were named (--openface SOURCE.csv DECODED.csv): OpenFace 2.0's FeatureExtraction makes them"


@dataclass(frozen=True)
class Figure:
    """A figure of a region in a measure.

    Attributes:
        value: None where missing.
        about: what it was measured with, or what is lacking for it, one by one.
    """

    value: float | None
    about: tuple[str, ...]


class VideoPieces:
    """Features of both clips, piece by piece."""

    def __init__(self, judge: Judge, length: int):
        if length < SHORTEST:
            raise ValueError(f"a piece of {length} frames is too short for I3D")
        self.judge, self.length = judge, length
        self.held: list[Tensor] = []
        self.rows: list[np.ndarray] = []

    @torch.no_grad()
    def add(self, pictures: Tensor) -> None:
        """Frames of both clips, (2, N, 3, S, S), -1 to 1."""
        if self.judge.net is None:
            return
        small = shrunk(pictures.flatten(0, 1)).unflatten(0, pictures.shape[:2])
        for frame in small.unbind(1):
            self.held.append(frame.half().cpu())  # finer than a byte's step everywhere
            if len(self.held) == self.length:
                videos = torch.stack(self.held, 2)
                self.held.clear()
                rows = [self.judge.net(v[None].to(pictures)).cpu().numpy() for v in videos]
                self.rows.append(np.concatenate(rows))

    def end_clip(self) -> None:
        """No piece goes across a cut."""
        self.held.clear()

    def figure(self, *about: str) -> Figure:
        count = len(self.rows)
        if count < 2:
            return Figure(None, (f"two pieces of {self.length} frames are needed, the clips give {count}",))
        rows = np.stack(self.rows, 1)  # (2, pieces, 400)
        batches = [rows[:, i : i + BATCH] for i in range(0, count - BATCH + 1, BATCH)] or [rows]
        value = float(np.mean([frechet(*batch) for batch in batches]))
        used = sum(batch.shape[1] for batch in batches)
        return Figure(value, (*about, f"{used} pieces of {self.length} frames, batches of {batches[0].shape[1]}"))


class Scores:
    """Add squares in order, end each clip, then, after one frame at least, ask for `figures`."""

    def __init__(self, judges: Judges, fragment: int = FRAGMENT, device: torch.device | str = "cpu"):
        self.judges, self.device = judges, torch.device(device)
        self.frames = self.faceless = 0
        self.series: dict[tuple[str, str], list[np.ndarray]] = defaultdict(list)  # a number a frame
        self.features: dict[str, list[np.ndarray]] = defaultdict(list)
        self.pieces = {region: VideoPieces(judges.i3d, fragment) for region in ("masked", "square", "mouth")}
        self.tracks: list[dict[str, float | None]] | None = None

    @torch.no_grad()
    def add(self, source: np.ndarray, decoded: np.ndarray) -> None:
        """Some frames of both clips: squares (N, S, S, 3) of bytes."""
        self.frames += len(source)
        both = np.stack([source, decoded])
        values = self._values(both)
        self._compare("square", both)
        self.pieces["square"].add(values)
        if self.judges.arcface.net is not None:
            one, other = (self.judges.arcface.net.of_square(_at_least(v, 256)) for v in values)
            self._note("square", "l_id", 1 - (one * other).sum(1).cpu().numpy())
        if self.judges.parsing.net is None:
            return
        label = parsed(self.judges.parsing.net, values[0])
        face = covered(label, FACE)[:, 0].bool().cpu().numpy()
        mouth = covered(label, PARTS["mouth"], grown=True)[:, 0].bool().cpu().numpy()
        self.pieces["masked"].add(self._values(both * face[..., None]))
        self.pieces["mouth"].add(self._values(both * mouth[..., None]))
        there = face.any((1, 2))
        self.faceless += int((~there).sum())
        if there.any():
            both, face = both[:, there], face[there]
            self._compare("masked", both * face[..., None])
            self._note("inside", "l1", absolute(both[0], both[1], face))
            self._note("inside", "psnr", decibels(both[0], both[1], face))

    def end_clip(self, tracks: dict[str, float | None] | None = None) -> None:
        """tracks: the clip's correlations (`codec.openface.correlations`), for every clip or for none."""
        for pieces in self.pieces.values():
            pieces.end_clip()
        if tracks is not None:
            self.tracks = [*(self.tracks or []), tracks]

    def _values(self, both: np.ndarray) -> Tensor:
        """(2, N, S, S, 3) of bytes -> (2, N, 3, S, S), -1 to 1."""
        return from_levels(torch.from_numpy(both).permute(0, 1, 4, 2, 3).to(self.device))

    def _note(self, region: str, metric: str, values: np.ndarray) -> None:
        self.series[region, metric].append(values)

    def _compare(self, region: str, both: np.ndarray) -> None:
        for metric, measure in (("l1", absolute), ("psnr", decibels), ("ssim", structure)):
            self._note(region, metric, measure(both[0], both[1]))
        if self.judges.perceptual.net is not None:
            self._note(region, "lpips", self.judges.perceptual.net(*self._values(both)).cpu().numpy())
        if self.judges.inception.net is not None:
            pictures = torch.from_numpy(np.ascontiguousarray(both.transpose(0, 1, 4, 2, 3))).to(self.device)
            rows = [self.judges.inception.net(part).cpu().numpy() for part in pictures]
            self.features[region].append(np.stack(rows))

    def figures(self) -> dict[str, dict[str, Figure]]:
        """Region -> measure -> figure; every measure that the region knows, missing ones too."""
        return {region: {m: self._figure(region, m) for m in metrics} for region, metrics in REGIONS.items()}

    def _figure(self, region: str, metric: str) -> Figure:
        if metric in TRACKS:
            return self._correlation(TRACKS[metric])
        judges = self.judges
        by = {
            "lpips": judges.perceptual, "l_id": judges.arcface, "fid": judges.inception, "fvd": judges.i3d,
            "fvd_m": judges.i3d,
        }.get(metric)  # fmt: skip
        lacking = [by.about] if by is not None and by.net is None else []
        mask = region != "square" and metric != "l_id"
        if mask and judges.parsing.net is None:
            lacking.append(f"no mask: {judges.parsing.about}")
        elif mask and self.faceless == self.frames:
            lacking.append("no mask: the face parsing finds no face in any frame")
        if lacking:
            return Figure(None, tuple(lacking))
        about = ["no network" if by is None else by.about]
        if mask:
            about.append(f"mask by {judges.parsing.about}")
        if metric in ("fvd", "fvd_m"):
            return self.pieces["mouth" if metric == "fvd_m" else region].figure(*about)
        if metric == "fid":
            rows = np.concatenate(self.features[region], 1)
            if rows.shape[1] < 2:
                return Figure(None, ("two frames are needed",))
            return Figure(frechet(*rows), (*about, f"{rows.shape[1]} frames in {rows.shape[2]} dimensions"))
        series = self.series["square" if metric == "l_id" else region, metric]
        return Figure(float(np.concatenate(series).mean()), tuple(about))

    def _correlation(self, group: str) -> Figure:
        if self.tracks is None:
            return Figure(None, (OPENFACE,))
        known = [t[group] for t in self.tracks]
        moving = [v for v in known if v is not None]
        if not moving:
            return Figure(None, ("nothing of it moves in these clips",))
        return Figure(float(np.mean(moving)), (f"tables of OpenFace, {len(moving)} of {len(known)} clips",))


def _at_least(pictures: Tensor, side: int) -> Tensor:
    if pictures.shape[-1] >= side:
        return pictures
    return F.interpolate(pictures, size=side, mode="bilinear", align_corners=False)
