"""How far two clips are apart: the arithmetic of the measures, on arrays, without any network.

`codec.paper.scores` feeds it with pictures and with what networks say of them.
"""

from __future__ import annotations

import numpy as np
from skimage.metrics import structural_similarity

SMALLEST = 1e-9  # squared error below which PSNR rises no further: equal pictures have 138 dB instead of infinity


def mean_error(error: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Mean over pixels and colours, one number a frame: (T, H, W, 3) -> (T,).

    Args:
        mask: (H, W) or (T, H, W), pixels that count; a frame of which none does has NaN.
    """
    mean: np.ndarray
    if mask is None:
        mean = error.mean((1, 2, 3))
        return mean
    weight = np.broadcast_to(mask, error.shape[:3]).astype(np.float64)
    count = weight.sum((1, 2))
    return np.where(count > 0, (error.mean(3) * weight).sum((1, 2)) / np.maximum(count, 1), np.nan)


def absolute(a: np.ndarray, b: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """L1 of every frame, on the scale of bytes, 0 to 255: (T, H, W, 3) twice -> (T,)."""
    return mean_error(np.abs(a.astype(np.float64) - b), mask)


def decibels(a: np.ndarray, b: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """PSNR of every frame, peak 255: (T, H, W, 3) twice -> (T,)."""
    error = mean_error((a.astype(np.float64) - b) ** 2, mask)
    level: np.ndarray = 10 * np.log10(255**2 / np.maximum(error, SMALLEST))
    return level


def psnr(a: np.ndarray, b: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Mean over frames of the PSNR of each."""
    return float(decibels(a, b, mask).mean())


def structure(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """SSIM of every frame, scikit-image's with its default window of 7 pixels: bytes (T, H, W, 3) twice -> (T,)."""
    pairs = zip(a, b, strict=True)
    return np.array([structural_similarity(x, y, channel_axis=2) for x, y in pairs])


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Mean over frames of the SSIM of each."""
    return float(structure(a, b).mean())


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Fréchet distance of the normal distributions of two sets of features, (N, D) and (M, D), two rows at least each:

        |mean_a - mean_b|^2 + tr(A + B - 2 (A B)^(1/2))

    with A and B the covariances (divided by N - 1, as the original implementation of FID does).  With A = X'X and
    B = Y'Y, tr (A B)^(1/2) is the sum of the singular values of X Y': no root of a D x D matrix is needed, nor a small
    number on its diagonal where there are fewer rows than features.
    """
    (ma, x), (mb, y) = _spread(a), _spread(b)
    apart = np.linalg.svd(x @ y.T, compute_uv=False).sum()
    # Equal sets have 0 up to rounding, which may come out below it.
    return max(0.0, float(((ma - mb) ** 2).sum() + (x**2).sum() + (y**2).sum() - 2 * apart))


def _spread(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean, and a matrix whose product with itself is the covariance, of as many rows as needed."""
    rows = np.asarray(features, np.float64)
    mean = rows.mean(0)
    rows = (rows - mean) / np.sqrt(len(rows) - 1)
    return mean, np.asarray(np.linalg.qr(rows, mode="r")) if len(rows) > rows.shape[1] else rows


def correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    """Pearson's correlation of two series; None where one of them does not move, or is shorter than two."""
    if len(a) < 2:
        return None
    x, y = (np.asarray(v, np.float64) - np.mean(v) for v in (a, b))
    size = np.sqrt((x**2).sum() * (y**2).sum())
    # A constant's deviations are not always 0 after rounding.
    still = any(np.abs(v).max() <= 1e-12 * (1 + np.abs(np.mean(w))) for v, w in ((x, a), (y, b)))
    return None if still or size == 0 else float(np.clip((x * y).sum() / size, -1, 1))
