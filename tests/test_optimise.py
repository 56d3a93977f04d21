"""fev.codec.fit.optimise: what the fits of a delta and of modes share, on a problem with a known answer."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from fev.codec.fit.optimise import DEAD_ZONE, HIGHEST_PRICE, WARM_UP, Group, Schedule, optimise, within_bytes

RATE = 0.3
SCHEDULE = Schedule(
    steps=((8, 30), (16, 20)), batch=3, seed=1, betas=(0.9, 0.95), coded_from=0.6, steer_every=5, steer_by=(0.5, 2.0),
    aim=0.95, lowest_price=1e-6, widest=64.0, halvings=24,
)  # fmt: skip


class Watched:
    """A row of numbers that is to be near the mean of seven; notes what it is asked."""

    frames = 7

    def __init__(self, size: float = 0.0, restarts: bool = False):
        self.truth = torch.linspace(-3, 3, 5).expand(7, -1)
        self.value = torch.zeros(5, requires_grad=True)
        self.size, self.restarts = size, restarts
        self.sizes, self.steps, self.asked, self.begun, self.moved = [], [], 0, [], []

    def groups(self):
        return [Group([self.value], RATE)]

    def set_size(self, size):
        self.sizes.append(size)

    def begin_coding(self):
        self.begun.append(len(self.steps))
        return self.restarts

    def backward(self, index, coded, price):
        self.steps.append((index.tolist(), coded, price))
        self.moved.append(self.value.detach().clone())
        torch.autograd.backward((self.value - self.truth[index]).square().mean())

    def bits(self):
        self.asked += 1
        return self.size


def test_every_step_is_asked_for_in_its_turn():
    problem, ticks = Watched(), []
    optimise(problem, SCHEDULE, 100, ticks.append)
    assert problem.sizes == [8, 16] and ticks == [1] * 50
    assert problem.begun == [31], "once, before the first step that is coded"
    assert [coded for _, coded, _ in problem.steps] == [False] * 31 + [True] * 19
    batches = [index for index, _, _ in problem.steps]
    assert all(len(set(index)) == 3 for index in batches) and {i for index in batches for i in index} == set(range(7))
    again = Watched()
    optimise(again, SCHEDULE, 100)
    assert again.steps == problem.steps, "the same clip gives the same file"
    assert float((problem.value.detach() - problem.truth[0]).abs().max()) < 0.3


def test_the_rate_rises_again_after_a_restart_only():
    paths = []
    for restarts in (False, True):
        problem = Watched(restarts=restarts)
        optimise(problem, SCHEDULE, 100)
        path = torch.stack(problem.moved)
        paths.append((path[1:] - path[:-1]).abs().amax(1).tolist())
    for path in paths:
        assert path[0] == pytest.approx(RATE / WARM_UP, rel=1e-3), "Adam's first step is as long as its rate"
    assert paths[0][:31] == paths[1][:31]
    share = 0.05 + 0.95 * math.cos(0.5 * math.pi * 31 / 50)
    assert paths[1][31] == pytest.approx(RATE / WARM_UP * share, rel=1e-3)
    assert paths[0][31] != pytest.approx(paths[1][31], rel=0.1)


def test_the_price_follows_the_size_within_its_bounds():
    budget = 100
    prices = {}
    for size in (0.0, 8 * budget * 0.95, 1e9):
        problem = Watched(size)
        optimise(problem, SCHEDULE, budget)
        prices[size] = [price for _, _, price in problem.steps]
        assert problem.asked == 10 and prices[size][:5] == [SCHEDULE.lowest_price] * 5
    low, right, high = prices.values()
    assert set(low) == {SCHEDULE.lowest_price}, "what has room is not made cheaper than the least price"
    assert set(right) == {SCHEDULE.lowest_price}
    assert high[5] == pytest.approx(2 * high[0]) and high[-1] == pytest.approx(2**9 * high[0])
    longer = Watched(1e9)
    optimise(longer, replace(SCHEDULE, steps=((8, 120),)), budget)
    assert longer.steps[-1][2] == HIGHEST_PRICE


def test_the_aim_comes_down_to_the_budget():
    """What is 30 % too large is cheap enough at first and too dear when values are coded."""
    problem = Watched(8 * 100 * 1.3)
    optimise(problem, SCHEDULE, 100)
    prices = [price for _, _, price in problem.steps]
    assert prices[10] == SCHEDULE.lowest_price < prices[-1]


def test_without_a_price_nobody_counts_bits():
    problem = Watched(1e9)
    optimise(problem, replace(SCHEDULE, lowest_price=0.0), 1)
    assert problem.asked == 0 and {price for _, _, price in problem.steps} == {0.0}


@pytest.mark.parametrize("budget", [5, 40, 99])
def test_the_dead_zone_is_as_narrow_as_the_bytes_allow(budget):
    tried = []

    def quantised(dead: float) -> float:
        tried.append(dead)
        return dead

    def size(dead: float) -> int:
        return math.ceil(100 / dead)

    found = within_bytes(quantised, size, budget, SCHEDULE)
    assert found is not None and size(found) <= budget < size(found * 0.999)
    assert len(tried) <= SCHEDULE.halvings + 2


def test_what_fits_is_not_searched_and_what_never_fits_is_not_there():
    assert within_bytes(lambda dead: dead, lambda dead: 10, 10, SCHEDULE) == DEAD_ZONE
    assert within_bytes(lambda dead: dead, lambda dead: 11, 10, SCHEDULE) is None
    assert within_bytes(lambda dead: dead, lambda dead: 11 if dead < 64 else 10, 10, SCHEDULE) == 64
