"""fev.codec.fit.tune on a seeded fit: neither its order nor its constants move unnoticed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fev.codec.fit.tune import ClipFit, TuneSettings, coded_size


def bar() -> torch.Tensor:
    """A bright bar that slides and changes colour before a dark gradient, 12 frames at 64 pixels."""
    axis = torch.linspace(-1, 1, 64)
    frames = []
    for k in range(0, 24, 2):
        bright = torch.exp(-(((axis - 0.3 * np.sin(k / 4)) / 0.15) ** 2))
        rows = torch.stack([bright * 0.8, bright * 0.8 * np.cos(k / 7), axis * 0.3])
        frames.append(rows[:, None].expand(3, 64, 64))
    return torch.stack(frames) - 0.3


def test_a_fit_finds_what_it_always_found(tiny_model):
    settings = TuneSettings(steps=((32, 12), (64, 12)), batch=4, rank=1)
    fit = ClipFit(tiny_model, bar(), torch.zeros(12), torch.zeros(12, 35), settings, 2000, 0.1, 0.1)
    fit.run()
    identity, delta = fit.finish()
    # A value on a rounding edge may fall either way on another processor.
    assert np.abs(identity - [-3, 4, -4, 3, 6, 0, 6, 6, 5, 5, 6, 4]).max() <= 1
    motion = [0.24737, 0.22887, 0.27169, 0.32157, -0.21231, 0.26787]
    assert fit.motion.detach()[0, :6].tolist() == pytest.approx(motion, abs=0.02)
    assert len(delta) == pytest.approx(42, abs=2) and 1900 < coded_size(delta) <= 2000
    assert sum(int(np.abs(part.values).sum()) for part in delta) == pytest.approx(14175, rel=0.05)


def test_a_price_of_nothing_spends_all_there_is(tiny_model):
    """What nobody has to send is fitted without a thought of its bytes."""
    sums = []
    for price in (1e-3, 0.0):
        settings = TuneSettings(steps=((32, 12),), batch=4, rank=1, price=price)
        fit = ClipFit(tiny_model, bar(), torch.zeros(12), torch.zeros(12, 35), settings, 2000, 0.1, 0.1)
        fit.run()
        sums.append(sum(int(np.abs(part.values).sum()) for part in fit.quantised()))
    assert sums[0] < 0.5 * sums[1]
