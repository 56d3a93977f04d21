"""Pivotal tuning of all weights: pivots stay, frames are met, the generator it began with is left alone."""

from __future__ import annotations

import torch
from fev.codec.paper.pti import tune_all, weight_bytes
from fev.codec.paper.similarity import Similarity


def test_all_weights_reach_what_the_pivots_alone_do_not(tiny_model, tiny_space):
    before = {k: v.clone() for k, v in tiny_model.generator.state_dict().items()}
    base = tiny_space.base(torch.zeros(tiny_space.rank))
    motion = 0.5 * torch.randn(3, tiny_space.params, generator=torch.Generator().manual_seed(0))
    drive = tiny_space.drive(base, motion)
    with torch.no_grad():
        pictures = tiny_model.generator(drive.ws, drive.moving, drive.added)
    frames = pictures.clone()
    frames[:, :, 20:40, 20:40] += 0.3 * pictures.std()  # something that no parameter moves
    steps: list[int] = []
    tuned = tune_all(
        tiny_model.generator, tiny_space, base, motion, frames, Similarity(), steps=120, progress=steps.append
    )
    with torch.no_grad():
        after = tuned(drive.ws, drive.moving, drive.added)
    assert steps == list(range(1, 121)), "without LPIPS there is no early end"
    assert (after - frames).square().mean() < 0.3 * (pictures - frames).square().mean()
    assert all(torch.equal(v, before[k]) for k, v in tiny_model.generator.state_dict().items())


def test_it_ends_when_lpips_is_low(tiny_model, tiny_space):
    class Alike(torch.nn.Module):
        def forward(self, a, b):
            return (a - b).square().mean((1, 2, 3)) * 0 + 0.05

    base = tiny_space.base(torch.zeros(tiny_space.rank))
    steps: list[int] = []
    tune_all(
        tiny_model.generator, tiny_space, base, torch.zeros(2, tiny_space.params), torch.zeros(2, 3, 64, 64),
        Similarity(Alike()), steps=9, progress=steps.append,
    )  # fmt: skip
    assert steps == [1]


def test_its_size_is_that_of_the_weights(tiny_model):
    generator = tiny_model.generator
    assert generator.mapping is None
    assert weight_bytes(generator) == 2 * sum(p.numel() for p in generator.parameters())
