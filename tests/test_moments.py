"""Planes for single moments: what one frame lacks gets a plane, and nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fev.codec.face.regions import lips
from fev.codec.fit.moments import UNIT, Shown, with_moments
from fev.codec.fit.spread import decibels
from fev.codec.fit.weighing import frame_errors
from fev.format.modes import Modes

SIZE, FRAMES, PARAMS = 64, 30, 6
OPEN, HALF = 11, 20  # the frames whose lips are open, and half open


def modes(planes: int) -> Modes:
    """Planes that show nothing."""
    luma, chroma = np.zeros((planes, 32, 32), np.int32), np.zeros((planes, 2, 16, 16), np.int32)
    flow, codes = np.zeros((planes, 2, 8, 8), np.int32), np.zeros(planes, np.int64)
    return Modes(np.zeros((PARAMS, 1), np.int32), 0, luma, chroma, flow, codes, codes)


def clip(planes: int = 3) -> Shown:
    dice = np.random.default_rng(5)
    integers = np.zeros((FRAMES, PARAMS), np.int32)
    integers[:, : planes - 1] = dice.integers(-3, 4, (FRAMES, planes - 1))
    return Shown(torch.zeros(1, 3, SIZE, SIZE), modes(planes), integers, 0.5)


@pytest.fixture(scope="module")
def frames():
    """Grey, with noise of about 40 dB, and lips that open twice, once by half."""
    dice = torch.Generator().manual_seed(2)
    out = 0.02 * torch.randn(FRAMES, 3, SIZE, SIZE, generator=dice)
    mouth = lips(SIZE) / lips(SIZE).max()
    out[OPEN] += 0.5 * mouth[0]
    out[HALF] += 0.25 * mouth[0]
    return out


ALL = np.arange(FRAMES)


def test_a_moment_gets_a_plane_and_so_does_what_is_like_it(frames):
    before = clip()
    errors = frame_errors(before.draw(ALL), frames)[:, 0]
    after = with_moments(before, ALL, frames, errors, 200)
    gained = decibels(frame_errors(after.draw(ALL), frames)[:, 0]) - decibels(errors)
    assert gained[OPEN] > 10 and gained[HALF] > 5
    rest = np.delete(ALL, [OPEN, HALF])
    assert np.abs(gained[rest]).max() < 0.3
    assert after.bytes() <= before.bytes() + 200
    column = after.integers[:, 2]
    assert column[OPEN] == UNIT and column[HALF] == UNIT // 2 and not column[rest].any()
    assert (after.integers[:, :2] == before.integers[:, :2]).all()
    assert (after.modes.luma[:3] == before.modes.luma).all()


def test_only_frames_of_the_pool_get_one(frames):
    before, pool = clip(), np.array([HALF, HALF + 1, HALF + 2])
    errors = frame_errors(before.draw(ALL), frames)[:, 0]
    errors[OPEN] = errors.min()  # as if it were drawn well
    after = with_moments(before, pool, frames[pool], errors, 200)
    assert after.integers[HALF, 2] == UNIT and not np.delete(after.integers[:, 2:], HALF, 0).any()


@pytest.mark.parametrize("planes, budget", [(PARAMS + 1, 200), (3, 3)])
def test_no_plane_without_a_parameter_or_bytes(frames, planes, budget):
    before = clip(planes)
    errors = frame_errors(before.draw(ALL), frames)[:, 0]
    assert with_moments(before, ALL, frames, errors, budget) is before


def test_what_lacks_nothing_gets_nothing(frames):
    quiet = np.delete(ALL, [OPEN, HALF])
    before = clip()
    errors = frame_errors(before.draw(ALL), frames)[:, 0]
    after = with_moments(before, quiet, frames[quiet], errors, 200)
    assert after is before
