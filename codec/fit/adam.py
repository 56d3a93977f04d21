"""Adam (Kingma and Ba 2015) for one tensor.

`torch.optim` loads torch's compiler when it is first used: a second and a half, at the start of
every `fast` encode.
"""

from __future__ import annotations

import torch
from torch import Tensor


class Adam:
    """The optimiser's state.

    Args:
        value: any shape, changed in place by `step`.
        betas: decay of the gradient's mean and of its square's.
        eps: keeps the division finite.
    """

    def __init__(self, value: Tensor, betas: tuple[float, float], eps: float = 1e-8):
        self.value, self.betas, self.eps = value, betas, eps
        self.mean, self.square, self.steps = torch.zeros_like(value), torch.zeros_like(value), 0

    @torch.no_grad()
    def step(self, gradient: Tensor, rate: float) -> None:
        """Move the value against a gradient of its shape, by about `rate`."""
        a, b = self.betas
        self.steps += 1
        self.mean.lerp_(gradient, 1 - a)
        self.square.mul_(b).addcmul_(gradient, gradient, value=1 - b)
        scale = (self.square.sqrt() / (1 - b**self.steps) ** 0.5).add_(self.eps)
        self.value.addcdiv_(self.mean, scale, value=-rate / (1 - a**self.steps))
