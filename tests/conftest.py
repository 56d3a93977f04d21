"""Small stand-ins that tests share: a tiny random model, and a clip of it drawn by arithmetic."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch


def tiny_modules(seed: int = 0):
    """Generator at 64 pixels, latent space, inverter and aligner with random weights."""
    from fev.codec.model.aligner import Aligner
    from fev.codec.model.inverter import Inverter, LatentSpace
    from fev.codec.model.stylegan2 import Generator, GeneratorConfig

    torch.manual_seed(seed)
    generator = Generator(GeneratorConfig(64, (16, 16, 16, 8, 8), 16, 16, 0, noise_size=16))
    latents = LatentSpace(10, 16, 12, 6)
    return {
        "generator": generator.eval(),
        "latents": latents.eval(),
        "inverter": Inverter(12).eval(),
        "aligner": Aligner().eval(),
    }


@pytest.fixture(scope="session")
def tiny_model_bytes() -> bytes:
    from fev.codec.model.modelfile import pack

    modules = tiny_modules()
    names = ["const", "directions"]
    for i, layer in enumerate(modules["generator"].layers):
        names += [f"layers.{i}.{part}" for part in ("weight", "bias", "affine.bias")]
        if layer.has_noise:
            names.append(f"layers.{i}.noise")
    config = {"name": "tiny", "basis": "directions", "tuning_scale": dict.fromkeys(names, 0.02)}
    return pack(modules, torch.ones(12), config)


@pytest.fixture(scope="session")
def tiny_model(tiny_model_bytes):
    from fev.codec.model.modelfile import load_bytes

    return load_bytes(tiny_model_bytes)


@pytest.fixture(scope="session")
def tiny_model_file(tiny_model_bytes, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    path.write_bytes(tiny_model_bytes)
    return path


@pytest.fixture(scope="session")
def tiny_sha(tiny_model_bytes) -> str:
    return hashlib.sha256(tiny_model_bytes).hexdigest()


@pytest.fixture(scope="session")
def film(tiny_sha) -> bytes:
    """A `.fev` stream of the tiny model: 64x64, 40 frames in four segments, with sound."""
    from films import film_of

    return film_of(tiny_sha)


SPACE_CHANNELS = ((2, 1), (3, 5), (5, 0), (5, 7))


@pytest.fixture(scope="session")
def tiny_space(tiny_model):
    """A StyleSpace basis for the tiny model: four channels, and directions that turn its faces."""
    from fev.codec.model.stylespace import LinearPose, StyleSpace

    turn = LinearPose(4, 16)
    turn.directions.data.normal_(0, 0.05, generator=torch.Generator().manual_seed(3))
    return StyleSpace(tiny_model.generator.config, SPACE_CHANNELS, turn).requires_grad_(False)


@pytest.fixture
def one_thread():
    """torch on one thread: several that wait for each other actively are slow beside threads that draw."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
