"""Pictures of networks, -1 to 1, and of video, 0 to 255."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def pictures_of(crops: list[np.ndarray]) -> Tensor:
    """Squares (S, S, 3), uint8 -> (N, 3, S, S), -1 to 1."""
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_numpy(x: Tensor) -> np.ndarray:
    """Picture (N, 3, H, W), -1 to 1 -> (N, H, W, 3) uint8."""
    return ((x.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
