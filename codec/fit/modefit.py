"""Find a clip's texture and flow modes, and the parameters that move them, under a byte budget.

What the model draws is fixed by then: identity, weight delta and the driven parameters are
quantised. The modes begin as principal axes of what is left (`modebasis`), the flow as what the
model's shared modes see where it has them. Planes (`coefficients`) and parameters are then fitted
together over key frames, as `optimise` says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...format.modes import Modes, encode_modes, modes_bits
from ..draw.units import motion_step_code, step_code, step_size
from ..face.regions import attention
from ..model.planes import apply_modes, mixed
from ..threads.ahead import threads_for_tensors
from ..threads.split import PartwiseOutputs, cuts, gradients
from .coefficients import Coefficients, least_squares, missing_before
from .loss import fitting_loss
from .modebasis import DEFAULT_STEP, MIX_STEP_CODE, ModeBasis, mode_sensitivity, steady_changes
from .motion import corrected, linear_correction
from .optimise import DEAD_ZONE, Group, Progress, Schedule, optimise, straight_through, within_bytes
from .sensitivity import decorrelating, step_change

RATE = 0.3  # of coefficients, in quantiser steps
MOTION_RATE = 0.5  # of parameters, in steps of motion
RECOUNT = 5  # looks at the size of which one counts the bits: that takes longer than a step does


@dataclass(frozen=True)
class ModeSettings:
    """How the modes of a clip are fitted.

    Args:
        steps: (picture size in pixels, number of steps), coarse to fine.
        batch: frames that a step looks at.
        size, grid: sides of the texture and flow planes.
        price: least price of a bit.
        planes: texture and flow planes at most, with the one that is there always.
    """

    steps: tuple[tuple[int, int], ...] = ((128, 800), (256, 300))
    batch: int = 16
    size: int = 128
    grid: int = 32
    price: float = 1e-7
    planes: int = 24

    def schedule(self) -> Schedule:
        """The optimiser's: `Schedule` says what the numbers are."""
        return Schedule(
            steps=self.steps,
            batch=self.batch,
            seed=3,  # any; the same clip has to give the same file
            betas=(0.9, 0.99),  # squares are remembered for 100 steps, of more than a thousand
            coded_from=0.4,  # pictures are linear in textures: sooner than for weights
            steer_every=8,  # to count the bits takes longer than a step
            steer_by=(0.6, 1.6),
            aim=0.97,  # the price follows late; what is over in the end falls to a dead zone
            lowest_price=self.price,
            widest=256.0,  # a plane's coarsest coefficients reach hundreds of steps
            halvings=16,  # each codes the whole chunk; the last ones move a few bytes
        )


class ModeFit:
    """A `Problem`: planes of texture and flow, and all parameters but the driven ones.

    Args:
        drawn: (N, 3, S, S) what is drawn of the key frames without modes, -1 to 1; (1, 3, S, S) if
            that is one picture for all.
        truth: (N, 3, S, S) the frames.
        driven: (N, d) parameters that move the model, quantised.
        mix: (params, 1 + d) integers, how they do (`principal_drive`).
        budget: bytes of the chunk's payload.
        motion_step: quantiser step of the parameters.
        moved: (N, 2, G, G) a first guess of how what is drawn moves to become the frames, in half
            picture sides; without it the flow begins with nothing.
        successors: (n, 2) pairs of the key frames where one follows the other in the clip.
    """

    def __init__(
        self,
        drawn: Tensor,
        truth: Tensor,
        driven: Tensor,
        mix: np.ndarray,
        settings: ModeSettings,
        budget: int,
        motion_step: float,
        moved: Tensor | None = None,
        successors: Tensor | None = None,
    ):
        self.drawn, self.truth, self.settings, self.budget = drawn, truth, settings, budget
        self.driven, self.mix, self.motion_step = driven, mix, motion_step
        self.successors = torch.zeros(0, 2, dtype=torch.long) if successors is None else successors
        self.scale = 1.0  # what one unit of a parameter has become
        self.price = settings.price  # of a bit, in the last step
        self._begin(moved)
        self._looks, self._bits, self._counted = 0, 0.0, 1.0
        self._worth = [torch.ones_like(v) for v in self.coefficients.values]

    def _begin(self, moved: Tensor | None) -> None:
        s = self.settings
        missing = F.interpolate(self.truth - self.drawn, size=s.size, mode="area")
        free = max(0, min(s.planes - 1 - self.driven.shape[1], len(missing) - 1))
        self.basis = ModeBasis.of(missing, free)
        self.motion = self.basis.project(missing).requires_grad_()
        codes = self.fitted()
        flow = torch.zeros(codes.shape[1] + 1, 2, s.grid, s.grid)
        if moved is not None:
            flow = least_squares(codes, F.interpolate(moved, size=s.grid, mode="bilinear", align_corners=False))
            missing = missing_before(self.drawn, self.truth, mixed(flow, codes), s.size)
        self.coefficients = Coefficients.of(least_squares(codes, missing), flow, codes)

    def run(self, progress: Progress = lambda n: None) -> None:
        """Fit.  progress: called with 1 after every step."""
        with threads_for_tensors(1):  # a batch's parts are side by side already
            optimise(self, self.schedule(), self.budget, progress)

    def schedule(self) -> Schedule:
        """The optimiser's."""
        return self.settings.schedule()

    @property
    def frames(self) -> int:
        return len(self.truth)

    def groups(self) -> list[Group]:
        motion_rate = MOTION_RATE * self.motion_step * self.scale
        return [Group(self.coefficients.values, RATE), Group([self.motion], motion_rate)]

    def set_size(self, size: int) -> None:
        self._small = [
            v if v.shape[-1] == size else F.interpolate(v, size=size, mode="area") for v in (self.drawn, self.truth)
        ]
        self._weight = attention(size)

    def weight_of(self, rows: Tensor) -> Tensor:
        """Weights of the pixels of some frames, (1 or n, 1, S, S) at the size that is compared."""
        return self._weight

    def begin_coding(self) -> bool:
        self.decorrelate()
        return True

    @torch.no_grad()
    def decorrelate(self) -> None:
        """Give the free parameters a basis in which they change independently of one another.

        Nothing is drawn differently and the planes cost about what they did, but the changes from
        frame to frame, which are what a file spends its bits on, take a sixth fewer of them.
        """
        metric, error = self._sensitivity(coded=False)
        changes = steady_changes(self.basis.guess(self.drawn, self.truth), self.motion, self.successors)
        matrix = decorrelating(changes / DEFAULT_STEP, metric, error)
        if matrix is None:
            return
        self.scale = 1 / step_change(metric, error)
        self.basis = self.basis.changed(matrix)
        self.motion = (self.motion @ matrix.t()).requires_grad_()
        self.coefficients = self.coefficients.changed(torch.linalg.inv(matrix).t(), self.fitted())
        self._looks = 0  # count the bits anew

    @torch.no_grad()
    def _sensitivity(self, coded: bool) -> tuple[Tensor, float]:
        planes = self.coefficients.planes(coded)
        return mode_sensitivity(self.drawn, self.truth, planes, self.fitted(), self.driven.shape[1])

    def backward(self, index: Tensor, coded: bool, price: float) -> None:
        drawn, truth = self._small
        self.price = price

        def loss(part: slice, texture: Tensor, flow: Tensor, codes: Tensor) -> Tensor:
            rows = index[part]
            out = apply_modes(drawn[rows] if len(drawn) > 1 else drawn, texture, flow, codes[part])
            return fitting_loss(out, truth[rows], self.weight_of(rows)) * (len(rows) / len(index))

        own = self.coefficients
        planes = PartwiseOutputs(lambda part, *v: own.planes_of(part, coded, *v), own.values, cuts(len(own)))
        codes = self.parameters(index, coded)
        slopes = gradients(loss, [*planes.values, codes], cuts(len(index)))[1]
        for value, slope in zip(own.values, planes.back(slopes[:2]), strict=True):
            value.grad = slope
        torch.autograd.backward(price * self._weigh(own.values))
        torch.autograd.backward(codes, slopes[2])

    def parameters(self, index: Tensor | slice, coded: bool) -> Tensor:
        """Parameters (n, planes - 1) of some key frames; quantised where `coded`."""
        moved = self.motion[index]
        return torch.cat([self.driven[index], straight_through(moved, self.motion_step, 0.5) if coded else moved], 1)

    def fitted(self) -> Tensor:
        """The key frames' parameters (N, planes - 1), unquantised."""
        return self.parameters(slice(None), False).detach()

    def _weigh(self, values: Sequence[Tensor]) -> Tensor:
        """Differentiable stand-in for the bits of the planes."""
        rows = zip(values, self._worth, strict=True)
        return sum(((worth * torch.log2(1 + v.abs())).sum() for v, worth in rows), torch.zeros(()))

    def bits(self) -> float:
        """Counted now and then, extrapolated between."""
        modes = self.quantised()
        values = [torch.from_numpy(v) for v in (modes.luma, modes.chroma, modes.flow)]
        if self._looks % RECOUNT == 0:
            self._bits, worth = modes_bits(modes)
            self._worth = [torch.from_numpy(v) for v in worth]
            self._counted = max(1.0, float(self._weigh(values)))
        self._looks += 1
        return self._bits * float(self._weigh(values)) / self._counted

    def quantised(self, dead: float = DEAD_ZONE) -> Modes:
        """The modes as integers.  dead: dead zone in steps."""
        return self.coefficients.quantised(dead, self.mix, MIX_STEP_CODE)

    def finish(self) -> Modes | None:
        """The modes as integers, within the budget exactly; None where it has no room for any."""
        return within_bytes(self.quantised, coded_size, self.budget, self.schedule())

    def motion_step_code(self, quality: float) -> int:
        """Code of the motion's step at a quality: at the default, what the pictures' error bears.

        Where parameters drive the model they were quantised before; the step stays what it was.
        """
        if self.driven.shape[1]:
            return motion_step_code(quality)
        change = step_change(*self._sensitivity(coded=True))
        return step_code(change * step_size(motion_step_code(quality)))


def coded_size(modes: Modes) -> int:
    """Bytes of modes in the file, without their chunk."""
    return len(encode_modes(modes))


class ModeStart:
    """How the parameters of any frame begin: a projection, corrected by what the fit found.

    Attributes:
        scale: what one unit of a parameter has become.
        driven: how many parameters drive the model.
    """

    def __init__(self, fit: ModeFit):
        self.scale, self.driven, self._basis = fit.scale, fit.driven.shape[1], fit.basis
        fitted = fit.fitted()
        self._count = fitted.shape[1]
        self._correction = linear_correction(self._seen(fit.drawn, fit.truth, fit.driven), fitted)

    def _seen(self, drawn: Tensor, truth: Tensor, driven: Tensor) -> Tensor:
        """(N, planes - 1); zeros for planes that came after the basis was made."""
        seen = torch.cat([driven, self._basis.guess(drawn, truth)], 1)
        return F.pad(seen, (0, self._count - seen.shape[1]))

    def guess(self, drawn: Tensor, truth: Tensor, driven: Tensor) -> Tensor:
        """Parameters (N, planes - 1) of frames drawn as `drawn`; the driven ones as they are."""
        moved = corrected(self._seen(drawn, truth, driven), self._correction)
        return torch.cat([driven, moved[:, driven.shape[1] :]], 1)
