"""The pivot: choosing a frame, coding it within a budget, and what is drawn on top of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from fev.codec.draw.pivot import pivot_picture
from fev.codec.draw.render import Renderer
from fev.codec.draw.units import step_size
from fev.codec.fit.modebasis import MIX_STEP_CODE
from fev.codec.fit.pivotcoding import code_pivot
from fev.format.errors import DamagedError
from fev.format.modes import Modes
from fev.format.still import Pivot, Still

CODES = {"identity_step_code": 36, "motion_step_code": 36, "dtype": torch.float32}
IDENTITY = np.array([3, -2], np.int32)


def pattern(size: int, phase: float = 0.0) -> torch.Tensor:
    """A smooth picture with edges (3, S, S), -1 to 1."""
    axis = torch.linspace(-1, 1, size)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    ring = torch.sigmoid(20 * (0.5 - ((x - phase).square() + y.square()).sqrt()))
    return torch.stack([ring * 1.6 - 0.8, 0.6 * x * ring, 0.5 * torch.sin(5 * y + 3 * x)])


def test_a_pivot_keeps_its_budget_and_more_bytes_are_better():
    frame, reference = pattern(256), np.array([0, -4, 0, 7, 0, 0])
    errors, sizes = [], []
    for budget in (300, 500):
        pivot = code_pivot(frame, reference, budget)
        assert pivot is not None and pivot.reference == (0, -4, 0, 7)
        sizes.append(len(pivot.pack()))
        errors.append(float((pivot_picture(pivot, 256)[0] - frame).square().mean()))
    assert sizes[0] <= 300 < sizes[1] <= 500
    assert errors[1] < errors[0] < 0.01


def test_no_room_means_no_pivot():
    assert code_pivot(pattern(256), np.zeros(35, int), 60) is None


@pytest.fixture(scope="module")
def coded() -> Pivot:
    pivot = code_pivot(pattern(64), np.array([2, 0, -3]), 2000)
    assert pivot is not None
    return pivot


def test_at_its_own_parameters_the_pivot_is_the_picture(tiny_model, coded):
    renderer = Renderer(tiny_model, IDENTITY, [], None, coded, **CODES)
    motion = np.zeros((2, 35), np.int32)
    motion[0, :3] = 2, 0, -3
    drawn = renderer.draw(motion)
    torch.testing.assert_close(drawn[:1], pivot_picture(coded, tiny_model.size), rtol=0, atol=1e-5)
    plain = Renderer(tiny_model, IDENTITY, [], **CODES).draw(motion)
    torch.testing.assert_close(drawn[1] - drawn[0], plain[1] - plain[0], rtol=0, atol=1e-5)  # the model moves it


def test_the_model_does_not_draw_where_nothing_drives_it(tiny_model, coded, monkeypatch):
    modes = Modes.empty(np.full((35, 1), 4, np.int32), MIX_STEP_CODE)
    renderer = Renderer(tiny_model, IDENTITY, [], modes, coded, **CODES)
    monkeypatch.setattr(renderer, "_generate", None)
    drawn = renderer.draw(np.ones((3, 35), np.int32))
    torch.testing.assert_close(drawn, pivot_picture(coded, tiny_model.size).expand(3, -1, -1, -1), rtol=0, atol=1e-5)
    half = renderer.draw(np.ones((1, 35), np.int32), tiny_model.size // 2)
    torch.testing.assert_close(half, torch.nn.functional.avg_pool2d(drawn[:1], 2), rtol=0, atol=1e-5)


def test_a_still_of_another_size_is_scaled(tiny_model):
    pivot = code_pivot(pattern(128), np.zeros(35, int), 4000)
    assert pivot is not None and pivot_picture(pivot, tiny_model.size).shape == (1, 3, tiny_model.size, tiny_model.size)


def test_a_finer_pivot_is_drawn_as_fine_as_it_is(tiny_model):
    """And moved by the same share of the picture; an encoder that fits at the model's size sees its mean."""
    pivot = code_pivot(pattern(200), np.zeros(35, int), 6000)
    modes = some_flow()
    renderer = Renderer(tiny_model, IDENTITY, [], modes, pivot, **CODES)
    assert (renderer.size, renderer.side) == (64, 256)
    motion = np.zeros((3, 35), np.int32)
    motion[1:, 0] = 40, -40
    fine, coarse = renderer.draw(motion, 256), renderer.draw(motion)
    assert fine.shape == (3, 3, 256, 256) and coarse.shape == (3, 3, 64, 64)
    torch.testing.assert_close(fine[:1], pivot_picture(pivot, 256), rtol=0, atol=1e-5)
    off = (torch.nn.functional.avg_pool2d(fine, 4) - coarse).square().mean((1, 2, 3))
    moved = (coarse[1:] - coarse[:1]).square().mean((1, 2, 3))
    assert off.max() < 0.1 * moved.min()


def test_what_the_model_generates_is_as_fine_as_the_model(tiny_model):
    pivot = code_pivot(pattern(200), np.zeros(35, int), 6000)
    renderer = Renderer(tiny_model, IDENTITY, [], None, pivot, **CODES)
    assert renderer.side == 64 and renderer.draw(np.ones((1, 35), np.int32)).shape[-1] == 64


def some_flow() -> Modes:
    """One parameter moves the whole picture to the side."""
    modes = Modes.empty(np.zeros((35, 1), np.int32), MIX_STEP_CODE)
    flow = np.zeros((2, 2, 16, 16), np.int32)
    flow[1, 0, :4, :4] = 1
    blank = np.zeros((2, 64, 64), np.int32), np.zeros((2, 2, 32, 32), np.int32)
    return replace(
        modes, luma=blank[0], chroma=blank[1], flow=flow,
        texture_step_codes=np.zeros(2, np.int64), flow_step_codes=np.full(2, 40),
    )  # fmt: skip


@pytest.mark.parametrize(
    "pivot",
    [
        Pivot((1,) * 36, Still(1, 64, 64, 1, False, b"x")),
        Pivot((), Still(1, 64, 64, 1, False, b"no picture at all")),
        Pivot((), Still(1, 64, 64, 1, False, b"\x12\x00")),
    ],
    ids=["parameters", "text", "empty unit"],
)
def test_a_pivot_that_does_not_fit_is_refused(tiny_model, pivot):
    with pytest.raises(DamagedError):
        Renderer(tiny_model, IDENTITY, [], None, pivot, **CODES)


def test_reference_is_in_the_units_of_the_motion(tiny_model, coded):
    renderer = Renderer(tiny_model, IDENTITY, [], None, coded, **CODES)
    assert renderer._reference[0, :3].tolist() == [2 * step_size(36), 0.0, -3 * step_size(36)]
