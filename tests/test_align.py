"""Geometry of placements: cutting out and pasting back are inverse, and smoothing does not lag."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fev.codec.draw.units import dequantise_placement, quantise_placement
from fev.codec.face.align import compose, extract, is_aligned_crop, smooth, smooth_at
from fev.codec.face.paste import EDGE, paste
from fev.codec.model.aligner import invert_similarity


def smooth_picture(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    picture = np.stack([np.sin(x / 17), np.cos(y / 13), np.sin((x + y) / 23)], 2)
    return (picture * 90 + 128).astype(np.uint8)


PLACEMENTS = [(160, 120, 80, 0.0), (150, 130, 100, 0.4), (170, 110, 64, -0.8), (165.3, 118.7, 71.9, 0.05)]


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_paste_undoes_extract(placement):
    frame = smooth_picture(240, 320)
    crop = extract(frame, np.array([placement], float), 256)[0]
    back = paste(np.full_like(frame, 128), crop, np.array(placement, float))
    cx, cy, half, angle = placement
    y, x = np.mgrid[0:240, 0:320] + 0.5
    c, s = np.cos(angle), np.sin(angle)
    u, v = (c * (x - cx) + s * (y - cy)) / half, (-s * (x - cx) + c * (y - cy)) / half
    inside = np.maximum(abs(u), abs(v)) < 1 - EDGE
    error = np.abs(back.astype(int) - frame.astype(int)).max(2)
    # two bilinear or bicubic passes over waves of 80 pixels' length: a few grey levels
    assert inside.sum() > 1000 and error[inside].max() <= 4
    outside = np.maximum(abs(u), abs(v)) > 1.02
    assert (back[outside] == 128).all()


@pytest.mark.parametrize("half", [1 / 8, 3 / 8, 1 / 2, 9 / 8])
def test_paste_of_less_than_a_pixel(half):
    """The smallest sides that a file can hold: at most the pixel in the middle changes."""
    plate = np.full((9, 9, 3), 128, np.uint8)
    pasted = paste(plate, torch.ones(3, 256, 256), np.array([4.5, 4.5, half, 0.1]))
    changed = (pasted != plate).any(2)
    assert changed[4, 4] and changed.sum() <= 9 and (half > 1 / 2 or changed.sum() == 1)


def test_extract_shrinks_without_aliasing():
    checker = ((np.indices((1024, 1024)).sum(0) % 2) * 255).astype(np.uint8)[..., None].repeat(3, 2)
    crop = extract(checker, np.array([[512.0, 512.0, 512.0, 0.0]]), 256)
    assert crop.abs().max() < 0.02


def test_extract_outside_the_frame_repeats_the_border():
    frame = np.full((100, 100, 3), 200, np.uint8)
    crop = extract(frame, np.array([[0.0, 0.0, 80.0, 0.3]]), 64)
    torch.testing.assert_close(crop, torch.full_like(crop, 200 / 127.5 - 1), rtol=0, atol=1e-5)
    far = extract(frame, np.array([[500.0, -400.0, 30.0, 0.0]]), 64)
    assert torch.isfinite(far).all()


def test_placement_integers_roundtrip_to_a_sixteenth_of_a_pixel():
    rows = np.array([[10.03, 700.51, 133.37, -0.31], [0, 0, 40, 1.2]])
    error = np.abs(dequantise_placement(quantise_placement(rows)) - rows)
    assert (error[:, :3] <= 1 / 16 + 1e-9).all() and (error[:, 3] <= np.pi / 16384 + 1e-9).all()


def test_compose_and_invert_agree():
    """A similarity composed with its inverse is the square itself."""
    params = torch.tensor([[1.2, 0.3, 0.1, -0.2]], dtype=torch.float64)
    square = np.array([[50.0, 60.0, 30.0, 0.2]])
    moved = compose(square, params.numpy())
    back = compose(moved, invert_similarity(params).numpy())
    np.testing.assert_allclose(back, square, atol=1e-9)


def test_smoothing_follows_a_moving_head_without_lag():
    time = np.arange(60.0)
    track = np.stack([100 + 3 * time, 50 - 2 * time, np.exp(4 + 0.01 * time), 0.02 * time], 1)
    out = smooth(track, np.ones(60, bool))
    np.testing.assert_allclose(out, track, atol=1e-6)


def test_smoothing_takes_jitter_out():
    noise = np.random.default_rng(0).normal(0, 1, (400, 4)) * [1, 1, 0.5, 0.01]
    track = np.array([200.0, 200.0, 100.0, 0.0]) + noise
    out = smooth(track, np.ones(400, bool))
    assert (out.std(0) < 0.65 * track.std(0)).all()


def test_smoothing_bridges_frames_without_a_face():
    time = np.arange(30.0)
    track = np.stack([10 * time, 0 * time, 50 + 0 * time, 0 * time], 1)
    found = np.ones(30, bool)
    found[14:17] = False
    track[14:17, 0] = 140  # held
    np.testing.assert_allclose(smooth(track, found)[14:17, 0], [140, 150, 160], atol=1)
    assert smooth_at(track[:3], np.zeros(3, bool), 1) is None


def test_only_a_square_clip_that_is_the_square_counts_as_aligned():
    good = [np.array([130.0, 126.0, 133.0, 0.01])] * 5
    assert is_aligned_crop(good, 256, 256)
    assert not is_aligned_crop(good, 320, 256)
    assert not is_aligned_crop([np.array([128.0, 128.0, 90.0, 0.0])] * 5, 256, 256)
    assert not is_aligned_crop([np.array([160.0, 128.0, 128.0, 0.0])] * 5, 256, 256)
    assert not is_aligned_crop([], 256, 256)
