"""StyleFlow: a continuous normalising flow between W+ and a latent that knows nothing of 17
attributes (Abdal et al. 2021), for the head's yaw and pitch.  Only the first four vectors of W+
take part in a turn.

The reference integrates with an adaptive solver whose steps depend on a random probe, so that its
results vary from call to call by 5e-5.  Both ends of a codec must agree, so this solves with the
classical Runge-Kutta method of a fixed number of steps and leaves the log-density out, which nobody
needs here.  Keys as in `modellarge10k.pt`.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

LAYERS = 6
WIDTH = 512
CONDITIONS = (
    *(f"light {i}" for i in range(9)),
    "gender", "glasses", "yaw", "pitch", "baldness", "beard", "age", "expression",
)  # fmt: skip
YAW, PITCH = CONDITIONS.index("yaw"), CONDITIONS.index("pitch")
POSE_WS = 4  # yaw and pitch change the first W+ vectors only
STEPS = 16


class MovingNorm(nn.Module):
    """Batch normalisation by running statistics, invertible."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(WIDTH))
        self.bias = nn.Parameter(torch.zeros(WIDTH))
        for name, value in (("running_mean", 0.0), ("running_var", 1.0)):
            self.register_buffer(name, torch.full((WIDTH,), value))
        self.register_buffer("step", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.running_mean) * torch.rsqrt(self.running_var + 1e-4) * self.weight.exp() + self.bias

    def inverse(self, y: Tensor) -> Tensor:
        return (y - self.bias) * (-self.weight).exp() * torch.sqrt(self.running_var + 1e-4) + self.running_mean


class ConcatSquash(nn.Module):
    """A linear layer that time and conditions gate and shift."""

    def __init__(self) -> None:
        super().__init__()
        context = 1 + len(CONDITIONS)
        self._layer = nn.Linear(WIDTH, WIDTH)
        self._hyper_bias = nn.Linear(context, WIDTH, bias=False)
        self._hyper_gate = nn.Linear(context, WIDTH)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        out: Tensor = self._layer(x) * torch.sigmoid(self._hyper_gate(context)) + self._hyper_bias(context)
        return out


class Field(nn.Module):
    """The right-hand side of the differential equation."""

    def __init__(self) -> None:
        super().__init__()
        self.diffeq = nn.Module()
        self.diffeq.layers = nn.ModuleList(ConcatSquash() for _ in range(LAYERS))
        self.register_buffer("_num_evals", torch.zeros(()))

    def forward(self, t: float | Tensor, y: Tensor, conditions: Tensor) -> Tensor:
        """y: (N, rows, 512).  conditions: (N, 17)."""
        time = torch.as_tensor(t, dtype=y.dtype, device=y.device).expand(len(conditions), 1)
        context = torch.cat([time, conditions], 1)[:, None]
        for index, layer in enumerate(cast(nn.ModuleList, self.diffeq.layers)):
            y = layer(torch.tanh(y) if index else y, context)
        return y


class Flow(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.odefunc = Field()
        self.sqrt_end_time = nn.Parameter(torch.ones(()))

    def forward(self, y: Tensor, conditions: Tensor, reverse: bool = False, steps: int = STEPS) -> Tensor:
        """Classical Runge-Kutta from 0 to sqrt_end_time squared, or back."""
        step = self.sqrt_end_time.square() / steps * (-1 if reverse else 1)
        start = self.sqrt_end_time.square() if reverse else torch.zeros_like(step)
        for index in range(steps):
            t = start + index * step
            a = self.odefunc(t, y, conditions)
            b = self.odefunc(t + step / 2, y + step / 2 * a, conditions)
            c = self.odefunc(t + step / 2, y + step / 2 * b, conditions)
            d = self.odefunc(t + step, y + step * c, conditions)
            y = y + step / 6 * (a + 2 * b + 2 * c + d)
        return y


class StyleFlow(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.chain = nn.ModuleList([MovingNorm(), Flow(), MovingNorm()])

    def forward(self, ws: Tensor, conditions: Tensor, steps: int = STEPS) -> Tensor:
        """W+ (N, rows, 512) under conditions (N, 17), in the order of CONDITIONS -> the latent, of
        the same shape.
        """
        first, flow, last = self.chain
        out: Tensor = last(flow(first(ws), conditions, False, steps))
        return out

    def inverse(self, latent: Tensor, conditions: Tensor, steps: int = STEPS) -> Tensor:
        first, flow, last = self.chain
        first, last = cast(MovingNorm, first), cast(MovingNorm, last)
        return first.inverse(flow(last.inverse(latent), conditions, True, steps))

    def turned(self, ws: Tensor, conditions: Tensor, pose: Tensor, steps: int = STEPS) -> Tensor:
        """W+ (1, num_ws, 512) of a face under conditions (1, 17), seen under the poses (N, 2) of
        yaw and pitch.

        Returns:
            (N, num_ws, 512).  Differentiable in `pose`.  Vectors from POSE_WS on stay as they are.
        """
        latent = self(ws[:, :POSE_WS], conditions, steps)
        place = torch.tensor([YAW, PITCH], device=ws.device)
        target = conditions.expand(len(pose), -1).index_copy(1, place, pose)
        moved = self.inverse(latent.expand(len(pose), -1, -1), target, steps)
        return torch.cat([moved, ws[:, POSE_WS:].expand(len(pose), -1, -1)], 1)
