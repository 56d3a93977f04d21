"""A shot within so many bytes as video, and how ways to send it are compared."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from fev.codec.encode.haarpsi import haarpsi
from fev.codec.encode.likeness import Likeness, better, decibels, likeness
from fev.codec.encode.shotvideo import Shot, code_video, shown
from test_videocoding import scene


def blurred(rgb: np.ndarray) -> np.ndarray:
    wide = np.pad(rgb, ((2, 2), (2, 2), (0, 0)), mode="edge").astype(float)
    height, width = rgb.shape[:2]
    return np.mean([wide[y : y + height, x : x + width] for y in range(5) for x in range(5)], 0).astype(np.uint8)


def noisy(rgb: np.ndarray, size: float) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, size, rgb.shape)
    return np.clip(rgb + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def shot() -> Shot:
    frames = scene(20, 180, 320)
    return Shot(lambda: frames, (12, 8), np.arange(20), Fraction(25), 320, 180)


# -- measures


def test_equal_pictures_are_alike():
    rgb = scene(1)[0]
    assert haarpsi(rgb, rgb) == pytest.approx(1, abs=1e-4) and decibels(rgb, rgb) == 100
    flat = np.full((32, 32, 3), 90, np.uint8)
    assert haarpsi(flat, flat) == pytest.approx(1, abs=1e-4)


def test_worse_pictures_are_less_alike():
    rgb = scene(1)[0]
    ranks = [haarpsi(rgb, noisy(rgb, size)) for size in (2, 10, 40)]
    assert 1 > ranks[0] > ranks[1] > ranks[2] > 0
    assert haarpsi(rgb, blurred(rgb)) < ranks[0]
    assert haarpsi(rgb, noisy(rgb, 10)) == pytest.approx(haarpsi(noisy(rgb, 10), rgb), abs=1e-6)


@pytest.mark.parametrize(
    ("height", "width", "figures"),
    [(90, 160, (0.96592, 0.66837, 0.98815)), (91, 161, (0.96795, 0.69151, 0.98910))],
)
def test_it_is_the_measure_that_others_compute(height, width, figures):
    """Figures of piq 0.8.0."""
    rgb = scene(1, height, width)[0]
    ours = [haarpsi(rgb, other) for other in (noisy(rgb, 5), noisy(rgb, 25), blurred(rgb))]
    assert ours == pytest.approx(figures, abs=2e-4)


def test_video_is_taken_where_it_is_nearer():
    assert better(Likeness(28, 0.6), Likeness(29, 0.6)) and better(Likeness(28, 0.6), Likeness(28, 0.62))
    assert better(Likeness(28, 0.6), Likeness(27.5, 0.65)) and not better(Likeness(28, 0.6), Likeness(29, 0.55))
    assert not better(Likeness(28, 0.6), Likeness(28, 0.6))
    near = likeness(scene(3), [noisy(rgb, 5) for rgb in scene(3)])
    assert 33 < near.psnr < 36 and 0.5 < near.haarpsi < 1


# -- within bytes


def test_the_budget_is_kept_and_used(shot):
    got = [code_video(shot, budget, sides=(320, 160), steps=(1,), preset=10) for budget in (12_000, 5_000)]
    for found, budget in zip(got, (12_000, 5_000)):
        assert 0.6 * budget < found.coded.size <= budget
        assert [len(video.packets) for video in found.coded.segments] == [12, 8]
    assert got[0].likeness.score > got[1].likeness.score


def test_few_bytes_take_small_and_slow_pictures(shot):
    roomy = code_video(shot, 20_000, sides=(320, 160), steps=(1, 3), preset=10)
    assert (roomy.coding.width, roomy.coding.step) == (320, 1)
    least = code_video(shot, 10, sides=(320, 160), steps=(1, 3), preset=10)
    assert (least.coding.width, least.coding.step, least.coding.quality) == (160, 3, 70) and least.coded.size > 10


def test_what_is_judged_is_what_a_decoder_shows(shot):
    found = code_video(shot, 6_000, sides=(160,), steps=(2,), preset=10)
    pictures = list(shown(found.coded, shot))
    assert len(pictures) == len(shot.judged) == 20 and all(rgb.shape == (180, 320, 3) for rgb in pictures)
    assert likeness(shot.source(), pictures) == found.likeness
