"""Pictures of networks and of video: every grey level survives, and what is beyond black and white is clipped."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fev.codec.model.pictures import LEVELS_PER_UNIT, from_levels, from_numpy, to_bytes, to_levels, to_numpy


def test_every_grey_level_comes_back():
    levels = np.arange(256, dtype=np.uint8)
    frames = np.broadcast_to(levels.reshape(1, 16, 16, 1), (2, 16, 16, 3))
    pictures = from_numpy(frames)
    assert pictures.shape == (2, 3, 16, 16) and pictures.dtype == torch.float32
    assert (float(pictures.min()), float(pictures.max())) == (-1.0, 1.0)
    back = to_numpy(pictures)
    assert back.dtype == np.uint8 and back.flags.c_contiguous
    np.testing.assert_array_equal(back, frames)
    torch.testing.assert_close(from_numpy(list(frames)), pictures, rtol=0, atol=0)


def test_what_is_beyond_black_and_white_is_clipped():
    assert to_bytes(torch.tensor([-3.0, 1.5])).tolist() == [0, 255]
    assert to_levels(torch.tensor([-3.0, 0.0, 1.5])).tolist() == [0.0, LEVELS_PER_UNIT, 255.0]


@pytest.mark.parametrize("level", [0, 1, 127, 128, 254, 255])
def test_levels_are_evenly_spaced(level):
    assert float(from_levels(torch.tensor(level))) == pytest.approx(2 * level / 255 - 1, abs=1e-7)
