"""The still picture behind the face: made from a few frames, coded once as an AV1 still."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...format.stage import Place
from ..media.frame import Frame
from ..media.still import encode_still
from .light import PURE, burnt, gain, reference, same_place
from .median import DEEP, covers, filled_smoothly, median_of
from .mosaic import Shown, corners_of, mosaic, seen_of, share_inside

MEDIAN_ROWS = 64  # rows of the picture worked on at once, to bound memory
MAX_SAMPLES = 12
SAMPLE_PIXELS = 24_000_000  # pixels kept for the background, over all its pictures
EMPTY = 0.25  # share of the samples that show nobody, from which on they alone are taken
FACE = 1.0  # half side of what a face covers, in its square
WORTH = 0.85  # of a still's error, below which a background goes with the camera
LOOKED_AT = 3  # pixels from one that is compared to the next
EXTREMES = 8  # samples for which there is room, below which those at the edges have none


@dataclass(frozen=True)
class PlateSample:
    """A frame from which the background may be made.

    Args:
        placement: None where nobody is there.
        camera: its row (`camera`), None where it could not be told.
    """

    rgb: np.ndarray
    tone: np.ndarray
    placement: np.ndarray | None
    camera: np.ndarray | None


class PlateSamples:
    """At most MAX_SAMPLES frames, evenly over what has been seen so far, none of them damaged; where
    the camera moves, those that reach farthest on each side as well.

    Attributes:
        moving: the camera has moved.
    """

    def __init__(self) -> None:
        self._even: list[PlateSample] = []
        self._farthest: dict[int, tuple[float, PlateSample]] = {}  # by side, and how far
        self._stride, self._count = 1, 0
        self.moving = False

    def take(
        self, frame: Frame, tone: np.ndarray, placement: np.ndarray | None, camera: np.ndarray | None = None
    ) -> None:
        """camera: its row, None where it cannot be told; of no account unless the camera moves."""
        room = max(3, min(MAX_SAMPLES, SAMPLE_PIXELS // (frame.rgb.shape[0] * frame.rgb.shape[1])))
        if frame.damaged and self._even:
            return
        sample = PlateSample(frame.rgb, tone, placement, camera)
        if self._count % self._stride == 0:
            self._even.append(sample)
            if len(self._even) > room:
                self._even = self._even[::2]
                self._stride *= 2
        if self.moving and camera is not None and room >= EXTREMES:
            self._reach(sample, camera)
        self._count += 1

    def _reach(self, sample: PlateSample, camera: np.ndarray) -> None:
        """Keep a sample that reaches farther than any before."""
        height, width = sample.rgb.shape[:2]
        corners = corners_of(camera, width, height)
        for side, far in enumerate((*corners.min(0), *-corners.max(0))):
            if side not in self._farthest or far < self._farthest[side][0]:
                self._farthest[side] = far, sample

    def so_far(self) -> PlateSamples:
        """What is kept now: it stays as it is."""
        out = PlateSamples()
        out._even, out._farthest = list(self._even), dict(self._farthest)
        out.moving = self.moving
        return out

    @property
    def kept(self) -> list[PlateSample]:
        """In no order."""
        there = {id(s): s for s in [*self._even, *(s for _, s in list(self._farthest.values()))]}
        return list(there.values())

    @property
    def empty(self) -> bool:
        """Whether the background is that of a place without anybody."""
        return any(s.placement is None for s in self.chosen())

    def lit(self, kept: list[PlateSample]) -> list[PlateSample]:
        """The well-lit ones of some samples."""
        usual = reference(np.stack([s.tone for s in kept if s.placement is not None] or [kept[0].tone]))
        white = float(burnt(usual[None])[0])
        lit = [gain(s.tone, usual, PURE)[0] == 1 and burnt(s.tone[None])[0] <= white + 0.15 for s in kept]
        return [s for s, ok in zip(kept, lit, strict=True) if ok] or kept

    def chosen(self) -> list[PlateSample]:
        """The well-lit ones of the place that most of them show; those with nobody there, where
        there are enough.
        """
        good = self.lit(self._even)
        empty = [s for s in good if s.placement is None]
        if len(empty) >= max(2, EMPTY * len(good)):
            return empty
        groups = [[s for s in good if same_place(s.tone, one.tone)] for one in good]
        return max(groups, key=len)


@dataclass(frozen=True)
class Plate:
    """What stands behind the faces of a shot.

    Args:
        picture: (h, w, 3) uint8.
        empty: it was seen without anybody before it.
        place: where it lies; None = it covers the frame.
        follows: it moves with the camera.
    """

    picture: np.ndarray
    empty: bool
    place: Place | None = None
    follows: bool = False

    def share_inside(self, cameras: list[np.ndarray], size: tuple[int, int]) -> float:
        """Share of what some cameras see that it shows.  size: of the frame."""
        height, width = self.picture.shape[:2]
        return share_inside((width, height), self.place, cameras, size)


def make_plate(kept: PlateSamples) -> Plate:
    """The background from sample frames of a shot.

    The median takes out what moves in front of it.  A place is taken from the frames in which the
    face does not cover it, where there are any; what the face covers in all of them is smoothed
    away: half a face would show there when it moves on.  Where the camera moves it is a mosaic that
    goes with it, if that is nearer to the samples: a body that the camera follows fills some
    pictures.
    """
    still = Plate(_still(kept.chosen()), kept.empty, follows=not kept.moving)
    if not kept.moving:
        return still
    samples = kept.lit([s for s in kept.kept if s.camera is not None])
    rgb, hidden, area = mosaic([Shown(s.rgb, s.camera, s.placement) for s in samples if s.camera is not None])
    wide = Plate(filled_smoothly(rgb, hidden), kept.empty, area.place, True)
    return wide if _error(wide, samples) < WORTH * _error(still, samples) else still


def _error(plate: Plate, samples: list[PlateSample]) -> float:
    """Mean squared difference from the samples outside the faces, at some of their pixels."""
    height, width = samples[0].rgb.shape[:2]
    at = np.arange(LOOKED_AT // 2, max(height, width), LOOKED_AT)
    rows, columns = at[at < height], at[at < width]
    errors = []
    for sample in samples:
        camera = sample.camera if plate.follows and sample.camera is not None else np.zeros(4)
        drawn = seen_of(plate.picture, plate.place, camera, columns + 0.5, rows + 0.5, (width, height))
        far = ((drawn - sample.rgb[np.ix_(rows, columns)].astype(float)) ** 2).mean(2)
        if sample.placement is not None:
            far = far[~covers(sample.placement, columns[None], rows[:, None], FACE)]
        errors.append(float(far.mean()) if far.size else 0.0)
    return float(np.mean(errors))


def _still(samples: list[PlateSample]) -> np.ndarray:
    """Of a camera at rest."""
    height, _ = samples[0].rgb.shape[:2]
    plate = np.empty_like(samples[0].rgb)
    for top in range(0, height, MEDIAN_ROWS):
        plate[top : top + MEDIAN_ROWS] = _median(samples, top, min(height, top + MEDIAN_ROWS))
    covering = [s.placement for s in samples if s.placement is not None]
    return smooth_under(plate, covering) if len(covering) == len(samples) else plate


def _median(samples: list[PlateSample], top: int, bottom: int) -> np.ndarray:
    """Rows of the plate."""
    y, x = np.mgrid[top:bottom, 0 : samples[0].rgb.shape[1]]
    none = np.zeros(x.shape, bool)
    shown = ~np.stack([none if s.placement is None else covers(s.placement, x, y, FACE) for s in samples])
    shown[:, ~shown.any(0)] = True
    return np.stack([median_of(np.stack([s.rgb[top:bottom, :, k] for s in samples]), shown) for k in range(3)], 2)


def smooth_under(plate: np.ndarray, placements: list[np.ndarray]) -> np.ndarray:
    """Replace what every placement covers fully by a very smooth filling."""
    height, width = plate.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) + 0.5
    covered = np.ones((height, width), bool)
    for placement in placements:
        covered &= covers(placement, x, y, DEEP)
    return filled_smoothly(plate, covered)


def encode_plate(plate: np.ndarray, quality: float) -> bytes:
    """The plate as AV1; it stands still under a moving face, so it may be coarser than the face."""
    return encode_still(plate, 10 + 0.4 * quality)
