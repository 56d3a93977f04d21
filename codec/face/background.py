"""The still picture behind the face: made from a few frames, coded once as an AV1 still."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from ..media.frame import Frame
from ..media.still import encode_still
from .camera import moves, shift
from .light import PURE, burnt, gain, reference, same_place
from .paste import EDGE

MEDIAN_ROWS = 64  # rows of the picture worked on at once, to bound memory
MAX_SAMPLES = 12
SAMPLE_PIXELS = 24_000_000  # pixels kept for the background, over all its pictures
EMPTY = 0.25  # share of the samples that show nobody, from which on they alone are taken
FACE = 1.0  # half side of what a face covers, in its square
MISSING = 999


@dataclass(frozen=True)
class PlateSample:
    """A frame from which the background may be made.

    Args:
        placement: None where nobody is there.
    """

    rgb: np.ndarray
    tone: np.ndarray
    placement: np.ndarray | None


@dataclass(frozen=True)
class Plate:
    """What stands behind the faces of a shot.

    Args:
        picture: (H, W, 3) uint8.
        empty: it was seen without anybody before it.
    """

    picture: np.ndarray
    empty: bool


class PlateSamples:
    """At most MAX_SAMPLES frames, evenly over what has been seen so far, none of them damaged."""

    def __init__(self) -> None:
        self.kept: list[PlateSample] = []
        self._stride, self._count = 1, 0

    def take(self, frame: Frame, tone: np.ndarray, placement: np.ndarray | None) -> None:
        room = max(3, min(MAX_SAMPLES, SAMPLE_PIXELS // (frame.rgb.shape[0] * frame.rgb.shape[1])))
        if frame.damaged and self.kept:
            return
        if self._count % self._stride == 0:
            self.kept.append(PlateSample(frame.rgb, tone, placement))
            if len(self.kept) > room:
                self.kept = self.kept[::2]
                self._stride *= 2
        self._count += 1

    @property
    def empty(self) -> bool:
        """Whether the background is that of a place without anybody."""
        return any(s.placement is None for s in self.chosen())

    def chosen(self) -> list[PlateSample]:
        """The well-lit ones of the place that most of them show; those with nobody there, where
        there are enough.
        """
        usual = reference(np.stack([s.tone for s in self.kept if s.placement is not None] or [self.kept[0].tone]))
        white = float(burnt(usual[None])[0])
        lit = [gain(s.tone, usual, PURE)[0] == 1 and burnt(s.tone[None])[0] <= white + 0.15 for s in self.kept]
        good = [s for s, ok in zip(self.kept, lit, strict=True) if ok] or self.kept
        empty = [s for s in good if s.placement is None]
        if len(empty) >= max(2, EMPTY * len(good)):
            return empty
        groups = [[s for s in good if same_place(s.tone, one.tone)] for one in good]
        return max(groups, key=len)


def make_plate(samples: list[PlateSample]) -> tuple[np.ndarray, int]:
    """The background from sample frames of one place, and in how many of them the camera had moved.

    The median takes out what moves in front of a still background; frames of a camera that moves
    are laid over the middle one first.  A place is taken from the frames in which the face does not
    cover it, where there are any; what the face covers in all of them is smoothed away: half a face
    would show there when it moves on.
    """
    height, width = samples[0].rgb.shape[:2]
    middle, shifts = _laid_over(samples)
    moving = moves([s for i, s in enumerate(shifts) if i != middle], width, height)
    if moving:
        kept = [(s, v) for s, v in zip(samples, shifts, strict=True) if v is not None]
    else:
        kept = [(s, np.zeros(2)) for s in samples]
    plate = np.empty_like(samples[0].rgb)
    for top in range(0, height, MEDIAN_ROWS):
        plate[top : top + MEDIAN_ROWS] = _median(kept, top, min(height, top + MEDIAN_ROWS))
    away = sum(1 for s in shifts if s is None or np.hypot(*s) > 0) if moving else 0
    squares = [None if s.placement is None else s.placement - [*v, 0, 0] for s, v in kept]
    covering = [q for q in squares if q is not None]
    return (smooth_under(plate, covering) if len(covering) == len(squares) else plate), away


def _laid_over(samples: list[PlateSample]) -> tuple[int, list[np.ndarray | None]]:
    """The sample that lies in the middle of all, and how far what it shows has moved in each."""
    which = len(samples) // 2
    shifts = _shifts(samples, which)
    known = [i for i, s in enumerate(shifts) if s is not None]
    centre = np.median([shifts[i] for i in known], 0)
    best = min(known, key=lambda i: float(np.hypot(*(shifts[i] - centre))))
    return (which, shifts) if best == which else (best, _shifts(samples, best))


def _shifts(samples: list[PlateSample], which: int) -> list[np.ndarray | None]:
    own = samples[which]
    out: list[np.ndarray | None] = []
    for s in samples:
        faces = [p for p in (s.placement, own.placement) if p is not None]
        out.append(np.zeros(2) if s is own else shift(own.rgb, s.rgb, faces))
    return out


def _median(samples: list[tuple[PlateSample, np.ndarray]], top: int, bottom: int) -> np.ndarray:
    """Rows of the plate.

    Args:
        samples: each with how far it lies from where it is to be.
    """
    height, width = samples[0][0].rgb.shape[:2]
    y, x = np.mgrid[top:bottom, 0:width]
    rows, free = [], []
    for sample, move in samples:
        dx, dy = (int(v) for v in move)
        py, px = y + dy, x + dx
        there = (py >= 0) & (py < height) & (px >= 0) & (px < width)
        if dx or dy:
            rows.append(sample.rgb[np.clip(py, 0, height - 1), np.clip(px, 0, width - 1)])
        else:
            rows.append(sample.rgb[top:bottom])
        if sample.placement is not None:
            there &= ~covers(sample.placement, px, py, FACE)
        free.append(there)
    values, shown = np.stack(rows), np.stack(free)
    shown[:, ~shown.any(0)] = True
    if shown.all():
        return np.asarray(np.median(values, 0).astype(np.uint8))
    count = shown.sum(0)[None, ..., None].repeat(3, 3)
    ordered = np.sort(np.where(shown[..., None], values, np.int16(MISSING)), 0)
    low, high = (np.take_along_axis(ordered, at, 0)[0] for at in ((count - 1) // 2, count // 2))
    out: np.ndarray = ((low + high) // 2).astype(np.uint8)
    return out


def covers(placement: np.ndarray, x: np.ndarray, y: np.ndarray, share: float) -> np.ndarray:
    """Where the square, made smaller to a share of its side, covers places x, y."""
    cx, cy, half, angle = placement
    c, s = np.cos(angle), np.sin(angle)
    u, v = (c * (x - cx) + s * (y - cy)) / half, (-s * (x - cx) + c * (y - cy)) / half
    out: np.ndarray = np.maximum(np.abs(u), np.abs(v)) < share
    return out


def smooth_under(plate: np.ndarray, placements: list[np.ndarray]) -> np.ndarray:
    """Replace what every placement covers fully by a very smooth filling."""
    height, width = plate.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) + 0.5
    covered = np.ones((height, width), bool)
    for placement in placements:
        covered &= covers(placement, x, y, 1 - EDGE - 0.03)
    if not covered.any():
        return plate
    picture = torch.from_numpy(plate).permute(2, 0, 1)[None].float()
    known = torch.from_numpy(~covered).float()[None, None]
    small = (max(2, height // 32), max(2, width // 32))
    total = F.interpolate(picture * known, size=small, mode="area")
    weight = F.interpolate(known, size=small, mode="area")
    for _ in range(max(small)):  # let the surroundings grow into the hole
        grown = F.avg_pool2d(F.pad(total, (1, 1, 1, 1), mode="replicate"), 3, 1)
        grown_weight = F.avg_pool2d(F.pad(weight, (1, 1, 1, 1), mode="replicate"), 3, 1)
        empty = weight < 1e-3
        if not empty.any():
            break
        total, weight = torch.where(empty, grown, total), torch.where(empty, grown_weight, weight)
    filling = F.interpolate(total / weight.clamp_min(1e-6), size=(height, width), mode="bilinear", align_corners=False)
    mixed = torch.where(known > 0, picture, filling)
    return mixed[0].round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()


def encode_plate(plate: np.ndarray, quality: float) -> bytes:
    """The plate as AV1; it stands still under a moving face, so it may be coarser than the face."""
    return encode_still(plate, 10 + 0.4 * quality)
