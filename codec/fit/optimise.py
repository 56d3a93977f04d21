"""Fit real values that are sent as integers, within a budget of bytes.

A clip's weight delta (`tune`) and its modes (`modefit`) are found this way. Each is a `Problem`: it
knows its values, how the pictures judge them and how many bits they take. Here is what they share:
coarse to fine, random batches, Adam with a rate that rises, then falls, quantisation in the loop,
a price of bits that is steered towards the budget, and at the end a dead zone as wide as it has to
be.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

# In quantiser steps; smaller magnitudes become zero. Rounding alone would keep what is above 0.5:
# such a value gains the picture little and costs as many bits as a whole step.
DEAD_ZONE = 0.6
WARM_UP = 10  # steps until the rate is whole: Adam knows nothing yet of how large gradients are
LAST_RATE = 0.05  # share of the rate that is left at the end: values come to rest, but not before
# Of a bit, in units of the loss. What a budget that no price can meet would raise it to; above it
# the pictures no longer count.
HIGHEST_PRICE = 1e-3

Progress = Callable[[int], None]
Coded = TypeVar("Coded")


@dataclass(frozen=True)
class Schedule:
    """How a problem is worked on.

    Args:
        steps: (picture size in pixels, number of steps), coarse to fine.
        batch: frames that a step looks at.
        seed: of the order of the frames.
        betas: Adam's decay of the gradient's mean and of its square's.
        coded_from: share of the steps after which the pictures are drawn from quantised values.
            From the first step on it diverges: thousands of values leave the dead zone at once.
        steer_every: steps between two changes of the price.
        steer_by: least and largest factor of one such change. The values need time to follow.
        aim: share of the budget that the estimate is steered to in the end.
        lowest_price: of a bit, where the price begins. What is not worth it is not sent, even
            where the budget has room. 0: bits cost nothing and are not counted.
        widest: dead zone in steps that is tried at most to fit the bytes.
        halvings: times that the interval of such dead zones is halved.
    """

    steps: tuple[tuple[int, int], ...]
    batch: int
    seed: int
    betas: tuple[float, float]
    coded_from: float
    steer_every: int
    steer_by: tuple[float, float]
    aim: float
    lowest_price: float
    widest: float
    halvings: int


@dataclass(frozen=True)
class Group:
    """Values that move at one rate.

    Args:
        values: leaf tensors, contiguous.
        rate: Adam's, in units of the values.
    """

    values: list[Tensor]
    rate: float


class Problem(Protocol):
    """What differs from fit to fit."""

    @property
    def frames(self) -> int:
        """How many frames there are to draw batches from."""

    def groups(self) -> list[Group]:
        """The values to fit."""

    def set_size(self, size: int) -> None:
        """Compare pictures of `size` pixels a side from now on."""

    def begin_coding(self) -> bool:
        """Called once, before the first step that sees quantised values.

        Returns:
            Whether the values are others now: Adam forgets what it knew, and warms up again.
        """

    def backward(self, index: Tensor, coded: bool, price: float) -> None:
        """Leave the loss's gradients in the values.

        Args:
            index: (batch,) the frames to look at.
            coded: whether to draw them from quantised values.
            price: of an estimated bit.
        """

    def bits(self) -> float:
        """Estimated size of what would be sent now."""


def optimise(problem: Problem, schedule: Schedule, budget: int, progress: Progress = lambda n: None) -> None:
    """Fit a problem's values.

    Args:
        budget: bytes. The aim begins above it and comes down to it while values are coded.
        progress: called with 1 after every step.
    """
    total = sum(count for _, count in schedule.steps)
    order = torch.Generator().manual_seed(schedule.seed)
    groups = problem.groups()
    adam = _adam(groups, schedule)
    done = begun = 0
    price, coded = schedule.lowest_price, False
    for size, count in schedule.steps:
        problem.set_size(size)
        for _ in range(count):
            if not coded and done > schedule.coded_from * total:
                coded = True
                if problem.begin_coding():
                    groups, begun = problem.groups(), done
                    adam = _adam(groups, schedule)
            for group, settings in zip(groups, adam.param_groups, strict=True):
                settings["lr"] = group.rate * _rate(done, begun, total)
            index = torch.randperm(problem.frames, generator=order)[: schedule.batch]
            adam.zero_grad()
            problem.backward(index, coded, price)
            adam.step()
            done += 1
            if price and done % schedule.steer_every == 0:
                price = _steered(price, problem.bits(), budget, done / total, schedule)
            progress(1)


def _adam(groups: list[Group], schedule: Schedule) -> torch.optim.Adam:
    return torch.optim.Adam([{"params": g.values, "lr": g.rate} for g in groups], betas=schedule.betas)


def _rate(done: int, begun: int, total: int) -> float:
    """Share of the rate: up in a line from where Adam began, down a quarter of a cosine."""
    warm = min(1, (done - begun + 1) / WARM_UP)
    return warm * (LAST_RATE + (1 - LAST_RATE) * math.cos(0.5 * math.pi * done / total))


def _steered(price: float, bits: float, budget: int, done: float, schedule: Schedule) -> float:
    """The price multiplied by how far the estimate is off.

    Args:
        done: share of the steps. Before values are coded, more bytes are allowed the less is done.
    """
    aim = 8 * budget * (schedule.aim + max(0.0, schedule.coded_from - done))
    factor = float(np.clip(bits / aim, *schedule.steer_by))
    return float(np.clip(price * factor, schedule.lowest_price, HIGHEST_PRICE))


def within_bytes(
    quantised: Callable[[float], Coded], size: Callable[[Coded], int], budget: int, schedule: Schedule
) -> Coded | None:
    """The integers of the narrowest dead zone whose bytes fit.

    Args:
        quantised: dead zone in quantiser steps -> integers.
        size: integers -> bytes.
        budget: bytes.

    Returns:
        None where not even the widest dead zone fits.
    """
    low, high = DEAD_ZONE, schedule.widest
    narrowest = quantised(low)
    if size(narrowest) <= budget:
        return narrowest
    best: Coded | None = None
    for _ in range(schedule.halvings):
        middle = math.sqrt(low * high)
        tried = quantised(middle)
        if size(tried) <= budget:
            best, high = tried, middle
        else:
            low = middle
    if best is None:
        widest = quantised(high)
        best = widest if size(widest) <= budget else None
    return best


def straight_through(value: Tensor, step: float, dead: float) -> Tensor:
    """Quantise in the forward pass, pass the gradient as if nothing had happened.

    The fit sees what the decoder will see, and a value has to earn its way out of the dead zone.

    Args:
        value: of any shape.
        step: quantiser step in units of the value.
        dead: dead zone in steps.

    Returns:
        Multiples of the step, in the value's shape.
    """
    return value + (shrink_round(value.detach() / step, dead) * step - value.detach())


def shrink_round(value: Tensor, dead: float) -> Tensor:
    """Round to whole numbers; magnitudes below `dead` become zero."""
    rounded = value.round()
    return torch.where(value.abs() < dead, torch.zeros_like(rounded), rounded)
