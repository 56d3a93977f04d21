"""The arithmetic of the measures against values known beforehand."""

from __future__ import annotations

import numpy as np
import pytest
from fev.tools.measure import metrics
from scipy.linalg import sqrtm


def pictures(*levels: int, size: int = 8) -> np.ndarray:
    return np.stack([np.full((size, size, 3), level, np.uint8) for level in levels])


def test_l1_is_on_the_scale_of_bytes_and_never_wraps():
    assert metrics.absolute(pictures(10, 250), pictures(13, 0)).tolist() == [3, 250]


def test_psnr_is_the_mean_of_each_frames_own():
    a, b = pictures(100, 100), pictures(110, 101)
    one, other = 20 * np.log10(255 / 10), 20 * np.log10(255)
    assert metrics.decibels(a, b) == pytest.approx([one, other])
    assert metrics.psnr(a, b) == pytest.approx((one + other) / 2)
    assert metrics.psnr(a, a) == pytest.approx(10 * np.log10(255**2 / 1e-9))  # not infinity


def test_a_mask_chooses_pixels_one_for_all_or_one_a_frame():
    a, b = pictures(0, 0), pictures(0, 0)
    b[:, :2] = 40
    top = np.zeros((8, 8), bool)
    top[:4] = True
    assert metrics.absolute(a, b, top).tolist() == [20, 20]
    each = np.stack([top, ~top])
    assert metrics.absolute(a, b, each).tolist() == [20, 0]
    assert metrics.decibels(a, b, top) == pytest.approx([10 * np.log10(255**2 / 800)] * 2)
    none = metrics.absolute(a, b, np.zeros((2, 8, 8), bool))
    assert np.isnan(none).all()


def test_ssim_of_equal_and_of_opposite_pictures():
    a = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)
    assert metrics.ssim(a, a) == 1
    assert (metrics.structure(a, 255 - a) < -0.5).all()


def test_frechet_of_normals_has_its_closed_form():
    """One dimension: (difference of means)^2 + (difference of deviations)^2; more, independent: the sum."""
    a = np.array([[-1.0, 0.0], [1.0, 0.0], [0.0, 2.0], [0.0, -2.0]])
    spread = a.std(0, ddof=1)
    b = a * [3, 0.5] + [5, -1]
    assert metrics.frechet(a, b) == pytest.approx(25 + 1 + ((spread * [2, -0.5]) ** 2).sum())
    assert metrics.frechet(a[:, :1], b[:, :1]) == pytest.approx(25 + (2 * spread[0]) ** 2)


@pytest.mark.parametrize(("n", "m", "d"), [(40, 50, 6), (5, 7, 6), (2, 40, 6)])
def test_frechet_equals_the_formula_with_a_matrix_root(n, m, d):
    rng = np.random.default_rng(n)
    a, b = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)), 2 + rng.normal(size=(m, d))
    ca, cb = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = sqrtm(ca @ cb + 1e-12 * np.eye(d)).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(ca + cb - 2 * root)
    # The root of a singular matrix is only as good as the square root of rounding.
    assert metrics.frechet(a, b) == pytest.approx(expected, rel=1e-4)
    assert metrics.frechet(a, b) == pytest.approx(metrics.frechet(b, a))
    assert metrics.frechet(a, a) == pytest.approx(0, abs=1e-9)


def test_correlation():
    t = np.arange(10.0)
    assert metrics.correlation(t, 3 * t - 100) == 1
    assert metrics.correlation(t, -t) == -1
    assert metrics.correlation([1, 2, 3, 4], [1, -1, -1, 1]) == pytest.approx(0)
    assert metrics.correlation([1, 2, 4], [1, 3, 2]) == pytest.approx(0.3273268353539886)
    assert metrics.correlation(t, np.full(10, 0.1)) is None
    assert metrics.correlation(np.full(10, 0.1) + 1e-18, t) is None
    assert metrics.correlation(t[:1], t[:1]) is None
