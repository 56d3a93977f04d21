"""Put the decoded square back into the frame: the inverse of `fev.codec.face.align.extract`, with a
soft edge.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..model.pictures import to_levels

EDGE = 0.12  # width of the soft edge, as a share of half the square


def soft_mask(u: Tensor, v: Tensor) -> Tensor:
    """Weight of the square at its own coordinates (-1 to 1): 1 inside, falling smoothly to 0 at the
    edge.
    """
    distance = (1 - torch.maximum(u.abs(), v.abs())) / EDGE
    t = distance.clamp(0, 1)
    return t * t * (3 - 2 * t)


def paste(plate: np.ndarray, crop: Tensor, placement: np.ndarray) -> np.ndarray:
    """Blend one square into a picture.

    Args:
        plate: (H, W, 3) uint8, not changed.
        crop: (3, S, S), -1 to 1.
        placement: (cx, cy, half, angle) in pixels of the plate; with a half side of 0 nobody is
            there.

    Returns:
        A new (H, W, 3) uint8 picture.
    """
    height, width = plate.shape[:2]
    cx, cy, half, angle = (float(v) for v in placement)
    out: np.ndarray = plate.copy()
    if half <= 0:
        return out
    reach = half * (abs(np.cos(angle)) + abs(np.sin(angle))) + 1
    left, right = max(0, int(cx - reach)), min(width, int(cx + reach) + 2)
    top, bottom = max(0, int(cy - reach)), min(height, int(cy + reach) + 2)
    if right <= left or bottom <= top:
        return out
    x = (torch.arange(left, right, dtype=torch.float32) + 0.5 - cx) / half
    y = (torch.arange(top, bottom, dtype=torch.float32) + 0.5 - cy) / half
    c, s = float(np.cos(angle)), float(np.sin(angle))
    u = c * x[None, :] + s * y[:, None]
    v = -s * x[None, :] + c * y[:, None]
    grid = torch.stack([u, v], 2)[None]
    source = crop[None]
    shrink = crop.shape[-1] / (2 * half)
    if shrink > 1.5:  # a small face: shrink by area first, so that it does not shimmer
        side = max(1, int(crop.shape[-1] * (1 / shrink)))
        source = F.interpolate(source, size=(side, side), mode="area")
    mode = "bicubic" if shrink < 0.9 else "bilinear"
    face = F.grid_sample(source, grid, mode=mode, padding_mode="border", align_corners=False)[0]
    face = to_levels(face)
    mask = soft_mask(u, v)[None]
    old = torch.from_numpy(plate[top:bottom, left:right]).permute(2, 0, 1).float()
    mixed = old + (face - old) * mask
    out[top:bottom, left:right] = mixed.round().to(torch.uint8).permute(1, 2, 0).numpy()
    return out
