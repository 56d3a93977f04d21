"""The tools that train motion's rows and take its bits apart (fev.tools.lab.train.motiontables, motionbits)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fev.format.actor import Actor
from fev.format.container import Writer
from fev.format.header import Header
from fev.format.motion import encode_motion
from fev.format.motioncontexts import MotionContexts
from fev.format.segment import Segment
from fev.format.tables import EDGE, ROWS, SYMBOLS
from fev.tools.lab.train import motionbits, motiontables
from fev.tools.make_tables import parse, render

FRAMES = 60


@pytest.fixture
def moving(tmp_path) -> tuple[Path, np.ndarray]:
    """A file of one segment: the first parameters move most, what moves goes on, every fourth frame stands still."""
    rng = np.random.default_rng(1)
    steps = np.zeros((FRAMES, 35))
    for t in range(1, FRAMES):
        steps[t] = 0.8 * steps[t - 1] + rng.normal(0, np.linspace(1.2, 0.1, 35))
    steps[::4] = 0
    motion = np.round(np.cumsum(steps, 0)).astype(np.int32)
    motion[4::4] = motion[3:-1:4]
    path = tmp_path / "moving.fev"
    header = Header(64, 64, (1, 25), (25, 1), bytes(32), crop=True, segment_frames=FRAMES)
    with open(path, "wb") as file, Writer(file, header, actors=[Actor.of(np.array([1], np.int32), 0, 0)]) as writer:
        writer.write_segment(Segment.single(0, 0, np.arange(FRAMES), motion))
    return path, motion


def test_every_residual_is_counted_once(moving):
    path, motion = moving
    seen, frames = motiontables.counts(path)
    residuals = np.diff(motion, axis=0)
    residuals = residuals[residuals.any(1)]
    assert frames == FRAMES and seen.shape == (2 * MotionContexts.GROUPS, ROWS, SYMBOLS)
    assert seen.sum() == residuals.size
    assert seen[..., EDGE].sum() == (residuals == 0).sum()
    assert seen[1::2].sum() == (residuals[:-1] != 0).sum(), "those after a movement"


def test_trained_rows_add_up_and_follow_the_movement(moving):
    rows = motiontables.trained(motiontables.counts(moving[0])[0])
    assert parse(render(rows.tolist())) == rows.tolist()
    assert (rows[::2, :, :31] == rows[::2, :, 30::-1]).all(), "without a movement before, v and -v cost the same"
    onward = rows[1, 24]
    assert onward[EDGE + 1 :].sum() > 1.2 * onward[:EDGE].sum()


def test_the_last_row_is_what_the_file_takes(moving):
    path, motion = moving
    found = motionbits.measured(path)
    totals = {name: bits.sum() * FRAMES / 8 for name, bits in found.items()}
    last = list(totals.values())[-1]
    assert last == pytest.approx(len(encode_motion(motion)) - 2, rel=0.01, abs=1.5), "less two levels"
    assert list(totals.values()) == sorted(totals.values(), reverse=True), "every tool saves something here"
