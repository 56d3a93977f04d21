"""Fit a clip: identity, weight delta and motion of chosen frames together, under a byte budget.

Pivotal tuning (Roich et al. 2021) with the pivots free to move, the weights changed only through
`fev.codec.draw.delta`, and a price on every coefficient: the loss carries a rate term whose weight is
steered until the delta's estimated bits meet the budget.  What comes out is integers; whatever is
fitted after sees exactly what the decoder will see.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from ...format.delta import DeltaTensor, encode_delta
from ..draw.delta import DENSE, FACTOR_U, FACTOR_V, Tunable, expand, tunables
from ..draw.units import step_code, step_size
from ..face.regions import importance
from ..model.modelfile import Model
from .loss import fitting_loss

DEAD = 0.6  # values below this many steps become zero
FACTOR_STEP = step_size(step_code(0.125))  # of U, whose values are about 1
CODED_FROM = 0.6  # share of the run after which the fit sees quantised values
Progress = Callable[[int], None]


@dataclass(frozen=True)
class TuneSettings:
    """How long and how finely a clip is fitted.

    steps: (size in pixels, number of steps) in order.  rank: of the kernels' low-rank change.
    step: quantiser step of the delta in normalised units.  rate: of the optimiser.
    price: least price of a bit; the budget is a ceiling, and what is not worth this is not sent.
    """

    steps: tuple[tuple[int, int], ...] = ((64, 120), (128, 150), (256, 60))
    batch: int = 8
    rank: int = 3
    step: float = 0.15
    rate: float = 0.06
    price: float = 1e-6


class ClipFit:
    """The free variables of one clip and the loss that joins them.

    crops: (K, 3, S, S) pictures, -1 to 1.  identity: (rank,).  motion: (K, 35).  hold: the pivots stay where they are
    and only the weights move, as Roich et al. have it; otherwise identity and motion are fitted with them.
    """

    def __init__(
        self,
        model: Model,
        crops: Tensor,
        identity: Tensor,
        motion: Tensor,
        settings: TuneSettings,
        budget: int,
        identity_step: float,
        motion_step: float,
        hold: bool = False,
    ):
        self.model, self.crops, self.settings, self.budget = model, crops, settings, budget
        self.identity_step, self.motion_step = identity_step, motion_step
        self.identity = (identity / model.identity_scale).clone().requires_grad_(not hold)
        self.motion = motion.clone().requires_grad_(not hold)
        self.known = tunables(model.generator, model.latents) if budget > 0 else []
        generator = torch.Generator().manual_seed(1)
        self.parts: dict[int, dict[int, Tensor]] = {}
        for t in self.known:
            if t.low_rank:
                (rows, _), (_, columns) = t.factor_shapes
                u = torch.randn(rows, settings.rank, generator=generator)
                self.parts[t.key] = {FACTOR_U: u, FACTOR_V: torch.zeros(settings.rank, columns)}
            else:
                self.parts[t.key] = {DENSE: torch.zeros(int(np.prod(t.shape)))}
            for value in self.parts[t.key].values():
                value.requires_grad_()
        self.base = dict(model.generator.named_parameters()) | dict(model.generator.named_buffers())
        self.price = settings.price
        self.weights: dict[int, Tensor] = {}

    def scale(self, t: Tunable) -> float:
        return self.model.tuning_scale.get(t.name, 1.0)

    def effective(self, coded: bool = False) -> tuple[dict[str, Tensor], Tensor | None]:
        """Changed tensors of the generator, and changed directions; `coded` quantises them on the way."""
        changed: dict[str, Tensor] = {}
        directions: Tensor | None = None
        step = step_size(step_code(self.settings.step))
        for t in self.known:
            parts = self.parts[t.key]
            if coded:
                parts = {
                    k: straight_through(v, FACTOR_STEP, 0.5) if k == FACTOR_U else straight_through(v, step, DEAD)
                    for k, v in parts.items()
                }
            delta = expand(t, parts, self.scale(t))
            if t.name == "directions":
                directions = self.model.latents.directions + delta
            else:
                changed[t.name] = self.base[t.name] + delta
        return changed, directions

    def render(self, index: Tensor, size: int, coded: bool) -> Tensor:
        """Pictures (N, 3, size, size) of the chosen frames; `coded` quantises everything as the file will."""
        changed, directions = self.effective(coded)
        identity, motion = self.identity, self.motion[index]
        if coded:
            identity = straight_through(identity, self.identity_step, 0.5)
            motion = straight_through(motion, self.motion_step, 0.5)
        latents = self.model.latents
        base = latents.base(identity * self.model.identity_scale)
        drive = latents.drive(base, motion) if directions is None else latents.drive(base, motion, directions)
        options = {"moving": drive.moving, "added": drive.added, "size": size}
        return functional_call(self.model.generator, changed, (drive.ws,), options)

    def rate_proxy(self) -> Tensor:
        """Differentiable stand-in for the delta's bits: about 1.5 log2(1 + |q|) a coefficient, and
        a bit more for those that are not zero."""
        total = torch.zeros(())
        for parts in self.parts.values():
            for variant, value in parts.items():
                if variant != FACTOR_U:
                    total = total + torch.log2(1 + 2 * value.abs() / self.settings.step).sum()
        return total

    def optimiser(self) -> torch.optim.Optimizer:
        rate = self.settings.rate
        factors = [p[FACTOR_U] for p in self.parts.values() if FACTOR_U in p]
        others = [v for p in self.parts.values() for k, v in p.items() if k != FACTOR_U]
        groups = [
            {"params": [self.identity], "lr": rate},
            {"params": [self.motion], "lr": rate},
            {"params": others, "lr": rate},
            {"params": factors, "lr": rate / 2},
        ]
        for group in groups:
            group["initial"] = group["lr"]
        moving = [g for g in groups if g["params"] and g["params"][0].requires_grad]
        return torch.optim.Adam(moving, betas=(0.9, 0.95))

    def run(self, progress: Progress = lambda n: None) -> None:
        """Optimise everything; the price of a bit rises until the estimate meets the budget."""
        optimiser = self.optimiser()
        total = sum(n for _, n in self.settings.steps)
        done = 0
        order = torch.Generator().manual_seed(2)
        for size, steps in self.settings.steps:
            truth = F.interpolate(self.crops, size=size, mode="area") if size != self.crops.shape[-1] else self.crops
            weight = importance(size)
            for _ in range(steps):
                for group in optimiser.param_groups:
                    group["lr"] = (
                        group["initial"]
                        * min(1, (done + 1) / 10)
                        * (0.05 + 0.95 * math.cos(0.5 * math.pi * done / total))
                    )
                index = torch.randperm(len(truth), generator=order)[: self.settings.batch]
                out = self.render(index, size, done > CODED_FROM * total)
                loss = fitting_loss(out, truth[index], weight)
                if self.parts:
                    loss = loss + self.price * self.rate_proxy()
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                done += 1
                if self.parts and done % 5 == 0:
                    self._steer(done / total)
                progress(1)

    def _steer(self, done: float) -> None:
        """Multiply the price by how far the estimate is off; the budget tightens over the run."""
        bits = 8 * coded_size(self.quantised())
        aim = 8 * self.budget * (0.95 + max(0.0, CODED_FROM - done))
        self.price = float(np.clip(self.price * float(np.clip(bits / aim, 0.5, 2.0)), self.settings.price, 1e-3))

    def quantised(self, dead: float = DEAD) -> list[DeltaTensor]:
        """The delta as integers: uniform steps with a dead zone; factors that vanish are dropped."""
        out: list[DeltaTensor] = []
        code = step_code(self.settings.step)
        step = step_size(code)
        for t in self.known:
            parts = {k: v.detach() for k, v in self.parts[t.key].items()}
            if DENSE in parts:
                q = shrink_round(parts[DENSE] / step, dead)
                if (q != 0).any():
                    out.append(DeltaTensor(t.key, DENSE, 0, code, q.numpy().astype(np.int32)))
                continue
            u, v = parts[FACTOR_U], parts[FACTOR_V]
            q = shrink_round(v / step, dead)
            keep = (q != 0).any(1)
            if not keep.any():
                continue
            rank = int(keep.sum())
            u, q = u[:, keep], q[keep]
            qu = (u / FACTOR_STEP).round()
            out.append(
                DeltaTensor(t.key, FACTOR_U, rank, step_code(FACTOR_STEP), qu.flatten().numpy().astype(np.int32))
            )
            out.append(DeltaTensor(t.key, FACTOR_V, rank, code, q.flatten().numpy().astype(np.int32)))
        return out

    def finish(self) -> tuple[np.ndarray, list[DeltaTensor]]:
        """Quantised identity (integers) and delta, the latter within the budget exactly."""
        identity = (self.identity.detach() / self.identity_step).round().numpy().astype(np.int32)
        if not self.parts:
            return identity, []
        low, high = DEAD, 64.0
        tensors = self.quantised(low)
        if coded_size(tensors) <= self.budget:
            return identity, tensors
        for _ in range(24):  # widen the dead zone until the bytes fit
            middle = math.sqrt(low * high)
            tensors = self.quantised(middle)
            low, high = (low, middle) if coded_size(tensors) <= self.budget else (middle, high)
        tensors = self.quantised(high)
        return identity, tensors if coded_size(tensors) <= self.budget else []


def straight_through(value: Tensor, step: float, dead: float) -> Tensor:
    """Quantise in the forward pass, pass the gradient as if nothing had happened: the fit sees what
    the decoder will see, and a value has to earn its way out of the dead zone."""
    return value + (shrink_round(value.detach() / step, dead) * step - value.detach())


def coded_size(tensors: list[DeltaTensor]) -> int:
    """Bytes of a delta in the file, without its chunk."""
    return len(encode_delta(tensors)) if tensors else 0


def shrink_round(x: Tensor, dead: float) -> Tensor:
    """Round to integers; magnitudes below `dead` become zero."""
    q = x.round()
    return torch.where(x.abs() < dead, torch.zeros_like(q), q)
