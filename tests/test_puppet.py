"""Puppeteering: whose face, whose motion, how parameters are carried over, and the mark that must stay on it."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path

import av
import fev
import numpy as np
import pytest
import torch
from fev.codec.decoder import SYNTHETIC_MARK
from fev.codec.draw.units import step_code
from fev.codec.fit.regression import SHRINK, regression
from fev.codec.puppet import FLOOR, roaming, within_reach
from fev.format.actor import Actor
from fev.format.container import Writer
from fev.format.errors import ModelMismatchError
from fev.format.header import Header
from fev.format.modes import Modes
from fev.format.segment import Segment
from test_cli import SAMPLE, bad, command

STEP = step_code(0.25)


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> tuple[Path, Path]:
    """Two stretches of the sample: who is seen, and another moment of theirs with other times and with sound."""
    folder = tmp_path_factory.mktemp("pair")
    who, how = folder / "who.fev", folder / "how.fev"
    fev.encode(SAMPLE, who, preset="fast", duration=1.0, audio=False)
    fev.encode(SAMPLE, how, preset="fast", start=1.5, duration=1.2)
    return who, how


@pytest.fixture(scope="module")
def played(pair) -> Path:
    out = pair[0].with_name("played.fev")
    report = fev.puppet(*pair, out)
    assert (report.bytes, report.frames, report.learnt) == (out.stat().st_size, 30, False)
    return out


def segments(path: Path) -> list[Segment]:
    with fev.open(path) as reader:
        return list(reader.segments())


def test_the_look_is_of_one_file_and_the_motion_of_the_other(pair, played):
    with fev.open(pair[0]) as who, fev.open(pair[1]) as how, fev.open(played) as made:
        np.testing.assert_array_equal(made.who().values, who.who().values)
        assert made.who().pivot == who.who().pivot and made.cast.sets == who.cast.sets
        assert made.audio == how.audio
        assert (made.header.width, made.header.time_base, made.header.fps) == (
            who.header.width, how.header.time_base, how.header.fps,
        )  # fmt: skip
    for there, here in zip(segments(pair[1]), segments(played), strict=True):
        np.testing.assert_array_equal(here.motion, there.motion)  # both are `fast`: parameters mean the same
        np.testing.assert_array_equal(here.pts, there.pts)
        assert here.audio == there.audio
    assert fev.verify(played).ok


def test_the_file_says_that_it_is_synthetic_and_of_what_it_was_made(pair, played):
    with fev.open(played) as made:
        assert made.header.synthetic
        assert made.meta == {
            "synthetic": True,
            "identity_file_sha256": hashlib.sha256(pair[0].read_bytes()).hexdigest(),
            "motion_file_sha256": hashlib.sha256(pair[1].read_bytes()).hexdigest(),
        }
    result = command("info", played)
    assert b"synthetic" in result.stdout


def test_decoding_prints_the_mark_and_the_video_carries_it(played, tmp_path):
    out = tmp_path / "out.mp4"
    result = command("decode", played, out)
    assert result.returncode == 0 and b"synthetic" in result.stderr
    with av.open(str(out)) as container:
        assert container.metadata["comment"] == SYNTHETIC_MARK


def test_a_puppet_can_be_an_identity_and_stays_marked(pair, played, tmp_path):
    again = tmp_path / "again.fev"
    fev.puppet(played, pair[0], again)
    with fev.open(again) as made:
        assert made.header.synthetic
        assert made.meta["identity_file_sha256"] == hashlib.sha256(played.read_bytes()).hexdigest()


def stream(model: str, mix: np.ndarray, motion: np.ndarray, texture: int = 0) -> io.BytesIO:
    """A file without pictures: a diagonal mix, and a texture of its own if `texture` says so."""
    modes = Modes.empty(np.concatenate([np.zeros((len(mix), 1), np.int32), np.diag(mix)], 1).astype(np.int32), STEP)
    if texture:
        modes.luma[1, 0, 0] = texture
    header = Header(64, 64, (1, 30), (30, 1), bytes.fromhex(model), 35, crop=True, segment_frames=4)
    out = io.BytesIO()
    writer = Writer(out, header, actors=[Actor.of(np.array([3, -2, 1], np.int32), STEP, STEP, modes=modes)])
    for i in range(0, len(motion), 4):
        part = motion[i : i + 4]
        writer.write_segment(Segment.single(i // 4, i, np.arange(i, i + len(part)), part))
    writer.close()
    return io.BytesIO(out.getvalue())


def test_parameters_keep_their_meaning_where_units_differ(tiny_sha, tiny_model_file):
    """A plain mix is a choice of units: what drives the model is the same, to half a step of the identity's units."""
    rng = np.random.default_rng(1)
    motion = rng.integers(-9, 10, (8, 35)).astype(np.int32)
    coarse, fine = rng.integers(4, 9, 35), rng.integers(1, 4, 35)
    out = io.BytesIO()
    report = fev.puppet(stream(tiny_sha, fine, 0 * motion[:4]), stream(tiny_sha, coarse, motion), out,
                        model=str(tiny_model_file))  # fmt: skip
    assert not report.learnt and report.frames == 8
    got = np.concatenate([s.motion for s in fev.open(io.BytesIO(out.getvalue())).segments()])
    off = np.abs(got * fine - motion * coarse) / fine
    assert off.max() <= 0.5 + 1e-4


def test_a_motion_may_come_in_several_revisions(tiny_sha, tiny_model_file):
    """Its units change in the middle; what drives the model goes on.  The identity is that of the first revision."""
    motion = np.random.default_rng(1).integers(-9, 10, (8, 35)).astype(np.int32)
    how, first = io.BytesIO(), fev.open(stream(tiny_sha, np.full(35, 2), motion))
    parts = first.cast.newest(0)
    modes = parts.identity(first.header).modes
    revisions = [
        Actor.of(
            np.array([3, -2, 1], np.int32), STEP, STEP, modes=replace(modes, mix=factor * modes.mix), revision=count
        )
        for count, factor in enumerate((1, 3))
    ]
    writer = Writer(how, first.header, actors=revisions[:1])
    for segment, actor in zip(first.segments(), revisions, strict=True):
        if actor.revision:
            writer.write_actor(actor)
        writer.write_segment(replace(segment, actors=[replace(segment.actors[0], revision=actor.revision)]))
    writer.close()
    plain = stream(tiny_sha, np.ones(35, int), 0 * motion[:4])
    out = io.BytesIO()
    fev.puppet(plain, io.BytesIO(how.getvalue()), out, model=str(tiny_model_file))
    got = np.concatenate([s.motion for s in fev.open(io.BytesIO(out.getvalue())).segments()])
    np.testing.assert_array_equal(got, motion * np.repeat([2, 6], 4)[:, None])
    report = fev.puppet(io.BytesIO(how.getvalue()), io.BytesIO(how.getvalue()), out, model=str(tiny_model_file))
    assert report.frames == 8


def test_parameters_with_modes_of_their_own_are_learnt_from_pictures(tiny_sha, tiny_model_file):
    """The same motion put back on its own clip, through the pictures: it must come out as it was, but for the shrinkage
    of the regression, where pictures show it."""
    t = np.arange(48)
    motion = np.zeros((48, 35), np.int32)
    motion[:, 0] = np.round(40 * np.sin(t / 3))
    mix = np.zeros(35, int)  # nothing drives the generator: the texture is all that moves
    clip = stream(tiny_sha, mix, motion, texture=30).getvalue()
    out = io.BytesIO()
    report = fev.puppet(io.BytesIO(clip), io.BytesIO(clip), out, model=str(tiny_model_file))
    assert report.learnt
    got = np.concatenate([s.motion for s in fev.open(io.BytesIO(out.getvalue())).segments()])
    assert not got[:, 1:].any()
    assert np.corrcoef(got[:, 0], motion[:, 0])[0, 1] > 0.97
    assert 0.7 < got[:, 0].std() / motion[:, 0].std() < 1.05


def test_ridge_regression_of_one_feature_has_a_closed_form():
    x = torch.randn(400, 1, generator=torch.Generator().manual_seed(2))
    y = torch.cat([3 * x + 1, -x], 1)
    torch.testing.assert_close(regression(x, y), torch.tensor([[3.0, -1.0]]) / (1 + SHRINK), rtol=1e-4, atol=0)


def test_a_motion_stays_as_lively_as_the_identity():
    rng = torch.Generator().manual_seed(3)
    own = torch.randn(2000, 3, generator=rng) * torch.tensor([4.0, 1.0, 0.0]) + 5
    wild = 20 * torch.randn(500, 3, generator=rng) * torch.tensor([4.0, 1.0, 1.0])
    held = within_reach(own, wild)
    assert not held[:, 2].any(), "what never moves in its clip is not moved"
    # both are normal and of one shape, so their quantiles agree once they are scaled
    assert float(held[:, 0].std()) == pytest.approx(float(own[:, 0].std()), rel=0.15)
    far = (held[:, :2] / torch.tensor([4.0, 1.0]) / (1 + FLOOR * 8.5) ** 0.5).norm(dim=1)
    assert far.max() < 2.4, "90 % of two normal numbers lie within 2.15"
    calm = own[:50] - own.mean(0)
    calm *= 0.1
    torch.testing.assert_close(within_reach(own, calm)[:, :2], calm[:, :2], rtol=1e-4, atol=1e-6)


def test_the_square_follows_but_stays_where_its_background_is():
    own = np.array([[100.0, 80, 50, 0.0], [104, 80, 52, 0.1], [102, 84, 51, 0.05]])
    moving = np.array([[300.0, 200, 100, 0.2], [304, 200, 100, 0.2], [800, 200, 100, 0.2]])
    got = roaming(moving, own, moving)
    rest = np.median(own, 0)
    np.testing.assert_allclose(got[1], rest)  # the motion's own rest
    np.testing.assert_allclose(got[0, 0], rest[0] - 4 / 100 * rest[2])
    assert got[2, 0] == pytest.approx(104 + 0.05 * rest[2]), "not beyond what was seen"
    np.testing.assert_array_equal(roaming(np.zeros((2, 4)), own, None), np.tile(rest, (2, 1)))


def test_files_of_two_models_do_not_go_together(pair, tiny_sha, tmp_path):
    other = tmp_path / "other.fev"
    other.write_bytes(stream(tiny_sha, np.ones(35, int), np.zeros((4, 35), np.int32)).getvalue())
    with pytest.raises(ModelMismatchError, match="different models"):
        fev.puppet(other, pair[1], tmp_path / "out.fev")
    assert not (tmp_path / "out.fev").exists()


def test_the_command(pair, played, tmp_path):
    out = tmp_path / "out.fev"
    words = ["--identity", pair[0], "--motion", pair[1], out]
    result = command("puppet", *words, "--json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["frames"] == 30
    assert out.read_bytes() == played.read_bytes()
    bad(command("puppet", *words), "exists")
    assert command("puppet", "--identity", pair[0], out).returncode == 2
    (tmp_path / "junk.fev").write_bytes(b"junk" * 9)
    bad(command("puppet", "--identity", tmp_path / "junk.fev", "--motion", pair[1], out, "--force"))
    silent = tmp_path / "silent.fev"
    assert command("puppet", *words[:-1], silent, "--no-audio").returncode == 0
    with fev.open(silent) as made:
        assert made.audio is None and not any(s.audio for s in made.segments())


def test_a_held_frame_stays_held(tiny_sha, tiny_model_file):
    motion = np.arange(4 * 35).reshape(4, 35).astype(np.int32)
    motion[2] = motion[1]
    data = stream(tiny_sha, np.ones(35, int), motion).getvalue()
    reader = fev.open(io.BytesIO(data))
    segment = next(reader.segments()).with_alone(held=np.array([False, False, True, False]))
    held = io.BytesIO()
    writer = Writer(held, reader.header, actors=[reader.cast.newest(0)])
    writer.write_segment(segment)
    writer.close()
    out = io.BytesIO()
    fev.puppet(io.BytesIO(data), io.BytesIO(held.getvalue()), out, model=str(tiny_model_file))
    (made,) = fev.open(io.BytesIO(out.getvalue())).segments()
    assert made.held.tolist() == [False, False, True, False]
    np.testing.assert_array_equal(made.motion, motion)
