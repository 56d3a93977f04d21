"""Rate-distortion optimised quantisation of motion: symbols chosen by rendered error plus bits, not by rounding.

Around what was fitted, c, the error of a rendered picture is a quadratic form in what the integers q leave out,

    error(q) = error(c) + (q - c)^T H (q - c),        H = J^T W J,

J how the picture moves with the parameters, one step each, and W the weight of its pixels (`sensitivity`).  One mean H
serves a clip; that of each frame was worth nothing more on eight clips.
What is minimised is error + price x bits.  The bits of a parameter hang together over time alone, through differences
from frame to frame at the levels that the adaptive contexts expect, so each parameter's best path through the nearest
integers is found exactly (Viterbi); one parameter after the other, and levels anew after each round.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from ..format.motion import motion_plan
from ..format.values import value_bits
from .loss import attention
from .motion import MAX_STEPS, nearest
from .render import Renderer
from .sensitivity import SIZE, sensitivity

PRICE = 0.16  # of a bit, in mean squared steps of a parameter; 0.1 to 0.3 lie on one curve of bits against error
ROUNDS = 3
STILL = 1e-4  # of the largest sensitivity: below it a parameter moves nothing, but for rounding
REACH = 1  # integers beside the nearest that are tried on either side; more was no better
Ints = np.ndarray


def metric_of(renderer: Renderer, motion: Tensor) -> np.ndarray:
    """H (P, P) of a clip for one step of its parameters, measured at motion (N, P)."""
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

    motion: (n, P) in steps, unquantised; rows of held frames say nothing.  metric: H (P, P).
    before: (P,) integers of the frame before the segment, what held frames at its beginning repeat.
    price: of a bit, in units of PRICE.
    """
    own = np.diag(metric)
    moving = np.flatnonzero(own > STILL * own.max(initial=0))
    if not len(moving):
        return hold(nearest(motion), held, before)
    price = price * PRICE * own[moving].mean()
    q = hold(nearest(motion), held, before)
    fixed = held[0] and before is not None
    for _ in range(ROUNDS):
        frames, _, levels = motion_plan(q, held)
        error = np.where(held[frames, None], 0.0, q[frames] - motion[frames])
        for p in moving:
            pull = error @ metric[p] - error[:, p] * own[p]  # of the other parameters' errors on this one's best place
            target = motion[frames, p] - pull / own[p]
            if fixed:
                target[0] = q[0, p]
            path = _path(target, own[p], price, levels[:, p], bool(fixed))
            error[:, p] += path - q[frames, p]
            q[frames, p] = path
        q = hold(q, held, before)
    return q


def _path(target: np.ndarray, own: float, price: float, levels: Ints, fixed: bool) -> Ints:
    """One parameter's integers (m,) over time, of least error and bits.  fixed: the first is its target."""
    middle = np.clip(np.round(target), REACH - MAX_STEPS, MAX_STEPS - REACH).astype(np.int64)
    tried = middle[:, None] + np.arange(-REACH, REACH + 1)
    cost = own * np.square(tried - target[:, None])
    if fixed:
        cost[0, np.arange(len(cost[0])) != REACH] = np.inf
    steps = tried[1:, None, :] - tried[:-1, :, None]
    bits = price * value_bits(steps, np.broadcast_to(levels[1:, None, None], steps.shape))
    total = cost[0] + price * value_bits(tried[0], np.full(tried.shape[1], levels[0]))
    came = np.zeros(tried.shape, np.int64)
    for t in range(1, len(tried)):
        ways = total[:, None] + bits[t - 1]
        came[t] = ways.argmin(0)
        total = ways.min(0) + cost[t]
    best, out = int(total.argmin()), np.empty(len(tried), np.int64)
    for t in range(len(tried) - 1, -1, -1):
        out[t] = tried[t, best]
        best = int(came[t, best])
    return out


def hold(motion: Ints, held: np.ndarray, before: Ints | None) -> Ints:
    """Repeat the last good row over held frames; before the first one, the first good row."""
    out = motion.copy()
    good = np.flatnonzero(~held)
    last = before if before is not None else (out[good[0]] if len(good) else np.zeros_like(out[0]))
    for i in range(len(out)):
        if held[i]:
            out[i] = last
        last = out[i]
    return out
