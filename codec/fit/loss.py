"""Picture losses shared by the training of the prior and by the fitting of a clip."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def gradient_error(diff: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean absolute difference of neighbouring pixels' errors, both directions."""
    across = ((diff[..., 1:] - diff[..., :-1]).abs() * weight[..., 1:]).mean()
    down = ((diff[..., 1:, :] - diff[..., :-1, :]).abs() * weight[..., 1:, :]).mean()
    return across + down


def pyramid_loss(out: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Weighted absolute error over the image pyramid, plus the gradients at its two finest levels.

    Args:
        out, target: (N, 3, S, S).
        weight: (1, 1, S, S).
    """
    loss = out.new_zeros(())
    level = 0
    while out.shape[-1] >= 8:
        diff = out - target
        loss = loss + (diff.abs() * weight).mean()
        if level < 2:
            loss = loss + 1.5 * gradient_error(diff, weight)
        out, target, weight = (F.avg_pool2d(v, 2) for v in (out, target, weight))
        level += 1
    return loss


def fitting_loss(out: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """What a clip is fitted with: squared error (PSNR) with absolute and gradient terms
    (sharpness).
    """
    diff = out - target
    squared = (diff.square() * weight).mean()
    return 4 * squared + (diff.abs() * weight).mean() + gradient_error(diff, weight)
