"""Rate-distortion optimised quantisation of motion: symbols chosen by rendered error plus bits, not
by rounding.

Around what was fitted, c, the error of a rendered picture is a quadratic form in what the integers
q leave out,

    error(q) = error(c) + (q - c)^T H (q - c),        H = J^T W J,

J how the picture moves with the parameters, one step each, and W the weight of its pixels
(`sensitivity`).  One mean H serves a clip; that of each frame was worth nothing more on eight
clips.

What is minimised is error + price x bits.  The bits of a parameter hang together over time alone,
through differences from frame to frame and the one before, at the levels that the adaptive contexts
expect, so each parameter's best path through the nearest integers is found exactly (Viterbi); one
parameter after the other, and levels anew each round.  Frames that hardly differ from the one
before, as where a clip was brought to another frame rate, are made to stand still, which costs a
flag; they and the frame that they repeat have one place.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from ...format.motion import motion_plan
from ...format.motioncontexts import habits, residual_bits
from ...format.values import value_bits
from ..draw.render import Renderer
from ..face.regions import attention
from .motion import MAX_STEPS, nearest
from .sensitivity import SIZE, sensitivity

PRICE = 0.16  # of a bit, in mean squared steps of a parameter; 0.1 to 0.3 lie on one curve of bits against error
ROUNDS = 3
STILL_BITS = 4  # that standing still is taken to save
STILL = 1e-4  # of the largest sensitivity: below it a parameter moves nothing, but for rounding
REACH = 1  # integers beside the nearest that are tried on either side; more was no better
Ints = np.ndarray


def metric_of(renderer: Renderer, motion: Tensor) -> np.ndarray:
    """H (P, P) of a clip for one step of its parameters, measured at motion (N, P), not
    quantised."""
    size = min(SIZE, renderer.size)
    measured = sensitivity(
        lambda rows: renderer.draw_values(rows, size),
        motion.to(renderer.device),
        renderer.motion_step,
        attention(size).to(renderer.device),
    )
    return measured.cpu().double().numpy()


def choose(
    motion: np.ndarray, metric: np.ndarray, held: np.ndarray, before: Ints | None = None, price: float = 1.0
) -> Ints:
    """The integers (n, P) of a segment.

    Args:
        motion: (n, P) in steps, not quantised; rows of held frames say nothing.
        metric: H (P, P).
        held: (n,) frames that repeat the one before.
        before: (P,) integers of the frame before the segment, what held frames at its beginning
            repeat.
        price: of a bit, in units of PRICE.
    """
    own = np.diag(metric)
    moving = np.flatnonzero(own > STILL * own.max(initial=0))
    if not len(moving):
        return hold(nearest(motion), held, before)
    price = price * PRICE * own[moving].mean()
    usual = habits(len(metric))
    fixed = bool(held[0]) and before is not None
    rest = held | _still(motion, metric, held, STILL_BITS * price)
    q = hold(nearest(motion), rest, before)
    for _ in range(ROUNDS):
        plan = motion_plan(q, held)
        frames, levels = plan.frames, plan.levels
        rest = np.ones(len(motion), bool)
        rest[frames] = False
        lead = np.cumsum(~rest) - 1  # the place among `frames` of the one that a frame shows
        shown = np.bincount(lead[~held], minlength=len(frames)).astype(float)  # frames that a place stands for
        wanted = np.zeros((len(frames), motion.shape[1]))
        np.add.at(wanted, lead[~held], motion[~held])
        wanted = np.where(shown[:, None] > 0, wanted / np.maximum(shown, 1)[:, None], q[frames])
        error = q[frames] - wanted
        for p in moving:
            pull = error @ metric[p] - error[:, p] * own[p]  # of the other parameters' errors on this one's best place
            target = wanted[:, p] - pull / own[p]
            if fixed:
                target[0] = q[0, p]
            path = _path(target, own[p] * shown, price, levels[:, p], int(usual[p]), fixed)
            error[:, p] += path - q[frames, p]
            q[frames, p] = path
        q = hold(q, rest, before)
    return q


def _still(motion: np.ndarray, metric: np.ndarray, held: np.ndarray, price: float) -> np.ndarray:
    """Frames (n,) that may as well show what the last one before them that is none of them shows.

    price: of moving.  Half the squared distance is what it costs two frames to meet in the middle.
    """
    out, at = np.zeros(len(motion), bool), None
    for t in np.flatnonzero(~held):
        if at is not None:
            away = motion[t] - motion[at]
            out[t] = 0.5 * away @ metric @ away < price
        if not out[t]:
            at = t
    return out


def _path(target: np.ndarray, own: np.ndarray, price: float, levels: Ints, habit: int, fixed: bool) -> Ints:
    """One parameter's integers (m,) over time, of least error and bits.

    Args:
        target: (m,), in steps.
        own: (m,), the price of a squared step.
        price: of a bit.
        levels: (m,).
        habit: of the parameter (`motioncontexts.habits`).
        fixed: the first is its target.

    What a step costs depends on the step before, so a state is a pair of integers in succession.
    """
    middle = np.clip(np.round(target), REACH - MAX_STEPS, MAX_STEPS - REACH).astype(np.int64)
    tried = middle[:, None] + np.arange(-REACH, REACH + 1)
    cost = own[:, None] * np.square(tried - target[:, None])
    if fixed:
        cost[0, np.arange(len(cost[0])) != REACH] = np.inf
    first = cost[0] + price * value_bits(tried[0], np.full(tried.shape[1], levels[0]))
    if len(tried) == 1:
        return tried[0, [first.argmin()]]
    steps = tried[1:, None, :] - tried[:-1, :, None]
    after = np.array([-1, 0, 1])[:, None, None]
    # (m - 1, 3, i, j): from integer i to j, after a step down, none and up
    bits = price * residual_bits(steps[:, None], levels[1:, None, None, None], after, habit)
    total = first[:, None] + bits[0, 1] + cost[1]
    number = np.arange(tried.shape[1])
    moved = (np.sign(steps[:-1]) + 1)[..., None]
    # (m - 2, h, i, j): from i to j, when it had come to i from h
    bits = bits[np.arange(1, len(steps))[:, None, None, None], moved, number[:, None], number]
    came = np.zeros((len(tried), len(number), len(number)), np.int64)
    for t in range(2, len(tried)):
        ways = total[:, :, None] + bits[t - 2]
        came[t] = ways.argmin(0)
        total = ways.min(0) + cost[t]
    out = np.empty(len(tried), np.int64)
    i, j = divmod(int(total.argmin()), len(number))
    for t in range(len(tried) - 1, 0, -1):
        out[t], out[t - 1] = tried[t, j], tried[t - 1, i]
        i, j = int(came[t, i, j]), i
    return out


def hold(motion: Ints, held: np.ndarray, before: Ints | None) -> Ints:
    """Repeat the last good row over held frames; before the first one, the first good row."""
    out: Ints = motion.copy()
    good = np.flatnonzero(~held)
    last = before if before is not None else (out[good[0]] if len(good) else np.zeros_like(out[0]))
    for i in range(len(out)):
        if held[i]:
            out[i] = last
        last = out[i]
    return out
