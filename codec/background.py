"""The still picture behind the face: made from a few frames, coded once as an AV1 still."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from .paste import EDGE
from .still import encode_still

MEDIAN_ROWS = 64  # rows of the picture worked on at once, to bound memory


def make_plate(frames: list[np.ndarray], placements: np.ndarray) -> np.ndarray:
    """Median over sample frames (H, W, 3); what the face square always covers is smoothed away.

    placements: (N, 4), those of the clip.  The median takes out what moves in front of a still
    background; the part that is never seen costs no bits.
    """
    height = frames[0].shape[0]
    plate = np.empty_like(frames[0])
    for top in range(0, height, MEDIAN_ROWS):
        rows = np.stack([f[top : top + MEDIAN_ROWS] for f in frames])
        plate[top : top + MEDIAN_ROWS] = np.median(rows, 0)
    return smooth_under(plate, placements)


def smooth_under(plate: np.ndarray, placements: np.ndarray) -> np.ndarray:
    """Replace what every placement covers fully by a very smooth filling."""
    height, width = plate.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) + 0.5
    covered = np.ones((height, width), bool)
    for cx, cy, half, angle in placements[:: max(1, len(placements) // 64)]:
        c, s = np.cos(angle), np.sin(angle)
        u, v = (c * (x - cx) + s * (y - cy)) / half, (-s * (x - cx) + c * (y - cy)) / half
        covered &= np.maximum(np.abs(u), np.abs(v)) < 1 - EDGE - 0.03
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
