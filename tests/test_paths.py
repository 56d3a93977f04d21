"""The integers of a face's path: near, cheap, and where nothing moves or nobody is, exact."""

from __future__ import annotations

import numpy as np
from fev.codec.draw.units import placement_units, quantise_placement
from fev.codec.face.absence import alone, plain
from fev.codec.fit.paths import FARTHEST, placement_path
from fev.format.motion import encode_track

NONE = np.zeros(30, bool)


def swaying(frames: int = 30) -> np.ndarray:
    """A head that sways, as the tracker sees it once it is smoothed."""
    t = np.arange(frames)
    rows = np.stack([300 + 9 * np.sin(t / 7), 200 + 4 * np.cos(t / 9), 90 + t / 20, 0.04 * np.sin(t / 11)], 1)
    return rows + np.random.default_rng(0).normal(0, 1, rows.shape) * [0.04, 0.04, 0.03, 3e-4]


def test_a_face_lies_where_it_was_for_fewer_bits():
    rows = swaying()
    sent = placement_path(rows)
    off = (sent / placement_units() - rows) * [1, 1, 1, 90]
    assert sent.dtype == np.int32 and np.abs(off).max() <= FARTHEST + 0.1 and np.sqrt((off**2).mean()) < 0.15
    assert len(encode_track(sent, NONE)) < 0.8 * len(encode_track(quantise_placement(rows), NONE))


def test_what_stands_still_does():
    """Also from one segment to the next: the ends are the nearest integers."""
    rows = swaying()
    rows[10:20] = rows[10]
    sent, near = placement_path(rows), quantise_placement(rows)
    assert not np.diff(sent[10:20], axis=0).any()
    assert np.array_equal(sent[[0, -1]], near[[0, -1]])


def test_nobody_stays_nobody():
    rows = swaying()
    rows[5:9], rows[20:] = alone(rows[5]), plain(640, 360)
    sent = placement_path(rows)
    assert np.array_equal(sent[5:9], quantise_placement(rows[5:9]))
    assert np.array_equal(sent[20:], quantise_placement(rows[20:]))


def test_short_segments_are_rounded():
    for frames in (1, 2):
        rows = swaying(frames)
        assert np.array_equal(placement_path(rows), quantise_placement(rows))
