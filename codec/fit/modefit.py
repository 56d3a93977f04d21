"""Find a clip's texture and flow modes, and the parameters that move them, under a byte budget.

What the model draws is fixed by then (identity, weight delta and the driven parameters are quantised).  The modes
begin as the principal components of what is left, the flow as what the model's shared modes see where it has them
(`shared`), and everything is then fitted together over key frames, quantised in the loop as in `tune`, with a price on
every coefficient that is steered until the estimate meets the budget.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...format.modes import Modes, encode_modes, modes_bits
from ..draw.modes import CHROMA_STEP, FLOW_UNIT, TEXTURE_UNIT
from ..draw.units import DEFAULT_QUALITY, motion_code, step_code, step_size
from ..face.regions import attention
from ..model.planes import analyse, apply_modes, colour, decompose, mixed, synthesise, warp
from ..threads.ahead import threads_for_tensors
from ..threads.split import PartwiseOutputs, cuts, gradients
from .loss import fitting_loss
from .motion import corrected, linear_correction
from .sensitivity import LOOKS, SIZE, decorrelating, sensitivity, step_change
from .tune import shrink_round, straight_through

MIX_CODE = step_code(0.04)
DEFAULT_STEP = step_size(motion_code(DEFAULT_QUALITY))
PARAMETER_UNIT = 0.014  # one unit of a parameter moves the picture by this, root mean square, of -1 to 1
CODED_FROM = 0.4
STEER = 8  # steps between two looks at the size
RECOUNT = 5  # ... of which every so many counts the bits
Progress = Callable[[int], None]


@dataclass(frozen=True)
class ModeSettings:
    """How the modes of a clip are fitted.

    steps: (size in pixels, number of steps) in order.  size, grid: of the texture and flow planes.
    texture_step: quantiser step of plane 0 in grey levels; flow_step: in 256ths of the side.
    rate: of the optimiser, in quantiser steps.  price: least price of a bit.
    """

    steps: tuple[tuple[int, int], ...] = ((128, 800), (256, 300))
    batch: int = 16
    size: int = 128
    grid: int = 32
    texture_step: float = 5.0
    flow_step: float = 0.2
    dead: float = 0.6
    rate: float = 0.3
    motion_rate: float = 0.5
    price: float = 1e-7
    planes: int = 24


def principal(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Mean (D,) and the first principal directions (count, D), orthonormal, of rows (N, D)."""
    mean = values.mean(0)
    centred = values - mean
    _, size, directions = torch.linalg.svd(centred, full_matrices=False)
    return mean, directions[: min(count, int((size > 1e-4 * size[0]).sum()))]


def least_squares(codes: Tensor, seen: Tensor) -> Tensor:
    """Planes (K + 1, ...) whose mix by parameters (N, K) is nearest to what is seen, (N, ...); shrunk a little."""
    ones = torch.cat([torch.ones(len(codes), 1), codes], 1)
    penalty = 0.03 * len(codes) * torch.eye(ones.shape[1]) * torch.cat([torch.zeros(1), codes.square().mean(0)])
    planes = torch.linalg.solve(ones.t() @ ones + penalty + 1e-4 * torch.eye(len(penalty)), ones.t() @ seen.flatten(1))
    return planes.view(-1, *seen.shape[1:])


class ModeFit:
    """Free: texture, flow and all parameters but the driven ones.

    drawn: (N, 3, S, S) what is drawn of the key frames without modes, or (1, 3, S, S) if that is one for all.
    truth: (N, 3, S, S) the frames.  driven: (N, d), quantised.  moved: (N, 2, G, G), a first guess of how what is
    drawn moves to become the frames, in half picture sides; without it the flow begins with nothing.
    successors: (n, 2), pairs of the key frames where one follows the other in the clip.
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
        self.price = settings.price
        self.scale = 1.0  # what one unit of a parameter has become
        self._begin(moved)
        self._steered, self._bits, self._counted = 0, 0.0, 1.0
        self._worth = [torch.ones_like(v) for v in (self.luma, self.chroma, self.flow)]

    def _begin(self, moved: Tensor | None) -> None:
        s = self.settings
        rest = F.interpolate(self.truth - self.drawn, size=s.size, mode="area")
        seen = self._features(rest)
        free = max(0, min(s.planes - 1 - self.driven.shape[1], len(rest) - 1))
        self.mean, self.axes = principal(seen, free)
        self.motion = self._project(seen).requires_grad_()
        codes = self._parameters(slice(None), False).detach()
        flow = torch.zeros(codes.shape[1] + 1, 2, s.grid, s.grid)
        if moved is not None:
            flow = least_squares(codes, F.interpolate(moved, size=s.grid, mode="bilinear", align_corners=False))
            rest = self._before(mixed(flow, codes))
        planes = least_squares(codes, rest)
        luma, chroma = decompose(planes / TEXTURE_UNIT)
        self._set_steps(codes)
        self.luma, self.chroma, self.flow = (
            (value / steps).contiguous().requires_grad_()  # what the solver returns is not
            for value, steps in zip(
                (analyse(luma), analyse(chroma), analyse(flow / FLOW_UNIT)),
                (self.texture_steps, self.texture_steps[:, None] * CHROMA_STEP, self.flow_steps),
                strict=True,
            )
        )

    def _set_steps(self, codes: Tensor) -> None:
        """A plane that moves far is coded finely: every quantiser step is to cost the picture the same."""
        s = self.settings
        spread = torch.cat([torch.ones(1), codes.square().mean(0).sqrt().clamp_min(0.4)])
        self.texture_codes = np.array([step_code(s.texture_step / float(v)) for v in spread])
        self.flow_codes = np.array([step_code(s.flow_step / float(v)) for v in spread])
        self.texture_steps = torch.tensor([step_size(int(c)) for c in self.texture_codes]).view(-1, 1, 1)
        self.flow_steps = torch.tensor([step_size(int(c)) for c in self.flow_codes]).view(-1, 1, 1, 1)

    @torch.no_grad()
    def _turn(self) -> None:
        """Give the free parameters a basis in which they change independently of one another (`sensitivity`).

        Nothing is drawn differently and the planes cost about what they did, but the changes from frame to frame, which
        are what a file spends its bits on, take a sixth fewer of them.
        """
        metric, error = self._sensitivity(coded=False)
        turn = decorrelating(self._changes() / DEFAULT_STEP, metric, error)
        if turn is None:
            return
        back = torch.linalg.inv(turn).t()
        self.scale = 1 / step_change(metric, error)
        first = 1 + self.driven.shape[1]
        planes = []
        for value, steps in self._coefficients():
            plane = value * steps
            plane[first:] = (back @ plane[first:].flatten(1)).view_as(plane[first:])
            planes.append(plane)
        self.axes, self.motion = turn @ self.axes, (self.motion @ turn.t()).requires_grad_()
        self._set_steps(self._parameters(slice(None), False))
        self.luma, self.chroma, self.flow = (
            (plane / steps).contiguous().requires_grad_()
            for plane, (_, steps) in zip(planes, self._coefficients(), strict=True)
        )
        self._steered = 0  # count the bits anew

    def _changes(self) -> Tensor:
        """(n, free) of the parameters from a key frame to the next frame of the clip.

        Of what the pictures say of them by regression: the parameters of the fit itself are half noise, since few of
        the frames are drawn in a step.
        """
        seen = self._project(
            self._features(F.interpolate(self.truth - self.drawn, size=self.settings.size, mode="area"))
        )
        steady = corrected(seen, linear_correction(seen, self.motion))
        return steady[self.successors[:, 1]] - steady[self.successors[:, 0]]

    def _coefficients(self) -> list[tuple[Tensor, Tensor]]:
        """Those of luma, chroma and flow, with the steps that they are in."""
        chroma = self.texture_steps[:, None] * CHROMA_STEP
        return [(self.luma, self.texture_steps), (self.chroma, chroma), (self.flow, self.flow_steps)]

    @torch.no_grad()
    def motion_code(self, quality: float) -> int:
        """Code of the motion's step at a quality: what the pictures' error, as they now are, bears at the default.

        Where parameters drive the model they were quantised before, and the step stays what it was.
        """
        if self.driven.shape[1]:
            return motion_code(quality)
        change = step_change(*self._sensitivity(coded=True))
        return step_code(change * step_size(motion_code(quality)))

    @torch.no_grad()
    def _sensitivity(self, coded: bool) -> tuple[Tensor, float]:
        """How the free parameters move the weighted picture, (free, free) for one step each at the default quality, and
        the picture's squared error."""
        looks = torch.linspace(0, len(self.truth) - 1, 8 * LOOKS).long()
        drawn, truth = (
            F.interpolate(v[looks] if len(v) > 1 else v, size=SIZE, mode="area") for v in (self.drawn, self.truth)
        )
        weight, (texture, flow) = attention(SIZE), self.planes(coded)
        codes, count = self._parameters(looks, False), self.driven.shape[1]
        out = apply_modes(drawn, texture, flow, codes)
        error = float(((out - truth).square() * weight).mean())
        total = torch.zeros(codes.shape[1] - count, codes.shape[1] - count)
        for row, below in zip(codes[::8], drawn.expand(len(codes), -1, -1, -1)[::8], strict=True):
            held = row[:count]

            def draw(free: Tensor, held: Tensor = held, below: Tensor = below) -> Tensor:
                return apply_modes(below[None], texture, flow, torch.cat([held.expand(len(free), -1), free], 1))

            total += sensitivity(draw, row[None, count:], DEFAULT_STEP, weight)
        return total / LOOKS, error

    def _before(self, flow: Tensor) -> Tensor:
        """What is left (N, 3, T, T), moved back to where the textures are; a small flow is undone by its negative."""
        parts = zip(self.truth.split(32), flow.split(32), strict=True)
        back = torch.cat([F.interpolate(warp(t, -f), size=self.settings.size, mode="area") for t, f in parts])
        return back - F.interpolate(self.drawn, size=self.settings.size, mode="area")

    @staticmethod
    def _features(rest: Tensor) -> Tensor:
        weight = attention(rest.shape[-1]) ** 0.3
        return F.interpolate(rest * weight, size=32, mode="area").flatten(1)

    def _project(self, features: Tensor) -> Tensor:
        return (features - self.mean) @ self.axes.t() / (PARAMETER_UNIT * self.axes.shape[1] ** 0.5)

    def guess(self, drawn: Tensor, truth: Tensor, driven: Tensor) -> Tensor:
        """First guess of the parameters (N, planes - 1) of any frames."""
        rest = F.interpolate(truth - drawn, size=self.settings.size, mode="area")
        return torch.cat([driven, self._project(self._features(rest))], 1)

    def fitted(self) -> Tensor:
        """The key frames' parameters (N, planes - 1), unquantised."""
        return self._parameters(slice(None), False).detach()

    def release(self) -> None:
        """Let go of the pictures; what was found stays."""
        self.drawn = self.truth = torch.empty(0)

    def _parameters(self, index: Tensor | slice, coded: bool) -> Tensor:
        moved = self.motion[index]
        return torch.cat([self.driven[index], straight_through(moved, self.motion_step, 0.5) if coded else moved], 1)

    def planes(self, coded: bool) -> tuple[Tensor, Tensor]:
        """Texture (K, 3, T, T) and flow (K, 2, G, G)."""
        return self._planes(slice(None), coded, self.luma, self.chroma, self.flow)

    def _planes(self, part: slice, coded: bool, luma: Tensor, chroma: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
        """Some of them, out of their coefficients: no plane knows of another."""
        if coded:
            luma, chroma, flow = (straight_through(v, 1.0, self.settings.dead) for v in (luma, chroma, flow))
        steps, flow_steps = self.texture_steps[part], self.flow_steps[part]
        luma, chroma = synthesise(luma * steps), synthesise(chroma * steps[:, None] * CHROMA_STEP)
        return colour(luma, chroma) * TEXTURE_UNIT, synthesise(flow * flow_steps) * FLOW_UNIT

    def render(self, index: Tensor, drawn: Tensor, coded: bool) -> Tensor:
        texture, flow = self.planes(coded)
        return apply_modes(drawn[index] if len(drawn) > 1 else drawn, texture, flow, self._parameters(index, coded))

    def rate_proxy(self) -> Tensor:
        """Differentiable stand-in for the bits of the planes."""
        return self._weigh([self.luma, self.chroma, self.flow])

    def _weigh(self, values: list[Tensor]) -> Tensor:
        rows = zip(values, self._worth, strict=True)
        return sum(((worth * torch.log2(1 + v.abs())).sum() for v, worth in rows), torch.zeros(()))

    def run(self, progress: Progress = lambda n: None) -> None:
        with threads_for_tensors(1):
            self._run(progress)

    def _run(self, progress: Progress) -> None:
        s = self.settings
        optimiser, first = self._optimiser()
        total = sum(n for _, n in s.steps)
        order = torch.Generator().manual_seed(3)
        done = begun = 0
        for size, steps in s.steps:
            small = [
                v if v.shape[-1] == size else F.interpolate(v, size=size, mode="area") for v in (self.drawn, self.truth)
            ]
            weight = attention(size)
            for _ in range(steps):
                coded = done > CODED_FROM * total
                if coded and not begun:
                    self._turn()
                    (optimiser, first), begun = self._optimiser(), done
                for group, lr in zip(optimiser.param_groups, first, strict=True):
                    warm = min(1, (done - begun + 1) / 10)
                    group["lr"] = lr * warm * (0.05 + 0.95 * math.cos(0.5 * math.pi * done / total))
                index = torch.randperm(len(self.truth), generator=order)[: s.batch]
                optimiser.zero_grad()
                self._slope(index, small, weight, coded)
                optimiser.step()
                done += 1
                if done % STEER == 0:
                    self._steer(done / total)
                progress(1)

    def _slope(self, index: Tensor, small: list[Tensor], weight: Tensor, coded: bool) -> None:
        """The loss's gradients on frames `index` of drawn and true pictures, into the parameters."""
        drawn, truth = small

        def loss(part: slice, texture: Tensor, flow: Tensor, codes: Tensor) -> Tensor:
            rows = index[part]
            out = apply_modes(drawn[rows] if len(drawn) > 1 else drawn, texture, flow, codes[part])
            return fitting_loss(out, truth[rows], weight) * (len(rows) / len(index))

        values = [self.luma, self.chroma, self.flow]
        planes = PartwiseOutputs(lambda part, *v: self._planes(part, coded, *v), values, cuts(len(self.luma)))
        codes = self._parameters(index, coded)
        slopes = gradients(loss, [*planes.values, codes], cuts(len(index)))[1]
        for value, slope in zip(values, planes.back(slopes[:2]), strict=True):
            value.grad = slope
        (self.price * self.rate_proxy()).backward()
        codes.backward(slopes[2])

    def _optimiser(self) -> tuple[torch.optim.Adam, list[float]]:
        """With the rate that each group begins at."""
        s = self.settings
        rates = [s.rate, s.motion_rate * self.motion_step * self.scale]
        groups = [
            {"params": [self.luma, self.chroma, self.flow], "lr": rates[0]},
            {"params": [self.motion], "lr": rates[1]},
        ]
        return torch.optim.Adam(groups, betas=(0.9, 0.99)), rates

    def _steer(self, done: float) -> None:
        """Move the price towards the budget.  Counting bits takes a while, so most times they are extrapolated."""
        modes = self.quantised()
        values = [torch.from_numpy(v) for v in (modes.luma, modes.chroma, modes.flow)]
        if self._steered % RECOUNT == 0:
            self._bits, worth = modes_bits(modes)
            self._worth = [torch.from_numpy(v) for v in worth]
            self._counted = max(1.0, float(self._weigh(values)))
        self._steered += 1
        bits = self._bits * float(self._weigh(values)) / self._counted
        aim = 8 * self.budget * (0.97 + max(0.0, CODED_FROM - done))
        self.price = float(np.clip(self.price * float(np.clip(bits / aim, 0.6, 1.6)), self.settings.price, 1e-3))

    def quantised(self, dead: float | None = None) -> Modes:
        dead = self.settings.dead if dead is None else dead
        luma, chroma, flow = (
            shrink_round(v.detach(), dead).numpy().astype(np.int32) for v in (self.luma, self.chroma, self.flow)
        )
        return Modes(self.mix, MIX_CODE, luma, chroma, flow, self.texture_codes, self.flow_codes)

    def finish(self) -> Modes | None:
        """The modes as integers, within the budget exactly; None where it has no room for any."""
        low, high = self.settings.dead, 256.0
        modes = self.quantised()
        if len(encode_modes(modes)) <= self.budget:
            return modes
        for _ in range(16):  # widen the dead zone until the bytes fit
            middle = math.sqrt(low * high)
            fits = len(encode_modes(self.quantised(middle))) <= self.budget
            low, high = (low, middle) if fits else (middle, high)
        modes = self.quantised(high)
        return modes if len(encode_modes(modes)) <= self.budget else None


def principal_drive(motion: Tensor, count: int, motion_step: float) -> tuple[np.ndarray, Tensor]:
    """The few combinations of the model's parameters that a clip uses.

    motion: (N, P) the model's parameters.  Returns the mix in integers (P, 1 + driven) and, quantised, the file's
    first parameters (N, driven) that move the model through it.
    """
    mean, axes = principal(motion, count)
    spread = ((motion - mean) @ axes.t()).square().mean(0).sqrt()
    axes = axes[spread > motion_step]
    step = step_size(MIX_CODE)
    mix = (torch.cat([mean[None], axes]) / step).round()
    axes, mean = mix[1:] * step, mix[0] * step
    driven = torch.linalg.lstsq(axes.t(), (motion - mean).t()).solution.t() if len(axes) else motion[:, :0]
    return mix.t().numpy().astype(np.int32), (driven / motion_step).round() * motion_step


class ModeStart:
    """How the parameters of any frame begin: a projection, corrected by what the joint fit found on the key frames."""

    def __init__(self, fit: ModeFit, driven: Tensor):
        self.driven, self.scale = driven, fit.scale
        self._fit = fit
        seen = fit.guess(fit.drawn, fit.truth, fit.driven)
        self._correction = linear_correction(seen, fit.fitted())
        fit.release()

    def guess(self, drawn: Tensor, truth: Tensor, driven: Tensor) -> Tensor:
        """Parameters (N, planes - 1) of frames that the model draws as `drawn`; the driven ones as they are."""
        moved = corrected(self._fit.guess(drawn, truth, driven), self._correction)
        return torch.cat([driven, moved[:, driven.shape[1] :]], 1)
