"""The background plate: AV1 still and back."""

from __future__ import annotations

import os
import sys
import threading

import numpy as np
import pytest
from fev.codec.media.still import COLOUR, decode_still, encode_still
from fev.format.errors import DamagedError, FevError, LimitError


def picture(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    planes = [x * 255 / max(1, width - 1), y * 255 / max(1, height - 1), 128 + 60 * np.sin(x / 9) * np.cos(y / 7)]
    return np.stack(planes, -1).clip(0, 255).astype(np.uint8)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return 10 * np.log10(255**2 / max(1e-9, np.mean((a.astype(float) - b) ** 2)))


@pytest.mark.parametrize("size", [(1, 1), (33, 47), (64, 64), (97, 131), (180, 320)])
def test_round_trip_keeps_size_and_picture(size):
    image = picture(*size)
    out = decode_still(encode_still(image, 80), size[1], size[0])
    assert out.shape == image.shape and out.dtype == np.uint8
    assert psnr(image, out) > 36


def test_quality_buys_bytes_and_decibels_and_no_tint():
    image = picture(180, 320)
    coded = [encode_still(image, q) for q in (5, 50, 95)]
    assert len(coded[0]) < len(coded[1]) < len(coded[2])
    got = [decode_still(c, 320, 180) for c in coded]
    assert psnr(image, got[0]) < psnr(image, got[1]) < psnr(image, got[2])
    assert np.abs((got[2].astype(float) - image).mean((0, 1))).max() < 0.5
    assert (COLOUR.matrix, COLOUR.full_range) == (1, False)


def test_same_picture_same_bytes():
    assert encode_still(picture(96, 96)) == encode_still(picture(96, 96))


def test_bad_bytes_are_one_error():
    good = encode_still(picture(96, 96), 60)
    for bad in (b"", b"hello", b"\x12\x00", good[: len(good) // 2], good[:20], good[:-5], bytes(200)):
        with pytest.raises(DamagedError):
            decode_still(bad, 96, 96)
    rng = np.random.default_rng(0)
    for _ in range(60):
        bad = bytearray(good)
        bad[rng.integers(len(bad))] ^= 1 << rng.integers(8)
        try:
            assert decode_still(bytes(bad), 96, 96).shape == (96, 96, 3)
        except FevError as error:
            assert "\n" not in str(error)


def test_announced_size_is_checked():
    good = encode_still(picture(200, 200), 60)
    for width, height in ((96, 96), (200, 100), (400, 200)):
        with pytest.raises(DamagedError):
            decode_still(good, width, height)
    with pytest.raises(LimitError):
        decode_still(good, 10000, 10000)
    with pytest.raises(LimitError):
        encode_still(np.zeros((1, 9000, 3), np.uint8))
    with pytest.raises(ValueError, match="quality"):
        encode_still(picture(64, 64), 101)


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux how threads are scheduled")
def test_no_thread_is_left_with_real_time_priority():
    """SVT-AV1 takes it where it may, which is as root: every other program would stand still."""
    encode_still(np.zeros((64, 64, 3), np.uint8))
    seen = []
    thread = threading.Thread(target=lambda: seen.append(os.sched_getscheduler(0)))
    thread.start()
    thread.join()
    assert os.sched_getscheduler(0) != os.SCHED_FIFO and seen[0] != os.SCHED_FIFO
