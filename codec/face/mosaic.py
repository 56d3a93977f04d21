"""The set of a camera that moves: a still of all that the shot shows, from frames laid over each other.

It is larger than the picture, so it has a place (`fev.format.stage`).  Its bytes are bounded: it has
at most MOST_AREA times as many pixels as the picture has, and shows a larger place at a smaller
scale.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F

from ...format.stage import UNIT, Place
from ..media.still import MAX_SIDE
from .align import shrunk
from .camera import similarity_of, travel
from .keypicture import Similarity, on_people
from .median import DEEP, covers, median_of

MOST_AREA = 1.5  # pixels of the set for one of the picture
SAME_SCALE = 0.06  # by which the set's scale may be off that of most frames
FARTHEST = 2.0  # sides of the picture that the set reaches beyond the middle view
ROWS = 128  # of the set, worked on at once
FEW_FREE = 3  # samples that show a spot free of people, from which on they alone are taken
HIDDEN, EDGE, BODY, FREE = 1, 2, 3, 4  # by a face, by the edge of its square, perhaps by a body, by nothing
WALKS = 1.5  # half sides of the face's square
COARSE = 8  # pixels of the set for one place in which the light of two samples is compared
OVERLAP = 40  # such places, at least
DARK = 8.0  # grey levels that are added where light is divided
MOST_GAIN = 1.3


@dataclass(frozen=True)
class Shown:
    """A picture with a camera of its own.

    Args:
        rgb: (H, W, 3) uint8.
        camera: its row, from a camera at rest to it.
        face: placement of the face in it, None where nobody is there.
        body: whether what is below the face is told from the rest.
    """

    rgb: np.ndarray
    camera: np.ndarray
    face: np.ndarray | None
    body: bool = True


@dataclass(frozen=True)
class Area:
    """What a set shows.

    Args:
        width, height: of its still.
        place: where it lies.
        middle: of the picture, in its pixels.
    """

    width: int
    height: int
    place: Place
    middle: complex

    def places(self, top: float, bottom: float, step: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
        """Columns and rows of the still, from the middle of a camera at rest."""
        across = self.place.x / 8 + np.arange(step / 2, self.width, step) * UNIT / self.place.scale
        down = self.place.y / 8 + np.arange(top + step / 2, bottom, step) * UNIT / self.place.scale
        return across - self.middle.real, down - self.middle.imag


def corners_of(camera: np.ndarray, width: int, height: int) -> np.ndarray:
    """Where the corners of a picture lie in that of a camera at rest, from its middle, (4, 2)."""
    corners = _corners(similarity_of(camera), width, height)
    return np.stack([corners.real, corners.imag], 1)


def _corners(at: Similarity, width: int, height: int) -> np.ndarray:
    signs = np.array([-1 - 1j, 1 - 1j, -1 + 1j, 1 + 1j])
    out: np.ndarray = (signs.real * width / 2 + 1j * signs.imag * height / 2 - at.t) / at.z
    return out


def area_of(cameras: list[Similarity], width: int, height: int) -> Area:
    """The place that some views show together, at the scale of most of them if that is not too
    large."""
    middle = complex(width / 2, height / 2)
    views = [_corners(s, width, height) for s in cameras]
    centre = complex(np.median([v.mean().real for v in views]), np.median([v.mean().imag for v in views]))
    all_of = np.concatenate(views) - centre
    reach = complex(FARTHEST * width, FARTHEST * height)
    left, right = np.clip([all_of.real.min(), all_of.real.max()], -reach.real, reach.real) + (centre + middle).real
    top, bottom = np.clip([all_of.imag.min(), all_of.imag.max()], -reach.imag, reach.imag) + (centre + middle).imag
    zoom = float(np.median([abs(s.z) for s in cameras]))
    zoom = 1.0 if abs(zoom - 1) < SAME_SCALE else zoom
    most = np.sqrt(MOST_AREA * width * height / ((right - left) * (bottom - top)))
    scale = min(zoom, float(most), MAX_SIDE / (max(right - left, bottom - top) + 1))
    place = Place(max(1, round(UNIT * scale)), int(np.floor(8 * left)), int(np.floor(8 * top)))
    across, down = (max(1, int(np.ceil(side * place.scale / UNIT))) for side in (right - left, bottom - top))
    return Area(across, down, place, middle)


def mosaic(pictures: list[Shown]) -> tuple[np.ndarray, np.ndarray, Area]:
    """The set that some pictures of one place show.

    Where two or fewer show a spot, the one whose camera lies nearest to the middle of all is taken,
    else the median.  What a face hides is taken from where it is seen free, and what a body hides
    where somebody walks.

    Returns:
        The still (h, w, 3) uint8; where only a face was ever seen, or nothing, (h, w); and where it
        lies.
    """
    height, width = pictures[0].rgb.shape[:2]
    views = [similarity_of(p.camera) for p in pictures]
    usual = similarity_of(np.median([p.camera for p in pictures], 0))
    near = sorted(range(len(views)), key=lambda i: travel(views[i].after(usual.inverse()), width, height))
    pictures, views = [pictures[i] for i in near], [views[i] for i in near]
    area = area_of(views, width, height)
    gains = _gains(pictures, views, area)
    if not _walks(pictures, views):
        pictures = [replace(p, body=False) for p in pictures]
    out = np.zeros((area.height, area.width, 3), np.uint8)
    hidden = np.zeros((area.height, area.width), bool)
    for top in range(0, area.height, ROWS):
        across, down = area.places(top, min(area.height, top + ROWS))
        seen = [_seen(p, v, across, down, g) for p, v, g in zip(pictures, views, gains, strict=True)]
        colours, none = _merged(np.stack([s[0] for s in seen], 1), np.stack([s[1] for s in seen]))
        out[top : top + ROWS], hidden[top : top + ROWS] = colours.transpose(1, 2, 0), none
    return out, hidden, area


def _walks(pictures: list[Shown], views: list[Similarity]) -> bool:
    """Whether somebody goes far before the set.  Of one who does not, the frames that show a spot
    beside a body free are too few and by chance: its outline would be torn."""
    height, width = pictures[0].rgb.shape[:2]
    places = [
        (complex(p.face[0] - width / 2, p.face[1] - height / 2) - v.t) / v.z
        for p, v in zip(pictures, views, strict=True)
        if p.face is not None
    ]
    if not places:
        return False
    half = float(np.median([p.face[2] for p in pictures if p.face is not None]))
    return max(float(np.ptp(np.real(places))), float(np.ptp(np.imag(places)))) > WALKS * half


def _seen(
    picture: Shown, view: Similarity, across: np.ndarray, down: np.ndarray, gain: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What a picture shows of a grid of places.

    Args:
        across, down: (w,) and (h,), from the middle of a camera at rest.
        gain: (3,) of its colours.

    Returns:
        Colours (3, h, w) uint8, and how it shows them, (h, w): HIDDEN to FREE, 0 not at all.
    """
    height, width = picture.rgb.shape[:2]
    x, y = _through(view, across, down)
    x, y = x + np.float32(width / 2), y + np.float32(height / 2)
    inside = (x >= 0) & (x <= width) & (y >= 0) & (y <= height)
    how = inside * np.uint8(FREE)
    if not inside.any():
        return np.zeros((3, *x.shape), np.uint8), how
    if picture.face is not None:
        if picture.body:
            how[inside & on_people(x, y, [picture.face])] = BODY
        how[inside & covers(picture.face, x, y, 1.0)] = EDGE
        how[inside & covers(picture.face, x, y, DEEP)] = HIDDEN
    return _fetched(picture.rgb, x, y, gain), how


def _through(view: Similarity, across: np.ndarray, down: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A grid of places as a camera shows it, (h, w) float32 each."""
    a, b, t = view.z.real, view.z.imag, view.t
    x = (a * across + t.real).astype(np.float32) - (b * down).astype(np.float32)[:, None]
    y = (b * across + t.imag).astype(np.float32) + (a * down).astype(np.float32)[:, None]
    return x, y


def _fetched(rgb: np.ndarray, x: np.ndarray, y: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """Colours (3, h, w) uint8 at places x, y (h, w) in pixels, bilinear; as means of blocks where
    the places lie wide apart."""
    left, top = max(0, int(x.min()) - 2), max(0, int(y.min()) - 2)
    right, bottom = int(x.max()) + 3, int(y.max()) + 3
    part = rgb[min(top, rgb.shape[0] - 1) : max(1, bottom), min(left, rgb.shape[1] - 1) : max(1, right)]
    apart = np.hypot(x[0, -1] - x[0, 0], y[0, -1] - y[0, 0]) / max(1, x.shape[1] - 1)
    factor = min(max(1, int(apart + 0.25)), *part.shape[:2])
    source = shrunk(part, factor)
    u = (x - np.float32(left)) * np.float32(2 / (factor * source.shape[3])) - 1
    v = (y - np.float32(top)) * np.float32(2 / (factor * source.shape[2])) - 1
    grid = torch.from_numpy(np.stack([u, v], 2))[None]
    values = F.grid_sample(source, grid, padding_mode="border", align_corners=False)[0]
    values = (values + 1) * torch.from_numpy(127.5 * gain).float()[:, None, None]
    out: np.ndarray = values.round_().clamp_(0, 255).to(torch.uint8).numpy()
    return out


def seen_of(
    rgb: np.ndarray, place: Place | None, camera: np.ndarray, x: np.ndarray, y: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """A set as a camera shows it.

    Args:
        rgb: its still, (h, w, 3) uint8.
        place: where it lies; None = it covers the picture.
        camera: a row.
        x, y: columns (w,) and rows (h,) of the picture, in pixels.
        size: of the picture.

    Returns:
        (h, w, 3) uint8.
    """
    u, v = _on_set(place, camera, x, y, size)
    out: np.ndarray = _fetched(rgb, u, v, np.ones(3)).transpose(1, 2, 0)
    return out


def share_inside(
    still: tuple[int, int], place: Place | None, cameras: list[np.ndarray], size: tuple[int, int]
) -> float:
    """Share of what some cameras see that lies on a set.

    Args:
        still, size: width and height of the set's still, and of the picture.
        place: where the set lies; None = it covers the picture.
        cameras: rows.
    """
    across = (np.arange(16) + 0.5) / 16
    shares = []
    for camera in cameras:
        u, v = _on_set(place, camera, across * size[0], across * size[1], size)
        width, height = still if place is not None else size
        shares.append(((u >= 0) & (u <= width) & (v >= 0) & (v <= height)).mean())
    return float(np.mean(shares))


def _on_set(
    place: Place | None, camera: np.ndarray, x: np.ndarray, y: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Columns x (w,) and rows y (h,) of the picture that a camera shows, as places on the set's
    still, (h, w) each."""
    place, middle = place or Place(), (size[0] / 2, size[1] / 2)
    u, v = _through(similarity_of(camera).inverse(), x - middle[0], y - middle[1])
    scale = np.float32(place.scale / UNIT)
    return (u + np.float32(middle[0] - place.x / 8)) * scale, (v + np.float32(middle[1] - place.y / 8)) * scale


def _merged(values: np.ndarray, how: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """values: (3, N, h, w), those nearest to the middle first.  how: (N, h, w)."""
    best = how.max(0)
    least = np.where((how == FREE).sum(0) >= FEW_FREE, FREE, np.minimum(BODY, best))
    shown = how >= np.maximum(least, HIDDEN)
    few = shown.sum(0) <= 2
    first = np.take_along_axis(values, shown.argmax(0)[None, None], 1)[:, 0]
    middle = np.stack([median_of(colour, shown) for colour in values])
    return np.where(few, first, middle), best <= HIDDEN


def _gains(pictures: list[Shown], views: list[Similarity], area: Area) -> list[np.ndarray]:
    """Factors of the colours that bring every picture into the light of the first."""
    across, down = area.places(0, area.height, COARSE)
    total, weight, out = np.zeros((3, len(down), len(across))), np.zeros((len(down), len(across))), []
    for picture, view in zip(pictures, views, strict=True):
        values, how = _seen(picture, view, across, down, np.ones(3))
        both, gain = (how == FREE) & (weight > 0), np.ones(3)
        if both.sum() >= OVERLAP:
            so_far = total[:, both] / weight[both]
            gain = np.exp(np.median(np.log((so_far + DARK) / (values[:, both] + DARK)), 1))
            gain = np.clip(gain, 1 / MOST_GAIN, MOST_GAIN)
        seen = how == FREE
        total[:, seen] += values[:, seen] * gain[:, None]
        weight[seen] += 1
        out.append(gain)
    return out
