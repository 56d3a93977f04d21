"""The two commands with a model of imported networks: a real file, by the paper's pipeline."""

from __future__ import annotations

import json
from pathlib import Path

import fev
import numpy as np
import pytest
import torch
from fev.codec import library
from fev.codec.model import load_model
from fev.codec.options import EncodeOptions
from fev.codec.paper import fitter
from fev.codec.paper.fitter import PaperFitter
from fev.codec.paper.networks import Networks
from fev.format.errors import FevError
from fev.tools import models, stages
from fev.tools.info import describe, frame_rows
from snapshots import network_state, saved

SAMPLE = Path(stages.__file__).parent / "sample" / "sample.mp4"
ROSINALITY = Path(__file__).parent / "golden" / "ros_tiny64.pt"
CHANNELS = [[2, 1], [3, 5], [5, 0], [8, 7], [9, 9]]
ATTRIBUTES = ["mouth", "mouth", "jaw", "eyes", "gaze"]


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A generator of 64 pixels with synthetic weights, imported with a basis of five channels and a pose."""
    monkeypatch.setenv(library.VARIABLE, str(tmp_path / "models"))
    pose = (0.02 * torch.randn(2, 4, 64, generator=torch.Generator().manual_seed(0))).tolist()
    basis = tmp_path / "basis.json"
    basis.write_text(json.dumps({"channels": CHANNELS, "attributes": ATTRIBUTES, "pose": pose}))
    models.work(["import", str(ROSINALITY), "--name", "tiny", "--basis", str(basis)])
    return "tiny"


@pytest.mark.parametrize("preset", ["fast", "medium", "slow"])
def test_a_clip_goes_there_and_back(tiny, tmp_path, preset, monkeypatch):
    monkeypatch.setattr(fitter, "TUNE_STEPS", {"slow": ((64, 20),), "medium": ((64, 6),)})
    out, back = tmp_path / "out.fev", tmp_path / "back.mp4"
    report = fev.encode(SAMPLE, out, model=tiny, preset=preset, crop=True, audio=False, duration=0.5)
    assert report.model == "tiny" and report.width == report.height == 64 and report.held == 0
    assert fev.verify(out).ok
    with open(out, "rb") as file:
        facts = describe(file)
    assert facts["model"] == {"name": "tiny", "sha256": library.find("tiny")[1]}
    assert facts["params"] == len(CHANNELS) + 3 and facts["frames"] == report.frames
    assert facts["identity_values"] <= 10 * 64
    with open(out, "rb") as file:
        motion = np.concatenate([s.motion for s in fev.open(file).segments()])
    assert motion[:, : len(CHANNELS)].any() and not motion[:, -1].any(), "roll belongs to the placement"
    assert len(np.unique(motion, axis=0)) > 1
    decoded = fev.decode(out, back)
    assert decoded.frames == report.frames and back.stat().st_size > 500
    with open(out, "rb") as file:
        rows = list(frame_rows(file))
    assert [r["frame"] for r in rows] == list(range(report.frames)) and not any(r["held"] for r in rows)
    keys = [r["frame"] for r in rows if r["key"]]
    # a second of one face before a still camera is registered to its first frame; fast writes before it could know
    assert keys == ([] if preset == "fast" else [0])
    if preset != "fast":
        assert facts["sections"]["identity"] + facts["sections"]["delta"] + facts["sections"]["basis"] < 27_000 + 200


def test_the_file_needs_the_model_it_was_made_with(tiny, tmp_path, monkeypatch):
    out = tmp_path / "out.fev"
    fev.encode(SAMPLE, out, model=tiny, preset="fast", crop=True, audio=False, duration=0.2)
    monkeypatch.setenv(library.VARIABLE, str(tmp_path / "elsewhere"))
    with pytest.raises(FevError, match="not installed"):
        fev.decode(out, tmp_path / "back.mp4")


def test_units_make_one_step_of_any_parameter_move_the_picture_alike(tiny):
    model = load_model(tiny)
    steps: dict[str, int] = {}
    made = PaperFitter(model, EncodeOptions(model=tiny), lambda s, d, t: None, lambda name, work: work())
    made.channels = fitter.pipeline.channels_of(made.face, model.latents.mean, 64)
    modes = made._mix()
    assert modes.mix.shape == (8, 9) and not modes.mix[:, 0].any()
    assert (np.count_nonzero(modes.mix, axis=0)[1:] == 1).all() and steps == {}
    felt = made.units[:5] * made.channels.gamma
    free = made.units[:5] < 0.99 * made.channels.deviation  # the others are held at one deviation
    assert torch.allclose(felt[free], torch.full_like(felt[free], fitter.UNIT), rtol=0.07), (
        "to a sixteenth, by rounding"
    )
    assert torch.equal(made.units[5:], made.units[5:6].expand(3)) and abs(float(made.units[5]) - 1) < 0.07


def test_networks_that_were_imported_are_used_and_others_left_out(tiny, tmp_path):
    path = tmp_path / "bisenet.pth"
    path.write_bytes(saved(network_state("bisenet")))
    models.work(["import", str(path), "--name", "tiny"])
    made = PaperFitter(load_model(tiny), EncodeOptions(model=tiny), lambda s, d, t: None, lambda name, work: work())
    assert made.face.similarity.terms == {"L2": True, "LPIPS": False, "identity": False, "face parsing": True}
    assert Networks(tiny).names == ["bisenet", "generator"]


def test_a_generator_alone_inverts_by_search(tiny):
    model = load_model(tiny)
    made = PaperFitter(model, EncodeOptions(model=tiny), lambda s, d, t: None, lambda name, work: work())
    ws = model.latents.mean + 0.5 * torch.randn(2, 10, 64, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        truth = model.generator(ws).clamp(-1, 1)
        rest = model.generator(model.latents.mean[None])
        found = model.generator(made.guess(truth).ws)
    assert (found - truth).square().mean() < 0.2 * (rest - truth).square().mean()


def test_a_model_from_elsewhere_does_not_encode_with_the_networks_of_its_namesake(tiny, tmp_path):
    elsewhere = tmp_path / "elsewhere" / "tiny.safetensors"
    elsewhere.parent.mkdir()
    elsewhere.write_bytes(library.find(tiny)[0].read_bytes())
    basis = tmp_path / "basis.json"
    basis.write_text(json.dumps({"channels": CHANNELS[:1], "attributes": ATTRIBUTES[:1]}))
    models.work(["import", str(ROSINALITY), "--name", "tiny", "--force", "--basis", str(basis)])
    with pytest.raises(FevError, match="not imported here"):
        PaperFitter(load_model(elsewhere), EncodeOptions(model="x"), lambda s, d, t: None, lambda name, work: work())
