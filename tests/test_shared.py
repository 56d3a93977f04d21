"""Shared modes: how they move a pivot, how a model file carries them, and how they are trained."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from fev.codec.draw.pivot import pivot_picture
from fev.codec.draw.render import Renderer
from fev.codec.fit.modebasis import MIX_STEP_CODE, PARAMETER_UNIT
from fev.codec.fit.motion import MotionSettings, fit_motion
from fev.codec.fit.pivotcoding import code_pivot
from fev.codec.fit.reading import InverterReading
from fev.codec.model.inverter import FEATURES
from fev.codec.model.modelfile import load_bytes, load_model, read_config
from fev.codec.model.shared import SharedModes
from fev.format.errors import ModelMismatchError
from fev.format.modes import Modes
from fev.tools.lab.train.shared import GRID, TEXTURE, ModeTraining, normalised, put_into, train
from safetensors.torch import load, save

CODES = {"identity_step_code": 36, "motion_step_code": 36, "dtype": torch.float32}
NOBODY = np.zeros(1, np.int32)
PARAMS = 35


def picture(size: int) -> torch.Tensor:
    axis = torch.linspace(-1, 1, size)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    ring = torch.sigmoid(12 * (0.5 - (x.square() + y.square()).sqrt()))
    return torch.stack([ring * 1.2 - 0.6, 0.6 * x * ring, 0.5 * torch.sin(5 * y + 3 * x)])


@pytest.fixture(scope="module")
def data(tiny_model_bytes) -> bytes:
    """The tiny model with shared modes: parameter 0 shifts the picture to the left, parameter 1 makes it brighter."""
    modes = SharedModes(PARAMS, 8, 4)
    with torch.no_grad():
        modes.flow[0, 0] = 0.05
        modes.luma[1] = 0.1
    return put_into(tiny_model_bytes, modes)


@pytest.fixture(scope="module")
def model(data):
    return load_bytes(data)


@pytest.fixture(scope="module")
def pivot():
    made = code_pivot(picture(64), np.array([2, 0, -3]), 2000)
    assert made is not None
    return made


def test_only_the_change_from_the_pivot_counts(model, pivot):
    renderer = Renderer(model, NOBODY, [], None, pivot, **CODES)
    still = pivot_picture(pivot, model.size)
    motion = np.zeros((3, PARAMS), np.int32)
    motion[:, :3] = [2, 0, -3], [2, 5, -3], [2 + 6, 0, -3]
    own, brighter, shifted = renderer.draw(motion)
    step = renderer.motion_step
    torch.testing.assert_close(own, still[0], rtol=0, atol=1e-5)
    inside = np.s_[:, 4:-4, 4:-4]
    torch.testing.assert_close(brighter[inside], still[0][inside] + 5 * step * 0.1, rtol=0, atol=2e-3)
    pixels = 6 * step * 0.05 * model.size / 2
    assert 1 < pixels < 7
    whole = int(pixels)
    left, right = (torch.roll(still[0], -n, -1) for n in (whole, whole + 1))
    expected = left + (pixels - whole) * (right - left)
    torch.testing.assert_close(shifted[..., 8:-8, 8:-8], expected[..., 8:-8, 8:-8], rtol=0, atol=0.01)


def test_the_generator_rests_where_shared_modes_move_the_pivot(model, pivot, monkeypatch):
    renderer = Renderer(model, NOBODY, [], None, pivot, **CODES)
    monkeypatch.setattr(renderer, "_generate", None)
    half = model.size // 2
    assert renderer.draw(np.ones((2, PARAMS), np.int32), half).shape == (2, 3, half, half)


def test_without_a_pivot_the_generator_draws(model, tiny_model):
    motion = np.ones((2, PARAMS), np.int32)
    ours, plain = (Renderer(m, NOBODY, [], **CODES).draw(motion) for m in (model, tiny_model))
    torch.testing.assert_close(ours, plain, rtol=0, atol=0)


def test_the_constant_of_a_mix_cancels(model, pivot):
    """A clip's modes may drive the shared ones through a mix; its first column moves frame and pivot alike."""
    mix = np.zeros((PARAMS, 2), np.int32)
    mix[1, 1] = 4
    with_constant = mix.copy()
    with_constant[:, 0] = 9
    motion = np.zeros((1, PARAMS), np.int32)
    motion[0, 0] = 7
    drawn = [
        Renderer(model, NOBODY, [], Modes.empty(m, MIX_STEP_CODE), pivot, **CODES).draw(motion)
        for m in (mix, with_constant)
    ]
    torch.testing.assert_close(*drawn, rtol=0, atol=1e-5)


def test_a_model_file_keeps_everything_else(data, tiny_model_bytes):
    before, after = load(tiny_model_bytes), load(data)
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert {name.split(".")[0] for name in after.keys() - before.keys()} == {"shared"}
    assert read_config(data) == read_config(tiny_model_bytes) | {"shared": {"texture": 8, "grid": 4}}
    again = put_into(data, SharedModes(PARAMS, 16, 4))  # new ones take the place of the old
    assert load(again)["shared.luma.q8"].shape == (PARAMS, 16, 16)


@pytest.mark.parametrize(
    "shared",
    [{}, {"texture": 8}, {"texture": "big", "grid": 4}, {"texture": 7, "grid": 4}, {"texture": 1 << 20, "grid": 4},
     {"texture": 8, "grid": 0}, {"texture": 16, "grid": 4}, [8, 4]],
    ids=["empty", "no grid", "text", "odd", "huge", "none", "other size", "list"],
)  # fmt: skip
def test_a_configuration_that_does_not_fit_is_refused(data, shared):
    config = read_config(data) | {"shared": shared}
    with pytest.raises(ModelMismatchError):
        load_bytes(save(load(data), {"config": json.dumps(config)}))


def test_a_guess_serves_generator_and_shared_modes(model, tiny_model):
    pictures = torch.stack([picture(256), picture(256).flip(-1)])
    with_modes, without = InverterReading.of(model, pictures), InverterReading.of(tiny_model, pictures)
    torch.testing.assert_close(with_modes.motion, without.motion)
    assert without.moves is without.motion
    assert with_modes.moves.shape == (2, PARAMS) and not torch.allclose(with_modes.moves, with_modes.motion)
    joined = InverterReading.joined([with_modes, with_modes])
    assert joined.identity.shape[0] == joined.moves.shape[0] == 4


def test_the_fit_finds_what_moved_and_stays_where_it_pays(model, pivot):
    renderer = Renderer(model, NOBODY, [], None, pivot, **CODES)
    moved = torch.zeros(1, PARAMS)
    moved[0, 1] = 4.0
    with torch.no_grad():
        truth = renderer.draw_values(moved)
    start = torch.zeros(1, PARAMS)
    free, tied = (
        fit_motion(renderer, truth, start, MotionSettings(size=32, steps=40, rate=0.3, smooth=0, stay=stay))
        for stay in (0.0, 5.0)
    )
    assert abs(free[0, 1] - 4) < 0.5
    assert tied.square().sum() < 0.9 * free.square().sum()


def test_training_learns_a_shift_and_scales_it():
    """Two 'clips' of a picture that moves sideways; its feature is the shift."""
    generator = torch.Generator().manual_seed(1)
    base = torch.nn.functional.interpolate(torch.randn(2, 3, 12, 12, generator=generator), size=160, mode="bicubic")
    frames, features, clips = [], [], []
    for k in range(2):
        clips.append(np.arange(9 * k, 9 * k + 9))
        for shift in range(-4, 5):
            frames.append(base[k, :, 16:144, 16 + shift : 144 + shift])
            features.append([float(shift), float(k)])
    pictures = ((torch.stack(frames).clamp(-1, 1) + 1) * 127.5).round().byte()
    torch.manual_seed(0)
    seen = torch.nn.functional.pad(torch.tensor(features), (0, FEATURES - 2))  # all else says nothing
    training = train(pictures, seen, clips, 120, 2)
    assert isinstance(training, ModeTraining)
    modes = normalised(training, pictures)
    assert modes.luma.shape == (2, TEXTURE, TEXTURE) and modes.flow.shape == (2, 2, GRID, GRID)
    sample = pictures.float() / 127.5 - 1
    with torch.no_grad():
        unit = torch.eye(2)[:1].expand(len(sample), -1)
        assert (modes.move(sample, 0.5 * unit) - sample).square().mean().sqrt() == pytest.approx(
            0.5 * PARAMETER_UNIT, rel=0.25
        )
        guess = modes.guess(seen)
        still, moved = sample[4:5], sample[8:9]
        error = (modes.move(still, guess[8:9] - guess[4:5]) - moved)[..., 16:-16, 16:-16].square().mean()
        assert error < 0.6 * (still - moved)[..., 16:-16, 16:-16].square().mean()


def test_the_shipped_model_moves_a_face_by_a_unit():
    """Every parameter was scaled on faces; the generator's mean face is one of them."""
    model = load_model()
    assert model.shared is not None and model.shared.luma.shape == (PARAMS, TEXTURE, TEXTURE)
    with torch.no_grad():
        face = model.generator(model.latents(torch.zeros(1, len(model.identity_scale)), torch.zeros(1, PARAMS)))
        moved = [model.shared.move(face, row[None]) - face for row in torch.eye(PARAMS)]
    assert all(0.3 * PARAMETER_UNIT < float(m.square().mean().sqrt()) < 3 * PARAMETER_UNIT for m in moved)
