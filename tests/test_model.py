"""Model files: what is loaded is what was packed, and nothing hostile gets past the door."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from conftest import tiny_modules
from fev.codec.model.library import find
from fev.codec.model.modelfile import dequantise, load_bytes, load_for, load_model, quantise
from fev.format.errors import FevError, ModelMismatchError


def test_packed_model_draws_nearly_the_same_picture(tiny_model):
    """8-bit weights: the error of a weight is at most 1/254 of its row's largest."""
    modules = tiny_modules()
    identity, motion = torch.zeros(2, 12), torch.randn(2, 35)
    with torch.no_grad():
        before = modules["generator"](modules["latents"](identity, motion))
        after = tiny_model.generator(tiny_model.latents(identity, motion))
    assert (before - after).square().mean().sqrt() < 0.03 * before.std()


def test_quantise_roundtrip_is_within_half_a_step():
    value = torch.randn(80, 64) * torch.logspace(-3, 2, 80)[:, None]
    back = dequantise(quantise("w", value))["w"]
    # half a step, and the scale itself is a float16
    assert ((back - value).abs() <= value.abs().amax(1, keepdim=True) * (0.5 / 127 + 1e-3)).all()


def test_small_tensors_keep_16_bits():
    assert set(quantise("bias", torch.randn(64))) == {"bias"}


def test_wrong_digest_is_refused(tiny_model_bytes):
    with pytest.raises(ModelMismatchError, match="sha256"):
        load_bytes(tiny_model_bytes, "0" * 64)


@pytest.mark.parametrize("cut", [0, 4, 8, 100, -1])
def test_truncated_model_is_refused(tiny_model_bytes, cut):
    with pytest.raises(ModelMismatchError):
        load_bytes(tiny_model_bytes[:cut])


def edited(data: bytes, change) -> bytes:
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    config = json.loads(header["__metadata__"]["config"])
    change(config)
    header["__metadata__"]["config"] = json.dumps(config)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.update(format="other/1"),
        lambda c: c["generator"].update(w_dim=1 << 30),
        lambda c: c["generator"].update(channels=[1 << 30] * 5),
        lambda c: c["generator"].update(resolution=4096),
        lambda c: c["generator"].update(mapping_layers=10**9),
        lambda c: c.update(rank=10**9),
        lambda c: c.update(motion_ws=99),
        lambda c: c.pop("generator"),
        lambda c: c["generator"].update(w_dim=17),
        lambda c: c["generator"].update(w_dim=float("inf")),
        lambda c: c.update(rank=float("nan")),
        lambda c: c.update(shared={"texture": float("inf"), "grid": 4}),
        lambda c: c.update(tuning_scale=[1.0]),
        lambda c: c.update(tuning_scale={"const": "far"}),
        lambda c: c.update(tuning_scale={"const": 10**400}),
    ],
)
def test_hostile_configuration_is_refused_before_allocation(tiny_model_bytes, change):
    with pytest.raises(ModelMismatchError):
        load_bytes(edited(tiny_model_bytes, change))


def test_oversized_header_is_refused():
    with pytest.raises(ModelMismatchError, match="header"):
        load_bytes((1 << 40).to_bytes(8, "little") + b"{}")


def test_unknown_model_names_what_is_there():
    with pytest.raises(FevError, match="no model 'nothing-like-this'"):
        find("nothing-like-this")
    with pytest.raises(ModelMismatchError, match="not installed"):
        load_for("ab" * 32)


def test_model_file_that_is_not_the_one_asked_for(tiny_model_file):
    with pytest.raises(ModelMismatchError, match="needs model"):
        load_for("ab" * 32, tiny_model_file)


def test_built_in_model_fits_its_digest_and_size():
    path, digest = find("base-256")
    assert path.stat().st_size <= 12_000_000
    model = load_model("base-256")
    assert model.sha256 == digest
    assert model.size == 256
    assert model.latents.directions.shape[0] == 35
    assert np.isfinite(list(model.tuning_scale.values())).all()
