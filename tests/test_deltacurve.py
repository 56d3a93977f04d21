"""fev.tools.lab.train.deltacurve: every carrier says what it took and what it showed, and is not measured twice."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from fev.codec.draw.delta import FACTOR_V
from fev.codec.fit.tune import TuneSettings, coded_size
from fev.codec.model.modelfile import load_model
from fev.format.identity import encode_identity
from fev.tools.demo import SAMPLE
from fev.tools.lab.train import deltacurve

WEIGHTS = ("weights", "low-rank kernels", "style affine", "per channel")
OTHERS = ("shared modes", "stills tuned at the decoder")


def run(tmp_path, capsys, carriers, bytes_: str):
    out = tmp_path / "curve.jsonl"
    given = [str(SAMPLE), "--out", str(out), "--bytes", bytes_, "--carriers", ",".join(carriers)]
    assert deltacurve.work([*given, "--frames", "4", "--every", "2"]) == 0
    return [json.loads(line) for line in out.read_text().splitlines()], capsys.readouterr().out


@pytest.fixture
def quick(monkeypatch):
    """No fit worth the name: what is tested is what becomes of it."""
    monkeypatch.setattr(deltacurve, "TUNE_STEPS", ((64, 48),))  # a quarter of which is done with so short a clip


@pytest.mark.slow
def test_every_carrier_stays_within_its_bytes(quick, tmp_path, capsys):
    rows, text = run(tmp_path, capsys, WEIGHTS + OTHERS, "2500")
    assert [row["carrier"] for row in rows] == [*WEIGHTS, *OTHERS] and not any("failed" in row for row in rows)
    for row in rows:
        assert 0 < row["bytes"] <= 2500 and 8 < row["psnr_face"] < 40, row
    assert rows[-1]["stills"] == 1 and text.count("| weights |") == 2
    again, _ = run(tmp_path, capsys, WEIGHTS + OTHERS, "2500")
    assert again == rows, "nothing was measured again"


@pytest.mark.slow
def test_nothing_to_spend_is_the_identity_alone(quick, tmp_path, capsys):
    rows, _ = run(tmp_path, capsys, ("weights", "stills tuned at the decoder"), "0")
    assert rows[0]["bytes"] < 400 and rows[0]["tensors"] == 0
    assert "too few for a still" in rows[1]["failed"]


def test_the_table_has_means_of_what_there_is():
    rows = [
        {"carrier": "weights", "budget": 1000, "psnr": 20.0}, {"carrier": "weights", "budget": 1000, "psnr": 22.0},
        {"carrier": "modes", "budget": 4000, "psnr": 30.0}, {"carrier": "modes", "budget": 1000, "failed": "why"},
    ]  # fmt: skip
    head, _, weights, modes = deltacurve.table(rows, "psnr")
    assert head == "| psnr | 1,000 | 4,000 |"
    assert weights == "| weights | 21.0 (2) |  |" and modes == "| modes |  | 30.0 (1) |"


@pytest.mark.parametrize("whole", [1500, 6000])
def test_a_delta_gets_what_the_coded_identity_leaves(whole):
    model = load_model()
    noise = torch.Generator().manual_seed(0)
    identity = 30 * torch.randn(model.latents.rank, generator=noise)  # the more it moves, the more bytes it takes
    settings, budget = TuneSettings(), whole - deltacurve.FOR_IDENTITY
    given = (model, torch.zeros(1, 3, 256, 256), identity, torch.zeros(1, model.latents.params), settings, budget)
    fit = deltacurve.Partly(*given, 0.5, 0.5, may=deltacurve.kernel)
    with torch.no_grad():  # far more than fits
        for parts in fit.parts.values():
            parts[FACTOR_V] += 9 * settings.step * torch.randn(parts[FACTOR_V].shape, generator=noise)
    integers, delta = fit.finish()
    taken = len(encode_identity(integers))
    assert abs(taken - deltacurve.FOR_IDENTITY) > 50, "or this shows nothing"
    assert taken + coded_size(delta) <= whole
    assert taken + coded_size(delta) > 0.8 * whole


def test_the_sparse_ones_are_single_weights(tmp_path):
    model = load_model()
    identity, motion = torch.zeros(model.latents.rank), torch.zeros(1, model.latents.params)
    given = (model, torch.zeros(1, 3, 256, 256), identity, motion, TuneSettings(), 1000, 0.5, 0.5)
    fit = deltacurve.Partly(*given, may=deltacurve.kernel, sparse=True)
    assert fit.known and all(list(fit.parts[t.key]) == [deltacurve.DENSE] for t in fit.known)
    values = sum(part.numel() for parts in fit.parts.values() for part in parts.values())
    assert values == sum(int(np.prod(t.shape)) for t in fit.known)
    changed, directions = fit.effective()
    assert directions is None and set(changed) == {t.name for t in fit.known}
