"""What lies behind what moves: the median of pictures of one place, and a smooth filling where none
shows it."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from .paste import EDGE

DEEP = 1 - EDGE - 0.03  # share of a square's side that hides what is behind it whatever the edge does


def covers(placement: np.ndarray, x: np.ndarray, y: np.ndarray, share: float) -> np.ndarray:
    """Where the square, made smaller to a share of its side, covers places x, y."""
    cx, cy, half, angle = placement
    c, s = np.cos(angle), np.sin(angle)
    u, v = (c * (x - cx) + s * (y - cy)) / half, (-s * (x - cx) + c * (y - cy)) / half
    out: np.ndarray = np.maximum(np.abs(u), np.abs(v)) < share
    return out


def median_of(values: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Median of pictures (N, h, w) uint8 over those that show each place, (N, h, w); one or more.

    They are sorted by pairs, odd and even in turn: that is fast on bytes.
    """
    rows = [np.where(there, v, np.uint8(255)) for v, there in zip(values, shown, strict=True)]
    for turn in range(len(rows)):
        for i in range(turn % 2, len(rows) - 1, 2):
            rows[i], rows[i + 1] = np.minimum(rows[i], rows[i + 1]), np.maximum(rows[i], rows[i + 1])
    ordered, count = np.stack(rows), np.maximum(shown.sum(0), 1)[None]
    low, high = (np.take_along_axis(ordered, at, 0)[0] for at in ((count - 1) // 2, count // 2))
    out: np.ndarray = ((low.astype(np.uint16) + high) // 2).astype(np.uint8)
    return out


def filled_smoothly(plate: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Let the surroundings grow into what is hidden, (h, w), of a picture (h, w, 3) uint8."""
    if not hidden.any():
        return plate
    picture = torch.from_numpy(plate).permute(2, 0, 1)[None].float()
    known = torch.from_numpy(~hidden).float()[None, None]
    height, width = plate.shape[:2]
    small = (max(2, height // 32), max(2, width // 32))
    total = F.interpolate(picture * known, size=small, mode="area")
    weight = F.interpolate(known, size=small, mode="area")
    for _ in range(max(small)):
        grown = F.avg_pool2d(F.pad(total, (1, 1, 1, 1), mode="replicate"), 3, 1)
        grown_weight = F.avg_pool2d(F.pad(weight, (1, 1, 1, 1), mode="replicate"), 3, 1)
        empty = weight < 1e-3
        if not empty.any():
            break
        total, weight = torch.where(empty, grown, total), torch.where(empty, grown_weight, weight)
    filling = F.interpolate(total / weight.clamp_min(1e-6), size=(height, width), mode="bilinear", align_corners=False)
    mixed = torch.where(known > 0, picture, filling)
    return mixed[0].round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
