"""Stage 3: the one frame whose latent is the clip's identity (the paper's supplement, D).

The frame whose inversion is most like it to ArcFace, among those that look nearly straight ahead
with open eyes.  The paper gives no angle for "near frontal".
"""

from __future__ import annotations

import torch
from torch import Tensor

FRONTAL = 10.0  # degrees of yaw and pitch that are nearly frontal


def choose(likeness: Tensor, pose: Tensor | None, blinks: Tensor) -> int:
    """Index of the identity frame.

    A condition that no frame meets is dropped, blinking last.

    Args:
        likeness: (N,), cosine of frame and inversion.
        pose: (N, 2) in degrees, None where nothing estimates it.
    """
    good = ~blinks
    if pose is not None:
        frontal = (pose.abs() < FRONTAL).all(1)
        if (good & frontal).any():
            good = good & frontal
    if not good.any():
        good = torch.ones_like(good)
    return int(torch.where(good, likeness, -torch.inf).argmax())
