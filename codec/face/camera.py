"""Does the camera move?  Where the background of one picture lies in another, by phase correlation."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

WIDE = 640  # pixels across that are compared at most
CLEAR = 3.0  # how far the highest peak of the correlation stands out, below which it says nothing
TILES = 6  # across and down
CHANGED = 0.8  # grey levels by which a tile differs that has a say
BETTER = 0.9  # share of the difference that is left where a tile has moved
BODY = 1.8  # half width of what belongs to a person, in half sides of the square
STILL = 0.004  # of the picture's larger side, up to which a camera stands still


def shift(picture: np.ndarray, other: np.ndarray, faces: list[np.ndarray]) -> np.ndarray | None:
    """How far what `picture` shows has moved in `other`, (x, y) in pixels; None where it cannot be
    told.

    Both (H, W, 3) uint8.

    Args:
        faces: placements of which nothing is looked at.
    """
    factor = max(1, -(-picture.shape[1] // WIDE))
    a, b = (_prepared(v, factor, faces) for v in (picture, other))
    cross = np.fft.rfft2(b) * np.conj(np.fft.rfft2(a))
    found = np.fft.irfft2(cross / np.maximum(np.abs(cross), 1e-3 * np.abs(cross).max() + 1e-9), a.shape)
    top = np.unravel_index(int(found.argmax()), found.shape)
    peak = found[top]
    near = np.roll(found, (4 - top[0], 4 - top[1]), (0, 1))
    near[:9, :9] = 0
    if not peak > CLEAR * max(float(near.max()), 1e-12) and any(int(v) for v in top):
        return None
    y, x = (int(v) - n if v > n // 2 else int(v) for v, n in zip(top, found.shape, strict=True))
    if not _most_of(a, b, y, x):
        return np.zeros(2)
    return np.array([x * factor, y * factor], float)


def _most_of(a: np.ndarray, b: np.ndarray, y: int, x: int) -> bool:
    """Whether most of a picture moves by (y, x), not a thing in it: counted in tiles, a plain one
    stands still.
    """
    moved = np.roll(a, (y, x), (0, 1))
    votes = []
    for rows in np.array_split(np.arange(a.shape[0]), TILES):
        for columns in np.array_split(np.arange(a.shape[1]), TILES):
            at = np.ix_(rows, columns)
            before = float(np.abs(b[at] - a[at]).mean())
            if before > CHANGED:
                votes.append(float(np.abs(b[at] - moved[at]).mean()) < BETTER * before)
    return len(votes) * 3 >= TILES**2 and float(np.mean(votes)) > 0.5


def moves(shifts: list[np.ndarray | None], width: int, height: int) -> bool:
    """Whether shifts of several pictures are those of a camera that moves."""
    known = [s for s in shifts if s is not None]
    return bool(known) and sum(float(np.hypot(*s)) > STILL * max(width, height) for s in known) * 3 >= len(known)


def _prepared(picture: np.ndarray, factor: int, faces: list[np.ndarray]) -> np.ndarray:
    """Grey and small, without light, edges of the picture or faces."""
    grey = torch.from_numpy(np.ascontiguousarray(picture)).float().mean(2)[None, None]
    small = F.avg_pool2d(grey, factor)[0, 0].numpy()
    height, width = small.shape
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) + 0.5
    weight = np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1]) ** 0.5
    for cx, cy, half, _ in (np.asarray(f) / [factor, factor, factor, 1] for f in faces):
        beside = np.maximum(np.abs(x - cx) / BODY, cy - y)  # the body below moves with the face
        weight *= np.clip((beside / half - 0.8) / 0.2, 0, 1)
    mean = (small * weight).sum() / max(float(weight.sum()), 1e-6)
    out: np.ndarray = (small - mean) * weight
    return out
