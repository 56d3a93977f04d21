"""Fit a clip: identity, weight delta and motion of chosen frames together, under a byte budget.

Pivotal tuning (Roich et al. 2021) with the pivots free to move and the weights changed only through
`fev.codec.draw.delta`, as `optimise` says. What comes out is integers: whatever is fitted after sees
exactly what the decoder will see.
"""

from __future__ import annotations

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
from ..model.inverter import LatentSpace
from ..model.modelfile import Model
from .loss import fitting_loss
from .optimise import DEAD_ZONE, Group, Progress, Schedule, optimise, shrink_round, straight_through, within_bytes

FACTOR_STEP = step_size(step_code(0.125))  # of U, whose values are about 1
FACTOR_RATE = 0.5  # of the rate: U begins as noise that V, which begins as nothing, learns to use
FACTOR_SEED = 1  # of that noise; any, but the same clip has to give the same file


@dataclass(frozen=True)
class TuneSettings:
    """How long and how finely a clip is fitted.

    Args:
        steps: (picture size in pixels, number of steps), coarse to fine.
        batch: frames that a step looks at.
        rank: of the kernels' low-rank change.
        step: quantiser step of the delta in normalised units.
        rate: Adam's, in the same units.
        price: least price of a bit. 0: bits cost nothing.
    """

    steps: tuple[tuple[int, int], ...] = ((64, 120), (128, 150), (256, 60))
    batch: int = 8
    rank: int = 3
    step: float = 0.15
    rate: float = 0.06
    price: float = 1e-6

    def schedule(self, price: float) -> Schedule:
        """The optimiser's: `Schedule` says what the numbers are.  price: least price of a bit."""
        return Schedule(
            steps=self.steps,
            batch=self.batch,
            seed=2,  # any; the same clip has to give the same file
            betas=(0.9, 0.95),  # squares are remembered for 20 steps, of a few hundred
            coded_from=0.6,  # with the last 40 % of the steps coded, quantising loses 0.1 dB
            steer_every=5,
            steer_by=(0.5, 2.0),
            aim=0.95,  # the price follows late; what is over in the end falls to a dead zone
            lowest_price=price,
            widest=64.0,  # weights rarely change by so many steps
            halvings=24,  # a delta is coded in no time
        )


class ClipFit:
    """A `Problem` whose values are the identity, the weight delta and the motion of K frames.

    Args:
        crops: (K, 3, S, S) the frames, -1 to 1.
        identity: (rank,), in the latent space's units.
        motion: (K, params).
        budget: bytes of the delta; 0 for none.
        identity_step: quantiser step, in units of `model.identity_scale`.
        motion_step: quantiser step of the motion.
        hold: the pivots stay where they are and only the weights move, as Roich et al. have it;
            otherwise identity and motion are fitted with them.
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
        generator = torch.Generator().manual_seed(FACTOR_SEED)
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

    def scale(self, t: Tunable) -> float:
        """Size of a change of a tensor that moves the picture by one unit."""
        return self.model.tuning_scale.get(t.name, 1.0)

    def effective(self, coded: bool = False) -> tuple[dict[str, Tensor], Tensor | None]:
        """Changed tensors of the generator, and changed directions; quantised where `coded`."""
        changed: dict[str, Tensor] = {}
        directions: Tensor | None = None
        step = step_size(step_code(self.settings.step))
        for t in self.known:
            parts = self.parts[t.key]
            if coded:
                parts = {
                    k: straight_through(v, FACTOR_STEP, 0.5) if k == FACTOR_U else straight_through(v, step, DEAD_ZONE)
                    for k, v in parts.items()
                }
            delta = expand(t, parts, self.scale(t))
            if t.name == "directions":
                assert isinstance(self.model.latents, LatentSpace)  # no other has them
                directions = self.model.latents.directions + delta
            else:
                changed[t.name] = self.base[t.name] + delta
        return changed, directions

    def render(self, index: Tensor, size: int, coded: bool) -> Tensor:
        """Draw some of the frames.

        Args:
            index: (N,) which.
            size: side of the pictures in pixels.
            coded: whether everything is quantised, as the file will have it.

        Returns:
            (N, 3, size, size).
        """
        changed, directions = self.effective(coded)
        identity, motion = self.identity, self.motion[index]
        if coded:
            identity = straight_through(identity, self.identity_step, 0.5)
            motion = straight_through(motion, self.motion_step, 0.5)
        latents = self.model.latents
        base = latents.base(identity * self.model.identity_scale)
        if isinstance(latents, LatentSpace):
            drive = latents.drive(base, motion, directions)
        else:
            drive = latents.drive(base, motion)
        options = {"moving": drive.moving, "added": drive.added, "size": size}
        pictures: Tensor = functional_call(self.model.generator, changed, (drive.ws,), options)
        return pictures

    def run(self, progress: Progress = lambda n: None) -> None:
        """Fit.  progress: called with 1 after every step."""
        price = self.settings.price if self.parts else 0.0
        optimise(self, self.settings.schedule(price), self.budget, progress)

    @property
    def frames(self) -> int:
        return len(self.crops)

    def groups(self) -> list[Group]:
        rate = self.settings.rate
        factors = [p[FACTOR_U] for p in self.parts.values() if FACTOR_U in p]
        others = [v for p in self.parts.values() for k, v in p.items() if k != FACTOR_U]
        groups = [
            Group([self.identity], rate),
            Group([self.motion], rate),
            Group(others, rate),
            Group(factors, FACTOR_RATE * rate),
        ]
        return [g for g in groups if g.values and g.values[0].requires_grad]

    def set_size(self, size: int) -> None:
        same = size == self.crops.shape[-1]
        self._truth = self.crops if same else F.interpolate(self.crops, size=size, mode="area")
        self._size, self._weight = size, importance(size)

    def begin_coding(self) -> bool:
        return False

    def backward(self, index: Tensor, coded: bool, price: float) -> None:
        out = self.render(index, self._size, coded)
        loss = fitting_loss(out, self._truth[index], self._weight)
        if price:
            loss = loss + price * self._weigh()
        torch.autograd.backward(loss)

    def _weigh(self) -> Tensor:
        """Differentiable stand-in for the delta's bits: log2(1 + 2 |q|) a coefficient.

        U is left out: its columns are sent or not as the rows of V are.
        """
        total = torch.zeros(())
        for parts in self.parts.values():
            for variant, value in parts.items():
                if variant != FACTOR_U:
                    total = total + torch.log2(1 + 2 * value.abs() / self.settings.step).sum()
        return total

    def bits(self) -> float:
        return 8 * coded_size(self.quantised())

    def quantised(self, dead: float = DEAD_ZONE) -> list[DeltaTensor]:
        """The delta as integers; factors that vanish are dropped.  dead: dead zone in steps."""
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
            qu, q = (u[:, keep] / FACTOR_STEP).round(), q[keep]
            factors = ((FACTOR_U, step_code(FACTOR_STEP), qu), (FACTOR_V, code, q))
            for variant, own_code, values in factors:
                integers = values.flatten().numpy().astype(np.int32)
                out.append(DeltaTensor(t.key, variant, rank, own_code, integers))
        return out

    def finish(self) -> tuple[np.ndarray, list[DeltaTensor]]:
        """Quantised identity (rank,), and the delta, within the budget exactly."""
        identity = (self.identity.detach() / self.identity_step).round().numpy().astype(np.int32)
        if not self.parts:
            return identity, []
        schedule = self.settings.schedule(self.settings.price)
        return identity, within_bytes(self.quantised, coded_size, self.budget, schedule) or []


def coded_size(tensors: list[DeltaTensor]) -> int:
    """Bytes of a delta in the file, without its chunk."""
    return len(encode_delta(tensors)) if tensors else 0
