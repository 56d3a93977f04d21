"""How alike two pictures look: HaarPSI, the Haar wavelet-based perceptual similarity index.

R. Reisenhofer, S. Bosse, G. Kutyniok, T. Wiegand: A Haar wavelet-based perceptual similarity index
for image quality assessment, Signal Processing: Image Communication 61, 2018; with colour, and the
constants of the paper.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

C, ALPHA = 30.0, 4.2
TO_YIQ = ((0.299, 0.587, 0.114), (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))
LEAST_SIDE = 16


def haarpsi(ours: np.ndarray, theirs: np.ndarray) -> float:
    """0 to 1, which is the same picture.

    Args:
        ours, theirs: uint8 (H, W, 3), no side shorter than LEAST_SIDE.
    """
    a, b = (_halved(picture) for picture in (ours, theirs))
    similar, weights = [], []
    for across in (False, True):
        fine = [[_haar(planes[:, :1], scale, across).abs() for planes in (a, b)] for scale in (1, 2, 3)]
        similar.append((_alike(*fine[0]) + _alike(*fine[1])) / 2)
        weights.append(torch.maximum(*fine[2]))
    chroma = [F.avg_pool2d(F.pad(planes[:, 1:], (0, 1, 0, 1)), 2, 1).abs() for planes in (a, b)]
    similar.append(_alike(*chroma).mean(1, keepdim=True))
    weights.append((weights[0] + weights[1]) / 2)
    local, weight = torch.stack(similar), torch.stack(weights)
    total = weight.sum()
    if not total:  # both are flat
        return float(local.mean())
    mean = float((torch.sigmoid(ALPHA * local) * weight).sum() / total)
    return float((np.log(mean / (1 - mean)) / ALPHA) ** 2)


def _halved(picture: np.ndarray) -> Tensor:
    """(1, 3, H / 2, W / 2) luma and chroma, at the viewing distance of the paper."""
    rgb = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float()
    height, width = rgb.shape[2:]
    rgb = F.avg_pool2d(F.pad(rgb, (0, width % 2, 0, height % 2)), 2)
    return torch.einsum("rc,ncyx->nryx", torch.tensor(TO_YIQ), rgb)


def _haar(plane: Tensor, scale: int, across: bool) -> Tensor:
    """The Haar wavelet of 2^scale pixels, along one axis."""
    side = 1 << scale
    kernel = torch.full((side, side), 1 / side)
    kernel[side // 2 :] *= -1
    kernel = kernel.T if across else kernel
    before, after = side // 2 - 1, side // 2
    return F.conv2d(F.pad(plane, (before, after, before, after)), kernel[None, None])


def _alike(a: Tensor, b: Tensor) -> Tensor:
    return (2 * a * b + C) / (a * a + b * b + C)
