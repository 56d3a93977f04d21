"""Index sensitivity against its definition, and the discovery of channels by it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from fev.codec.model.stylespace import Basis
from fev.codec.paper.attributes import COUNTS, PARTS, changes, geometric_masks, parsed_masks, sensitivities
from fev.codec.paper.bisenet import LABELS
from fev.tools.lab import discover


def test_masks_lie_where_the_alignment_puts_the_parts():
    masks = geometric_masks(64)
    assert list(masks) == list(COUNTS) == list(PARTS)
    middle = {k: (torch.nonzero(m[0, 0]).float().mean(0) / 32 - 1).tolist() for k, m in masks.items()}
    rows = {k: y for k, (y, _) in middle.items()}
    assert rows["brows"] < rows["eyes"] == pytest.approx(rows["gaze"], abs=0.05)
    assert rows["eyes"] < rows["mouth"] < rows["jaw"]
    assert all(abs(x) < 0.05 for _, x in middle.values())
    assert not (masks["mouth"] * masks["jaw"]).any() and not (masks["eyes"] * masks["brows"]).all()


class Parsing:
    """Calls the left of every picture a left eye, the right skin."""

    def of_square(self, pictures):
        scores = torch.zeros(len(pictures), len(LABELS), 64, 64)
        scores[:, LABELS.index("left eye"), :, :32] = 1
        scores[:, LABELS.index("skin"), :, 32:] = 1
        return scores


def test_parsed_masks_are_grown_but_not_for_gaze_and_the_jaw_is_skin_below():
    masks = parsed_masks(Parsing(), torch.zeros(1, 3, 64, 64))
    assert masks["gaze"].sum() == 64 * 32
    assert masks["eyes"].sum() == 64 * 34 or masks["eyes"].sum() == 64 * 35
    assert masks["brows"].sum() == masks["mouth"].sum() == 0
    low = geometric_masks(64)["jaw"]
    assert torch.equal(masks["jaw"][0, 0, :, 34:], low[0, 0, :, 34:]) and masks["jaw"][..., :30].sum() == 0


@torch.no_grad()
def test_sensitivity_is_its_definition(tiny_model):
    generator = tiny_model.generator
    size = generator.config.resolution
    styles = generator.styles(discover.faces(tiny_model, 1))
    chosen, steps = [(2, 1), (5, 0), (2, 3)], [0.3, 0.5, 0.2]
    masks = [geometric_masks(size)[k] for k in ("mouth", "eyes", "jaw")]
    found = sensitivities(generator, styles, chosen, steps, masks, size)
    for k, ((layer, channel), step) in enumerate(zip(chosen, steps, strict=True)):
        pictures = []
        for sign in (1, -1):
            moved = [s.clone() for s in styles]
            moved[layer][0, channel] += sign * step
            pictures.append(generator.synthesis(moved).clamp(-1, 1))
        change = (pictures[0] - pictures[1]).abs().mean(1, keepdim=True)
        expected = (change * masks[k]).sum() / masks[k].sum() / (2 * step)
        assert float(found[k]) == pytest.approx(float(expected), rel=1e-3, abs=1e-7)


@torch.no_grad()
def test_channels_that_do_not_move_are_left_out(tiny_model):
    generator = tiny_model.generator
    styles = generator.styles(discover.faces(tiny_model, 1))
    steps = torch.zeros(styles[2].shape[1])
    steps[[0, 4]] = 0.1
    seen = [c for channels, _ in changes(generator, styles, 2, steps, 32, batch=1) for c in channels.tolist()]
    assert seen == [0, 4]


def test_the_strongest_channels_of_each_attribute_are_chosen_once():
    rng = np.random.default_rng(0)
    score = rng.random((300, len(COUNTS))) * 0.1
    planted = {name: [60 * k + j for j in range(n)] for k, (name, n) in enumerate(COUNTS.items())}
    for k, (name, rows) in enumerate(planted.items()):
        score[rows, k] = np.linspace(2, 1, len(rows)) * 10.0**-k  # attributes of very different strength
    score[:, 1:] *= np.array([1, 0.1, 0.01, 0.001])
    for k, rows in enumerate(planted.values()):
        score[rows, k] = np.linspace(2, 1, len(rows)) * 10.0**-k
    chosen = discover.choose({"score": score})
    assert chosen == planted


def test_discovery_writes_a_basis_that_import_takes(tmp_path, monkeypatch, capsys, tiny_model_file):
    out = tmp_path / "basis.json"
    sheet = tmp_path / "sheet.png"
    arguments = [
        "--model",
        str(tiny_model_file),
        "--out",
        str(out),
        "--sheet",
        str(sheet),
        "--faces",
        "1",
        "--size",
        "32",
    ]
    assert discover.work(arguments) == 0
    basis = json.loads(out.read_text())
    assert len(basis["channels"]) == len(basis["attributes"]) == len(basis["gamma"]) <= sum(COUNTS.values())
    assert len({tuple(c) for c in basis["channels"]}) == len(basis["channels"])
    assert all(0 < g and 0 < s <= 1 for g, s in zip(basis["gamma"], basis["share"], strict=True))
    read = Basis.read(out.read_text())
    assert [list(c) for c in read.channels] == basis["channels"] and list(read.attributes) == basis["attributes"]
    assert "| mouth |" in capsys.readouterr().out and sheet.stat().st_size > 1000
