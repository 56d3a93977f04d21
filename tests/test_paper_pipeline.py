"""The pipeline's stages together, on clips that a tiny generator draws: every stage brings the pictures nearer."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from fev.codec.draw.units import IDENTITY_STEP_CODE, step_size
from fev.codec.face.registration import rigid
from fev.codec.model.stylegan2 import Generator
from fev.codec.paper import pipeline
from fev.codec.paper.pipeline import Face, SearchSettings
from fev.codec.paper.similarity import regions

ATTRIBUTES = ["mouth", "mouth", "eyes", "brows"]


def still(face: Face, base: torch.Tensor, motion: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        drive = face.space.drive(base, motion)
        return face.generator(drive.ws, drive.moving, drive.added)


@pytest.fixture
def clip(tiny_model, tiny_space, monkeypatch):
    """A face, ten frames of it that its parameters reach, and the parameters.

    A W+ code cannot hold what StyleSpace moves, so the rendered inversions are stood in for by the frames, which the
    parameters reach: unclamped, as the pipeline's targets are.
    """
    generator, space = tiny_model.generator, tiny_space
    code = tiny_model.latents.base(torch.randn(12, generator=torch.Generator().manual_seed(5)))
    time = torch.arange(10.0)
    shape = torch.stack([0.4 * torch.sin(time * 0.5 + k) for k in range(4)], 1)
    motion = torch.cat([shape, time[:, None] * 1.2 - 6, 3 - time[:, None] * 0.6, torch.zeros(10, 1)], 1)
    face = Face(generator, space, lambda x: code.expand(len(x), -1, -1), ATTRIBUTES, torch.full((4,), 0.4))
    frames = still(face, pipeline.base_of(face, pipeline.quantised_identity(face, code)), motion)
    monkeypatch.setattr(pipeline, "drawn", lambda face, ws, size, batch: iter(frames.split(pipeline.SEGMENT)))
    return face, frames, motion


def encoded(clip, plan: SearchSettings):
    face, frames, _ = clip
    return pipeline.encode(face, frames.split(4), lambda rows: frames[rows], plan)


def test_each_stage_brings_the_pictures_nearer(clip):
    face, frames, truth = clip
    plan = SearchSettings(size=64, pose_steps=25, facial_steps=60)
    found = encoded(clip, plan)
    base = pipeline.base_of(face, found.identity)
    assert (base - found.codes[0]).abs().max() <= step_size(IDENTITY_STEP_CODE) * 0.25 / 2 + 1e-6
    rest = torch.zeros_like(found.motion)
    turned = pipeline.search(face, found.codes, base, found.channels, plan, shape=False)
    stiff = rigid(64)
    soft = (regions(64)["lower"] + regions(64)["upper"]).clamp(max=1)
    posed = torch.cat([rest[:, :4], truth[:, 4:]], 1)
    squared = [(still(face, base, m) - frames).square() for m in (rest, turned, found.motion, posed)]
    error = [float(s.mean()) for s in squared]
    assert error[1] < 0.2 * error[0] and error[2] < 0.9 * error[1]
    # and each stage where it looks
    assert (squared[1] * stiff).mean() < 0.1 * (squared[0] * stiff).mean()
    assert (squared[2] * soft).mean() < 0.5 * (squared[1] * soft).mean()
    # without the channels' changes, no pose is nearer there than the one found: not even the true one
    assert (squared[1] * stiff).mean() <= (squared[3] * stiff).mean()
    assert (found.motion[:, -1] == 0).all(), "roll belongs to the placement"


def moved_apart(face: Face, base: torch.Tensor, one: torch.Tensor, other: torch.Tensor) -> tuple[float, float]:
    """How far the pictures of two motions are apart, on average and at worst, in what the motion moves them."""
    pictures = still(face, base, one)
    apart = (pictures - still(face, base, other)).square()
    moved = (pictures - still(face, base, torch.zeros(1, one.shape[1], dtype=one.dtype))).square().mean().sqrt()
    return float(apart.mean().sqrt() / moved), float(apart.mean((1, 2, 3)).amax().sqrt() / moved)


def test_the_batch_does_not_show(clip):
    """Ten frames, a segment of eight and one of two, computed in batches of eight or of another number: what is left is
    float32.  AdamW's first steps are as long for a gradient of rounding as for a real one, so that 1e-7 may grow; it
    grows to 1e-3 here."""
    face, _, _ = clip
    plan = SearchSettings(size=64, pose_steps=8, facial_steps=15)
    usual = encoded(clip, plan)
    base = pipeline.base_of(face, usual.identity)
    for batch in (1, 3, 100):
        found = encoded(clip, replace(plan, batch=batch))
        assert torch.equal(usual.identity, found.identity)
        assert moved_apart(face, base, usual.motion, found.motion)[1] < 0.004


@pytest.fixture
def doubles(clip, monkeypatch):
    """The clip, with everything computed in float64."""
    face, frames, motion = clip
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    monkeypatch.setitem(Generator.synthesis.__kwdefaults__, "dtype", torch.float64)
    wide = Face(
        copy.deepcopy(face.generator).double(), copy.deepcopy(face.space).double(),
        lambda x: face.invert(x).double(), ATTRIBUTES, face.deviation.double(),
    )  # fmt: skip
    monkeypatch.setattr(pipeline, "drawn", lambda face, ws, size, batch: iter(frames.double().split(pipeline.SEGMENT)))
    yield wide, frames.double(), motion.double()
    torch.set_default_dtype(before)


def test_in_doubles_the_batch_does_not_show_at_all(doubles):
    """The same arithmetic in another order: no frame's search sees how many others are computed with it."""
    plan = SearchSettings(size=64, pose_steps=4, facial_steps=8)
    usual = encoded(doubles, plan).motion
    assert usual.dtype == torch.float64 and usual.abs().max() > 1
    for batch in (1, 3):
        found = encoded(doubles, replace(plan, batch=batch)).motion
        torch.testing.assert_close(found, usual, rtol=0, atol=1e-9)


def test_segments_hardly_show(clip, monkeypatch):
    """Segments of three and of ten frames, which are other searches: each begins where the last one ended.  They come
    equally far but for the way there: the pictures differ by a twentieth of what the motion moves them."""
    face, _, _ = clip
    plan = SearchSettings(size=64, pose_steps=40, facial_steps=100)
    motions = []
    for segment in (3, 10):
        monkeypatch.setattr(pipeline, "SEGMENT", segment)
        found = encoded(clip, plan)
        motions.append(found.motion)
    assert moved_apart(face, pipeline.base_of(face, found.identity), *motions)[0] < 0.08


def test_a_clip_in_two_parts_is_the_clip(clip):
    """A search goes on where it was left, as a live encoder does with its segments."""
    face, frames, _ = clip
    plan = SearchSettings(size=64, pose_steps=6, facial_steps=8)
    whole = encoded(clip, plan)
    base, at = pipeline.base_of(face, whole.identity), pipeline.SearchState.at_rest(face)
    segments = iter(frames.split(pipeline.SEGMENT))
    parts = []
    for codes in whole.codes.split(pipeline.SEGMENT):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pipeline, "drawn", lambda *_: iter([next(segments)]))
            parts.append(pipeline.search(face, codes, base, whole.channels, plan, reached=at))
    assert torch.equal(torch.cat(parts), whole.motion)


def test_progress_counts_every_frame_of_every_stage(clip):
    face, frames, _ = clip
    seen: dict[str, int] = {}
    pipeline.encode(
        face, frames.split(4), lambda rows: frames[rows], SearchSettings(64, 1, 1),
        lambda stage, n: seen.__setitem__(stage, seen.get(stage, 0) + n),
    )  # fmt: skip
    assert seen == {"invert": 10, "search": 10}
