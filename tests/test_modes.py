"""Texture and flow modes: the transform, what they do to a picture, and finding them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fev.codec.draw.modes import ClipModes
from fev.codec.draw.render import Renderer
from fev.codec.draw.units import step_size
from fev.codec.fit.keyframes import successors
from fev.codec.fit.modebasis import MIX_STEP_CODE, principal, principal_drive
from fev.codec.fit.modefit import ModeFit, ModeSettings
from fev.codec.fit.motion import MotionSettings, fit_motion
from fev.codec.model.planes import analyse, apply_modes, colour, decompose, synthesis_matrix, synthesise, warp
from fev.format.errors import DamagedError
from fev.format.modes import Modes, encode_modes

CPU = torch.device("cpu")


@pytest.mark.parametrize("side", [8, 32, 128])
def test_analysis_undoes_synthesis(side):
    planes = torch.randn(3, side, side, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(synthesise(analyse(planes)), planes, rtol=0, atol=1e-4)


def test_wavelet_is_nearly_orthonormal():
    """So one quantiser step costs the same in every band.  9/7: norms within a tenth, away from the border."""
    norms = synthesis_matrix(64).norm(dim=0)
    assert (norms[4:28] - 1).abs().max() < 0.1 and (norms[36:60] - 1).abs().max() < 0.1


def test_coarse_values_alone_give_a_flat_plane():
    values = torch.zeros(1, 64, 64)
    values[:, :4, :4] = 1
    assert float(synthesise(values).std()) < 1e-3  # the filters' decimals


def test_colour_and_back():
    luma, chroma = torch.randn(2, 16, 16), torch.randn(2, 2, 1, 1).expand(2, 2, 8, 8)
    back = decompose(colour(luma, chroma))
    torch.testing.assert_close(back[0], luma, rtol=0, atol=1e-4)
    torch.testing.assert_close(back[1], chroma, rtol=0, atol=1e-4)


def test_warp_fetches_from_where_the_flow_says():
    picture = torch.zeros(1, 3, 64, 64)
    picture[:, :, 20, 30] = 1
    flow = torch.zeros(1, 2, 8, 8)
    assert torch.equal(warp(picture, flow), picture)
    flow[:, 0], flow[:, 1] = 5 * 2 / 64, -3 * 2 / 64
    moved = warp(picture, flow)[0, 0]
    assert moved[23, 25] == pytest.approx(1, abs=1e-4)


def make_modes(params: int = 35, planes: int = 3) -> Modes:
    rng = np.random.default_rng(0)
    luma = rng.integers(-3, 4, (planes, 32, 32)).astype(np.int32)
    chroma = rng.integers(-3, 4, (planes, 2, 16, 16)).astype(np.int32)
    flow = rng.integers(-2, 3, (planes, 2, 8, 8)).astype(np.int32)
    steps = np.array([45, 40, 42, 43])[:planes]
    mix = rng.integers(-9, 10, (params, 3)).astype(np.int32)
    return Modes(mix, MIX_STEP_CODE, luma, chroma, flow, steps, steps)


def test_empty_modes_change_nothing_but_the_drive(tiny_model):
    mix = np.zeros((35, 2), np.int32)
    mix[4, 0], mix[7, 1] = 3, 5
    options = {"identity_step_code": 36, "motion_step_code": 36, "dtype": torch.float32}
    renderer = Renderer(tiny_model, np.array([3], np.int32), [], Modes.empty(mix, MIX_STEP_CODE), **options)
    plain = Renderer(tiny_model, np.array([3], np.int32), [], **options)
    motion, own = torch.zeros(2, 35), torch.zeros(2, 35)
    motion[1, 0] = 2.0
    own[:, 4], own[1, 7] = 3 * step_size(MIX_STEP_CODE), 10 * step_size(MIX_STEP_CODE)
    torch.testing.assert_close(renderer.draw_values(motion), plain.draw_values(own), rtol=0, atol=1e-4)


def test_modes_are_linear_in_the_parameters_but_for_the_flow():
    modes = ClipModes(replace(make_modes(), flow=np.zeros((3, 2, 8, 8), np.int32)), 35, CPU)
    drawn, motion = torch.zeros(1, 3, 64, 64), torch.zeros(1, 35)
    still = modes.apply(drawn, motion)
    motion[0, 1] = 2.0
    moved = modes.apply(drawn, motion)
    expected = F.interpolate(2 * modes.texture[2:3], size=64, mode="bilinear")
    torch.testing.assert_close(moved - still, expected, rtol=0, atol=1e-4)


def test_modes_of_another_model_are_refused(tiny_model):
    for wrong in (make_modes(params=34), Modes.empty(np.zeros((35, 40), np.int32), 9)):
        with pytest.raises(DamagedError, match="modes"):
            ClipModes(wrong, 35, CPU)


def test_principal_drive_keeps_what_moves():
    generator = torch.Generator().manual_seed(1)
    axes = torch.linalg.qr(torch.randn(35, 3, generator=generator))[0].t()
    codes = torch.randn(60, 3, generator=generator) * torch.tensor([9.0, 4.0, 0.1])
    motion = codes @ axes + torch.randn(35, generator=generator)
    mix, driven = principal_drive(motion, 8, 0.5)
    assert mix.shape == (35, 3) and driven.shape == (60, 2)  # what moves less than a step is left out
    assert torch.equal((driven / 0.5).round() * 0.5, driven)
    back = (torch.from_numpy(mix).float() * step_size(MIX_STEP_CODE)) @ torch.cat([torch.ones(60, 1), driven], 1).t()
    assert float((back.t() - motion).square().mean().sqrt()) < 0.2  # rounding of the codes and of the mix


@pytest.mark.filterwarnings("error")
def test_nothing_needs_to_drive_the_model():
    motion = torch.randn(20, 35, generator=torch.Generator().manual_seed(1))
    mix, driven = principal_drive(motion, 0, 0.5)
    assert mix.shape == (35, 1) and driven.shape == (20, 0)
    expected = (motion.mean(0) / step_size(MIX_STEP_CODE)).round().numpy()
    assert np.array_equal(mix[:, 0], expected)


def test_principal_directions_are_orthonormal_and_few():
    values = torch.randn(5, 40, generator=torch.Generator().manual_seed(2))
    mean, axes = principal(values, 9)
    assert len(axes) == 4  # five rows have four directions about their mean
    torch.testing.assert_close(axes @ axes.t(), torch.eye(4), rtol=0, atol=1e-4)
    torch.testing.assert_close((values - mean) @ axes.t() @ axes, values - mean, rtol=0, atol=1e-3)


@pytest.fixture(scope="module")
def moving():
    """A bright bar that slides and changes colour before a dark gradient, 24 frames at 64 pixels."""
    axis = torch.linspace(-1, 1, 64)
    frames = []
    for k in range(24):
        bar = torch.exp(-(((axis - 0.3 * np.sin(k / 4)) / 0.15) ** 2))
        frames.append(torch.stack([bar * 0.8, bar * 0.8 * np.cos(k / 7), axis * 0.3])[:, None].expand(3, 64, 64))
    return torch.stack(frames) - 0.3


def fit_of(truth, budget: int) -> ModeFit:
    settings = ModeSettings(steps=((32, 40), (64, 20)), size=32, grid=8, planes=7, batch=8)
    drawn = torch.zeros_like(truth)
    return ModeFit(drawn, truth, torch.zeros(len(truth), 0), np.zeros((35, 1), np.int32), settings, budget, 0.5)


def test_fit_meets_its_budget_and_explains_the_clip(moving):
    sizes, errors = [], []
    for budget in (700, 2500):
        fit = fit_of(moving, budget)
        fit.run()
        modes = fit.finish()
        assert modes is not None
        sizes.append(len(encode_modes(modes)))
        clip = ClipModes(modes, 35, CPU)
        motion = torch.zeros(len(moving), 35)
        codes = (fit.fitted() / 0.5).round() * 0.5
        motion[:, : codes.shape[1]] = codes
        errors.append(float((clip.apply(torch.zeros_like(moving), motion) - moving).square().mean()))
    assert sizes[0] <= 700 and sizes[1] <= 2500
    still = float((moving - moving.mean(0)).square().mean())
    assert errors[1] < errors[0] < 0.5 * still and errors[1] < 0.1 * still


def test_what_the_fit_returns_is_what_it_was_fitted_as(moving):
    fit = fit_of(moving, 4000)
    fit.run()
    with torch.no_grad():
        texture, flow = fit.coefficients.planes(coded=True)
        fitted_to = apply_modes(fit.drawn[:4], texture, flow, fit.parameters(torch.arange(4), coded=True))
    clip = ClipModes(fit.quantised(), 35, CPU)
    codes = (fit.fitted()[:4] / 0.5).round() * 0.5
    again = apply_modes(fit.drawn[:4], clip.texture, clip.flow, codes)
    torch.testing.assert_close(again, fitted_to, rtol=0, atol=1e-4)


def test_a_first_guess_of_the_flow_is_where_the_fit_begins():
    """One picture that slides: its true flow explains it before the first step, textures alone do not."""
    generator = torch.Generator().manual_seed(4)
    base = torch.nn.functional.interpolate(
        torch.randn(1, 3, 16, 16, generator=generator) * 0.4, size=96, mode="bicubic"
    )
    shifts = [0, 3, -2, 5, -4, 1, 4, -1, 2, -3, -5, 0]
    truth = torch.cat([base[..., 16:80, 16 + n : 80 + n] for n in shifts])
    moved = torch.zeros(len(shifts), 2, 8, 8)
    moved[:, 0] = torch.tensor(shifts).float().view(-1, 1, 1) / 32
    errors = []
    for guess in (None, moved):
        settings = ModeSettings(size=32, grid=8, planes=2)
        fit = ModeFit(truth[:1], truth, truth[:, :0, 0, 0], np.zeros((35, 1), np.int32), settings, 900, 0.5, guess)
        with torch.no_grad():
            out = apply_modes(truth[:1], *fit.coefficients.planes(coded=False), fit.fitted())
        errors.append(float((out - truth)[..., 8:-8, 8:-8].square().mean()))
    assert errors[1] < 0.5 * errors[0]


@pytest.fixture
def every_warning():
    """torch says most of its warnings once a process; a test has to hear them whatever ran before it."""
    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    yield
    torch.set_warn_always(before)


@pytest.mark.filterwarnings("error")
def test_a_fit_that_begins_with_a_flow_warns_of_nothing(moving, every_warning):
    settings = ModeSettings(steps=((32, 9),), size=32, grid=8, planes=5, batch=8)
    moved = 0.03 * torch.randn(len(moving), 2, 8, 8, generator=torch.Generator().manual_seed(3))
    pairs = successors(list(range(24)))
    mix = np.zeros((35, 1), np.int32)
    fit = ModeFit(moving[:1], moving, torch.zeros(len(moving), 0), mix, settings, 900, 0.5, moved, pairs)
    fit.run()
    assert all(value.is_contiguous() for group in fit.groups() for value in group.values)


def test_a_fit_finds_what_it_always_found(moving):
    """Integers of a seeded fit: neither its order nor its constants move unnoticed."""
    settings = ModeSettings(steps=((32, 14), (64, 10)), size=32, grid=8, planes=7, batch=8)
    moved = torch.zeros(24, 2, 8, 8)
    moved[:, 0] = 0.01 * torch.arange(24).view(-1, 1, 1) / 24
    mix = np.zeros((35, 1), np.int32)
    pairs = successors(list(range(24)))
    fit = ModeFit(moving[:1], moving, torch.zeros(24, 0), mix, settings, 700, 0.5, moved, pairs)
    fit.run()
    modes = fit.finish()
    # Rounding differs with processor and threads, and a fit carries it on: sums of magnitudes have been
    # 4 % apart.  A step code, or a value on a rounding edge, may then fall to its neighbour.  Planes but the
    # first may change sign.
    codes = [*modes.texture_step_codes, *modes.flow_step_codes, fit.motion_step_code(60)]
    known = [49, 39, 39, 40, 40, 40, 42, 31, 21, 20, 21, 22, 22, 24, 36]
    assert np.abs(np.array(codes) - known).max() <= 1
    luma = [[-4, -4, -61, 12], [-4, -4, -61, 12], [-4, -4, -61, 13], [-4, -4, -61, 13]]
    flow = [[8, 5, 7, 8], [7, 5, 7, 8], [7, 5, 7, 7], [7, 5, 7, 7]]
    assert np.abs(modes.luma[0, :4, :4] - luma).max() <= 2
    assert np.abs(modes.flow[0, 0, :4, :4] - flow).max() <= 2
    sizes = [int(np.abs(values).sum()) for values in (modes.luma, modes.chroma, modes.flow)]
    assert sizes == pytest.approx([1479, 2590, 452], rel=0.1)


def test_no_room_means_no_modes(moving):
    assert fit_of(moving, 20).finish() is None


def test_motion_fit_finds_what_moves_the_modes_and_leaves_the_driven_alone(tiny_model):
    options = {"identity_step_code": 36, "motion_step_code": 36, "dtype": torch.float32}
    renderer = Renderer(tiny_model, np.array([3], np.int32), [], make_modes(planes=4), **options)
    motion = torch.zeros(5, 35)
    motion[:, :3] = torch.randn(5, 3, generator=torch.Generator().manual_seed(6))
    drawn = renderer.draw_model(motion).detach()
    truth = renderer.finish(drawn, motion).detach()
    start = motion.clone()
    start[:, 2] = 0
    fit = fit_motion(renderer, truth, start, MotionSettings(size=64, steps=60, smooth=0.0), None, drawn, 2)
    assert torch.equal(fit[:, :2], start[:, :2])
    assert float((fit[:, 2] - motion[:, 2]).abs().max()) < 0.1


def test_flow_is_interpolated_bicubically():
    """`warp` multiplies by a matrix; it is the interpolation that the spec's conformance distance was measured with."""
    generator = torch.Generator().manual_seed(8)
    flow = 0.05 * torch.randn(2, 2, 16, 16, generator=generator)
    picture = torch.rand(2, 3, 64, 64, generator=generator)
    wide = F.interpolate(flow, size=64, mode="bicubic", align_corners=False)
    axis = (torch.arange(64) + 0.5) / 32 - 1
    places = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1) + wide.permute(0, 2, 3, 1)
    expected = F.grid_sample(picture, places, padding_mode="border", align_corners=False)
    torch.testing.assert_close(warp(picture, flow), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("with_modes", [False, True])
def test_parameters_on_the_processor_meet_modes_on_another_device(tiny_model, with_modes):
    """Without a pivot the encoder draws what drives the model: its parameters and pictures lie on the processor."""
    modes = Modes.empty(np.ones((35, 3), np.int32), MIX_STEP_CODE) if not with_modes else make_modes()
    options = {"identity_step_code": 36, "motion_step_code": 36, "device": torch.device("meta"), "dtype": torch.float32}
    renderer = Renderer(tiny_model, np.array([3], np.int32), [], modes, **options)
    motion, pictures = torch.zeros(2, 35), torch.zeros(2, 3, 64, 64)
    assert renderer.draw_model(motion).device.type == "meta"
    assert renderer.draw_values(motion).device.type == "meta"
    assert renderer.draw_values(motion, 32).shape == (2, 3, 32, 32)
    renderer.finish(pictures, motion)
    assert next(tiny_model.generator.parameters()).device.type == "cpu", "the model itself stays where it is"
