"""Motion quantised for error plus bits, and the basis in which it costs least (fev.codec.fit.rdoq, sensitivity)."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from fev.codec.draw.render import Renderer
from fev.codec.fit.keyframes import successors, with_successors
from fev.codec.fit.modefit import ModeFit, ModeSettings
from fev.codec.fit.rdoq import PRICE, _path, choose, metric_of
from fev.codec.fit.sensitivity import LEAST_PAIRS, SHARE, decorrelating, sensitivity
from fev.codec.model.planes import apply_modes
from fev.format.motion import encode_motion, motion_plan
from fev.format.tables import LAWS
from fev.format.values import value_bits


def walk(frames: int, params: int, size: float = 0.8) -> np.ndarray:
    """A random walk with a little noise on top, as fitted motion is, in steps."""
    rng = np.random.default_rng(5)
    return np.cumsum(rng.normal(0, size, (frames, params)), 0) + rng.normal(0, 0.3, (frames, params))


def test_a_path_is_the_best_of_all_paths():
    """Every path of seven frames through three integers each, one by one."""
    target, levels = walk(7, 1)[:, 0], np.array([20, 6, 6, 8, 10, 12, 9])
    found = _path(target, np.full(7, 0.7), 0.2, levels, LAWS, False)
    near = np.round(target).astype(np.int64)

    def cost(path: np.ndarray) -> float:
        moves = np.diff(path, prepend=0)
        last = np.array([0, 0, *moves[1:-1]])
        shapes = np.array([0, *(LAWS + (last[1:] != 0))])
        bits = value_bits(moves * np.where(last < 0, -1, 1), levels, shapes)
        return float(0.7 * np.square(path - target).sum() + 0.2 * bits.sum())

    assert cost(found) == pytest.approx(min(cost(near + np.array(d)) for d in product((-1, 0, 1), repeat=7)))


def test_choosing_beats_coarser_rounding():
    """Rounding to a coarser step, of which the first that takes as few bytes is looked for, leaves a larger error; and
    what was minimised is smaller."""
    motion, held = walk(90, 12), np.zeros(90, bool)
    metric = np.eye(12) + 0.3  # each parameter moves the picture a little as the others do

    def measured(q: np.ndarray, step: float) -> tuple[int, float]:
        rest = q * step - motion
        return len(encode_motion(q)), float(np.einsum("tp,pq,tq->t", rest, metric, rest).mean())

    chosen = measured(choose(motion, metric, held), 1)
    rounded = [measured(np.round(motion / step).astype(np.int32), step) for step in np.arange(1.0, 4.0, 0.05)]
    fine, coarse = rounded[0], next(found for found in rounded if found[0] <= chosen[0])
    assert chosen[1] < 0.9 * coarse[1]
    price = 8 * PRICE * 1.3 / 90
    assert chosen[1] + price * chosen[0] < 0.95 * (fine[1] + price * fine[0])


def test_errors_that_cancel_are_found():
    """Two parameters that move the picture alike: one may be wrong by what the other makes up for."""
    motion = np.full((6, 2), 0.5)
    metric = np.array([[1.0, 0.95], [0.95, 1.0]])
    q = choose(motion, metric, np.zeros(6, bool))
    assert (q.sum(1) == 1).all()


def test_held_frames_repeat_and_cost_nothing():
    motion, held = walk(20, 4), np.zeros(20, bool)
    held[[0, 1, 9, 10, 19]] = True
    before = np.array([7, -7, 0, 3], np.int32)
    q = choose(motion, np.eye(4), held, before)
    assert (q[:2] == before).all() and (q[9:11] == q[8]).all() and (q[19] == q[18]).all()
    assert not held[motion_plan(q, held).frames[1:]].any()
    assert (choose(motion, np.eye(4), np.ones(20, bool), before) == before).all()


def test_a_parameter_that_moves_nothing_is_left_alone():
    motion = walk(30, 3)
    metric = np.diag([1.0, 1e-9, 0.5])  # what rounding leaves of a sensitivity of zero
    q = choose(motion, metric, np.zeros(30, bool))
    frames = motion_plan(q).frames  # the others stand still
    assert len(frames) > 10 and (q[frames, 1] == np.round(motion[frames, 1])).all()
    assert np.abs(q - motion)[frames].max() <= 1.5
    assert (choose(motion, np.zeros((3, 3)), np.zeros(30, bool)) == np.round(motion)).all()


def test_sensitivity_of_what_is_linear_is_exact():
    planes = torch.randn(5, 3 * 8 * 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64).float()

    def draw(rows: torch.Tensor) -> torch.Tensor:
        return (rows @ planes).view(-1, 3, 8, 8)

    found = sensitivity(draw, torch.randn(9, 5), 0.25, torch.ones(1, 1, 8, 8))
    torch.testing.assert_close(found, planes @ planes.t() / planes.shape[1] * 0.25**2, rtol=1e-3, atol=1e-5)


def test_decorrelated_parameters_move_alike_and_change_independently():
    generator = torch.Generator().manual_seed(2)
    mix = torch.randn(6, 6, generator=generator)
    change = torch.randn(400, 6, generator=generator) @ mix
    half = torch.randn(6, 6, generator=generator)
    metric = half @ half.t() + 0.5 * torch.eye(6)
    error = 6 * float(torch.trace(metric)) / 6 / SHARE
    turn = decorrelating(change, metric, error)
    assert turn is not None
    back = torch.linalg.inv(turn)
    torch.testing.assert_close(
        back.t() @ metric @ back, torch.eye(6) * SHARE * error / 6, rtol=1e-2, atol=1e-2 * SHARE * error / 6
    )
    seen = (change @ turn.t()).t() @ (change @ turn.t())
    rest = seen - torch.diag(seen.diag())
    assert float(rest.abs().max()) < 1e-3 * float(seen.diag().max())
    assert (seen.diag()[:-1] >= seen.diag()[1:]).all()
    assert decorrelating(change[: LEAST_PAIRS * 6 - 1], metric, error) is None
    assert decorrelating(change, torch.zeros(6, 6), error) is None


def test_turning_the_parameters_changes_no_picture():
    generator = torch.Generator().manual_seed(3)
    smooth = torch.nn.functional.interpolate(
        torch.randn(5, 3, 8, 8, generator=generator), size=64, mode="bicubic", align_corners=False
    )
    path = torch.from_numpy(walk(40, 5, 0.3)).float()
    truth = torch.einsum("nk,kchw->nchw", path, smooth) * 0.1
    settings = ModeSettings(size=32, grid=8, planes=6, batch=8)
    pairs = successors(list(range(40)))
    drawn, mix = torch.zeros(1, 3, 64, 64), np.zeros((35, 1), np.int32)
    fit = ModeFit(drawn, truth, truth[:, :0, 0, 0], mix, settings, 900, 0.5, None, pairs)

    @torch.no_grad()
    def pictures():
        return apply_modes(fit.drawn, *fit.coefficients.planes(coded=False), fit.fitted())

    before, guess = pictures(), fit.basis.guess(fit.drawn, truth)
    assert fit.begin_coding(), "Adam begins anew"
    after, turned = pictures(), fit.basis.guess(fit.drawn, truth)
    torch.testing.assert_close(after, before, rtol=0, atol=1e-3)  # wavelet and back, single precision
    assert float((turned - guess).abs().max()) > 0.1  # the parameters are others
    moved = turned[1:] - turned[:-1]
    shared = torch.corrcoef(moved.t()) - torch.eye(5)
    assert float(shared.abs().max()) < 0.3


def test_key_frames_have_successors():
    motion = torch.from_numpy(walk(300, 4)).float()
    chosen = with_successors(motion, 80)
    assert len(chosen) <= 80 and chosen == sorted(set(chosen)) and chosen[-1] < 300
    pairs = successors(chosen)
    assert len(pairs) >= 15
    assert all(chosen[b] == chosen[a] + 1 for a, b in pairs.tolist())
    assert with_successors(motion[:50], 80) == list(range(50))
    assert successors([4]).shape == (0, 2)


def test_the_metric_of_a_clip_is_that_of_its_renderer(tiny_model):
    renderer = Renderer(
        tiny_model, np.array([3], np.int32), [], identity_step_code=36, motion_step_code=36, dtype=torch.float32
    )  # fmt: skip
    metric = metric_of(renderer, torch.zeros(2, 35))
    assert metric.shape == (35, 35) and np.allclose(metric, metric.T)
    assert np.linalg.eigvalsh(metric).min() > -1e-9 and metric.diagonal().max() > 0
