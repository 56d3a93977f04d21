"""The stage-by-stage report on a real model and the sample clip, and weights tuned to pivots that are held."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from fev.codec.fit.tune import ClipFit, TuneSettings
from fev.format.errors import UsageError
from fev.tools.lab import stages

SAMPLE = Path(stages.__file__).parent.parent / "sample" / "sample.mp4"
CHANNELS = [[5, 3], [6, 10], [8, 2], [9, 4]]


def basis(tmp_path: Path) -> Path:
    pose = (0.01 * torch.randn(2, 4, 256, generator=torch.Generator().manual_seed(0))).tolist()
    path = tmp_path / "basis.json"
    path.write_text(json.dumps({"channels": CHANNELS, "attributes": ["mouth", "jaw", "eyes", "brows"], "pose": pose}))
    return path


def test_held_pivots_stay_and_the_weights_bring_the_pictures_nearer(tiny_model):
    rng = torch.Generator().manual_seed(1)
    identity = (torch.randn(12, generator=rng) / 0.12).round() * 0.12  # a pivot is quantised before it is held
    motion = 0.3 * torch.randn(4, 35, generator=rng)
    with torch.no_grad():
        drive = tiny_model.latents.drive(tiny_model.latents.base(identity), motion)
        now = tiny_model.generator(drive.ws, drive.moving)
    frames = (0.8 * now + 0.1).clamp(-1, 1)
    settings = TuneSettings(steps=((64, 60),), rank=2)
    fit = ClipFit(tiny_model, frames, identity, motion, settings, 6_000, 0.12, 1e-6, hold=True)
    fit.run()
    assert torch.equal(fit.motion, motion) and torch.equal(fit.identity * tiny_model.identity_scale, identity)
    with torch.no_grad():
        after = fit.render(torch.arange(4), 64, True)
    assert (after - frames).square().mean() < 0.5 * (now - frames).square().mean()


@pytest.mark.slow
def test_the_report_has_a_row_for_every_stage(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(stages, "TUNE_STEPS", ((64, 8),))
    monkeypatch.setattr(stages, "WHOLE_STEPS", 3)
    out = tmp_path / "out"
    arguments = [str(SAMPLE), "--basis", str(basis(tmp_path)), "--frames", "4", "--steps", "2", "--out", str(out)]
    assert stages.work([*arguments, "--whole"]) == 0
    rows = json.loads((out / "stages.json").read_text())
    assert [r["stage"].split(",")[0] for r in rows] == [
        "inversion", "identity only", "+ pose", "+ pose + attributes", "+ pose + attributes", "+ PTI",
        "+ PTI of all weights",
    ]  # fmt: skip
    assert all(5 < r["psnr"] < 60 and 0 < r["ssim"] <= 1 for r in rows)
    names = {"source", "inversion", "identity", "pose", "one_rate", "attributes", "pti", "whole"}
    assert {p.stem for p in out.glob("*.npy")} == names
    assert np.load(out / "pti.npy").shape == (4, 256, 256, 3)
    assert len(capsys.readouterr().out.splitlines()) == len(rows)


def test_a_model_without_an_inverter_of_its_own_is_refused(tiny_model):
    from dataclasses import replace

    from fev.codec.model.stylespace import Basis

    with pytest.raises(UsageError):
        stages.face_of(replace(tiny_model, inverter=None), Basis(((2, 1),), ("mouth",)))
