"""Pictures of networks, -1 to 1, and of video, grey levels 0 to 255: the one place that turns one
into the other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

LEVELS_PER_UNIT = 127.5  # grey levels in a step of 1 of a network's picture, so also the level of its 0


def from_levels(levels: Tensor) -> Tensor:
    """Grey levels 0 to 255 of any shape and type -> -1 to 1, float32."""
    return levels.float() / LEVELS_PER_UNIT - 1


def to_levels(pictures: Tensor) -> Tensor:
    """-1 to 1, clipped to it, of any shape -> grey levels 0 to 255, not rounded."""
    return (pictures.clamp(-1, 1) + 1) * LEVELS_PER_UNIT


def to_bytes(pictures: Tensor) -> Tensor:
    """-1 to 1, clipped to it, of any shape -> the nearest grey levels, uint8."""
    return to_levels(pictures).round().to(torch.uint8)


def from_numpy(frames: np.ndarray | Sequence[np.ndarray]) -> Tensor:
    """Frames of a video for a network.

    Args:
        frames: (N, H, W, 3) uint8 RGB, or N arrays (H, W, 3).

    Returns:
        (N, 3, H, W) float32, -1 to 1.
    """
    stacked = frames if isinstance(frames, np.ndarray) else np.stack(frames)
    return from_levels(torch.from_numpy(np.ascontiguousarray(stacked)).permute(0, 3, 1, 2))


def to_numpy(pictures: Tensor) -> np.ndarray:
    """A network's pictures as frames of a video.

    Args:
        pictures: (N, 3, H, W), -1 to 1 and clipped to it, on any device.

    Returns:
        (N, H, W, 3) uint8 RGB, contiguous.
    """
    levels = to_bytes(pictures).permute(0, 2, 3, 1).contiguous().cpu()
    return np.asarray(levels.numpy())
