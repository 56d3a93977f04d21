"""Identity budgets: kept to the byte by every preset, and the least that there can be."""

from __future__ import annotations

import fev
import numpy as np
import pytest
import torch
from efforts import quick
from fev.codec.encode.options import EncodeOptions
from fev.codec.face.portrait import Conditions
from fev.codec.fit.appearance import Fitter
from fev.codec.fit.budget import LEAST_BUDGET
from fev.codec.fit.carrier import CarrierSettings, Spending
from fev.codec.fit.cropstore import CropStore
from fev.codec.fit.keyframes import within
from fev.codec.fit.stages import Stages
from fev.format import Reader
from fev.format.errors import UsageError
from fev.format.identity import encode_identity
from fev.format.reference import PARTS
from test_cli import SAMPLE, bad, command

CLIP = dict(crop=True, audio=False)


@pytest.mark.parametrize("preset", ["fast", "medium", "slow"])
@pytest.mark.parametrize("budget", [LEAST_BUDGET, 40, 300, 2000, 8192])
def test_budgets_are_kept_to_the_byte(preset, budget, tiny_model):
    """`slow` without a pivot, so that weights are tuned as well.  What a stream then holds is weighed."""
    fitter = Fitter(tiny_model, CarrierSettings(quick(preset), pivot=preset != "slow"), Stages())
    store, size = CropStore(64), torch.linspace(-1, 1, 64)
    for k in range(12):
        wave = torch.sin(9 * size + k / 3)[:, None] * torch.cos(7 * size - k / 5)[None]
        store.append(((wave + 1) * 127.5).byte()[..., None].expand(-1, -1, 3).numpy())
    frames = store.read(range(12))
    guess = fitter.guess(frames)
    good = Conditions.good(12)
    spending = Spending(budget=budget)
    fit = fitter.at_once if preset == "fast" else fitter.fit
    look = fit(frames if preset == "fast" else store, guess, good, spending)
    kept = within(look.identity, budget)
    np.testing.assert_array_equal(kept, look.identity)
    spent = look.actor().size
    assert LEAST_BUDGET <= spent <= budget
    if preset == "medium" and budget == 2000:
        assert look.pivot is not None and look.modes is not None and spent > 1000, "and it is used"


@pytest.mark.parametrize("budget", [300, 8192])
def test_the_budget_is_what_the_file_s_chunks_come_to(budget, tmp_path):
    out = tmp_path / "out.fev"
    fev.encode(SAMPLE, out, preset="fast", duration=0.2, identity_budget=budget, **CLIP)
    with out.open("rb") as file:
        reader = Reader(file)
        actor = reader.cast.newest(0)
        list(reader.segments())
        sections = reader.sections()
    assert set(actor.parts) <= set(PARTS)
    assert actor.size == sections["identity"] + sections["delta"] + sections["modes"] <= budget


def test_the_least_budget_is_what_the_least_identity_takes(tmp_path):
    assert len(encode_identity(np.zeros(1, np.int32))) == LEAST_BUDGET
    for budget in (0, LEAST_BUDGET - 1):
        with pytest.raises(UsageError, match=f"not within {LEAST_BUDGET}"):
            EncodeOptions(identity_budget=budget)
    bad(command("encode", SAMPLE, tmp_path / "a.fev", "--identity-budget", "0"), "0 bytes", "least", code=2)


def test_an_identity_is_cut_to_its_room():
    values = np.array([5, -3, 0, 900, 1, 0, 2, 0, 0], np.int32)
    assert within(values, 1000).tolist() == values[:7].tolist()
    for room in range(LEAST_BUDGET, 20):
        kept = within(values, room)
        assert len(encode_identity(kept)) <= room and (kept == values[: len(kept)]).all() | (not kept.any())
    assert within(np.zeros(4, np.int32), 6).tolist() == [0]
    with pytest.raises(UsageError, match="5"):
        within(values, 5)
