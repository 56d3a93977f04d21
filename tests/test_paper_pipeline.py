"""The pipeline's stages together, on clips that a tiny generator draws: every stage brings the pictures nearer."""

from __future__ import annotations

import pytest
import torch
from fev.codec.delta import step_size
from fev.codec.paper import pipeline
from fev.codec.paper.pipeline import Face, Plan
from fev.codec.paper.registration import rigid
from fev.codec.paper.similarity import regions
from fev.codec.units import IDENTITY_CODE

ATTRIBUTES = ["mouth", "mouth", "eyes", "brows"]


def still(face: Face, base: torch.Tensor, motion: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        drive = face.space.drive(base, motion)
        return face.generator(drive.ws, drive.moving, drive.added)


@pytest.fixture
def clip(tiny_model, tiny_space, monkeypatch):
    """A face, ten frames of it that its parameters reach, and the parameters.

    A W+ code cannot hold what StyleSpace moves, so the rendered inversions are stood in for by the frames.
    """
    generator, space = tiny_model.generator, tiny_space
    code = tiny_model.latents.base(torch.randn(12, generator=torch.Generator().manual_seed(5)))
    time = torch.arange(10.0)
    shape = torch.stack([0.4 * torch.sin(time * 0.5 + k) for k in range(4)], 1)
    motion = torch.cat([shape, time[:, None] * 1.2 - 6, 3 - time[:, None] * 0.6, torch.zeros(10, 1)], 1)
    face = Face(generator, space, lambda x: code.expand(len(x), -1, -1), ATTRIBUTES, torch.full((4,), 0.4))
    frames = still(face, pipeline.base_of(face, pipeline.quantised_identity(face, code)), motion).clamp(-1, 1)
    monkeypatch.setattr(pipeline, "drawn", lambda face, ws, size: iter(frames.split(pipeline.BLOCK)))
    return face, frames, motion


def encoded(clip, plan: Plan):
    face, frames, _ = clip
    return pipeline.encode(face, frames.split(4), lambda rows: frames[rows], plan)


def test_each_stage_brings_the_pictures_nearer(clip):
    face, frames, truth = clip
    plan = Plan(size=64, pose_steps=25, facial_steps=60)
    found = encoded(clip, plan)
    base = pipeline.base_of(face, found.identity)
    assert (base - found.codes[0]).abs().max() <= step_size(IDENTITY_CODE) * 0.25 / 2 + 1e-6
    rest = torch.zeros_like(found.motion)
    turned = pipeline.search(face, found.codes, base, found.channels, plan, shape=False)
    stiff = rigid(64)
    soft = (regions(64)["lower"] + regions(64)["upper"]).clamp(max=1)
    squared = [(still(face, base, m) - frames).square() for m in (rest, turned, found.motion)]
    # each stage where it looks; pose is searched first and takes what it can of the channels' changes
    assert (squared[1] * stiff).mean() < 0.9 * (squared[0] * stiff).mean()
    assert (squared[2] * soft).mean() < 0.9 * (squared[1] * soft).mean()
    assert (found.motion[:, -1] == 0).all(), "roll belongs to the placement"


def test_blocks_do_not_show(clip, monkeypatch):
    """Blocks of three and of ten frames: a block begins where the last one ended, so the searches come equally far but
    for the way there.  The pictures differ by a ninth of what the motion moves them; it has to stay below a seventh."""
    face, _, _ = clip
    plan = Plan(size=64, pose_steps=40, facial_steps=100)
    pictures = []
    for block in (3, 10):
        monkeypatch.setattr(pipeline, "BLOCK", block)
        found = encoded(clip, plan)
        base = pipeline.base_of(face, found.identity)
        pictures.append(still(face, base, found.motion))
    apart = (pictures[0] - pictures[1]).square().mean().sqrt()
    moved = (pictures[0] - still(face, base, torch.zeros(1, 7))).square().mean().sqrt()
    assert apart < moved / 7


def test_progress_counts_every_frame_of_every_stage(clip):
    face, frames, _ = clip
    seen: dict[str, int] = {}
    pipeline.encode(
        face, frames.split(4), lambda rows: frames[rows], Plan(64, 1, 1),
        lambda stage, n: seen.__setitem__(stage, seen.get(stage, 0) + n),
    )  # fmt: skip
    assert seen == {"invert": 10, "search": 10}
