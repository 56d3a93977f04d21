"""What the parameters of a clip's modes are: a basis of what the pictures still lack.

It begins as principal axes. Once the fit knows what a parameter does to the picture, the basis is
changed to one whose parameters vary independently over time (`sensitivity`): the pictures stay and
the motion takes a sixth fewer bits. `modefit` finds the planes that go with it.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..draw.units import DEFAULT_QUALITY, motion_step_code, step_code, step_size
from ..face.regions import attention
from ..model.planes import apply_modes
from .motion import corrected, linear_correction
from .sensitivity import LOOKS, SIZE, sensitivity

DEFAULT_STEP = step_size(motion_step_code(DEFAULT_QUALITY))  # of motion, at the default quality
MIX_STEP_CODE = step_code(0.04)  # of the mix; parameters of several units multiply its errors
# One unit of a parameter moves the picture by this, root mean square, where pictures are -1 to 1.
PARAMETER_UNIT = 0.014
FEATURES = 32  # pixels a side that principal axes are sought in: what is finer is planes' business
FEATURE_POWER = 0.3  # of the weight: the face counts more than the rest, not alone
LEAST_AXIS = 1e-4  # of the largest singular value; smaller ones are rounding errors
PER_LOOK = 8  # pictures that the error is measured on, for each that sensitivity is measured on


def principal(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Principal component analysis.

    Args:
        values: (N, D), a row a sample.
        count: axes at most.

    Returns:
        The mean (D,), and the first axes (up to count, D), orthonormal.
    """
    mean = values.mean(0)
    centred = values - mean
    _, size, directions = torch.linalg.svd(centred, full_matrices=False)
    return mean, directions[: min(count, int((size > LEAST_AXIS * size[0]).sum()))]


class ModeBasis:
    """From what a picture lacks to the free parameters: a projection.

    Args:
        size: side of the pictures in pixels.
        mean: (D,) of the features.
        axes: (free, D), one a parameter.
    """

    def __init__(self, size: int, mean: Tensor, axes: Tensor):
        self.size, self.mean, self.axes = size, mean, axes

    @classmethod
    def of(cls, missing: Tensor, count: int) -> ModeBasis:
        """Principal axes.

        Args:
            missing: (N, 3, S, S), what is drawn taken from the frames.
            count: axes at most.
        """
        return cls(missing.shape[-1], *principal(cls.features(missing), count))

    @staticmethod
    def features(missing: Tensor) -> Tensor:
        """What principal axes are sought in: (N, D) of what frames lack (N, 3, S, S)."""
        weight = attention(missing.shape[-1]) ** FEATURE_POWER
        return F.interpolate(missing * weight, size=FEATURES, mode="area").flatten(1)

    def project(self, missing: Tensor) -> Tensor:
        """(N, 3, size, size) that frames lack -> free parameters (N, free)."""
        unit: float = PARAMETER_UNIT * self.axes.shape[1] ** 0.5
        return (self.features(missing) - self.mean) @ self.axes.t() / unit

    def guess(self, drawn: Tensor, truth: Tensor) -> Tensor:
        """Free parameters (N, free) of frames, all by themselves.

        Args:
            drawn: (N or 1, 3, S, S) what is drawn without modes.
            truth: (N, 3, S, S) the frames.
        """
        return self.project(F.interpolate(truth - drawn, size=self.size, mode="area"))

    def changed(self, matrix: Tensor) -> ModeBasis:
        """The basis of the parameters (free, free) @ old ones."""
        return ModeBasis(self.size, self.mean, matrix @ self.axes)


def steady_changes(seen: Tensor, fitted: Tensor, successors: Tensor) -> Tensor:
    """How parameters change from a key frame to the next frame of the clip.

    They are taken from what the pictures say of them, by regression: the parameters of the fit
    itself are half noise, since few of the frames are drawn in a step.

    Args:
        seen: (N, P), read off the pictures.
        fitted: (N, P), of the fit.
        successors: (n, 2), pairs of key frames.

    Returns:
        (n, P).
    """
    steady = corrected(seen, linear_correction(seen, fitted))
    return steady[successors[:, 1]] - steady[successors[:, 0]]


@torch.no_grad()
def mode_sensitivity(
    drawn: Tensor, truth: Tensor, planes: tuple[Tensor, Tensor], codes: Tensor, driven: int
) -> tuple[Tensor, float]:
    """How the free parameters move the weighted picture.

    Args:
        drawn: (N or 1, 3, S, S) what is drawn without modes.
        truth: (N, 3, S, S) the frames.
        planes: texture (K, 3, T, T) and flow (K, 2, G, G).
        codes: (N, K - 1), the frames' parameters.
        driven: how many of the first parameters are not free.

    Returns:
        H (free, free) for a step at the default quality, and the mean squared error.
    """
    looks = torch.linspace(0, len(truth) - 1, PER_LOOK * LOOKS).long()
    drawn, truth = (F.interpolate(v[looks] if len(v) > 1 else v, size=SIZE, mode="area") for v in (drawn, truth))
    weight, codes = attention(SIZE), codes[looks]
    error = float(((apply_modes(drawn, *planes, codes) - truth).square() * weight).mean())
    free = codes.shape[1] - driven
    total = torch.zeros(free, free)
    for row, below in zip(codes[::PER_LOOK], drawn.expand(len(codes), -1, -1, -1)[::PER_LOOK], strict=True):
        held = row[:driven]

        def draw(moved: Tensor, held: Tensor = held, below: Tensor = below) -> Tensor:
            return apply_modes(below[None], *planes, torch.cat([held.expand(len(moved), -1), moved], 1))

        total += sensitivity(draw, row[None, driven:], DEFAULT_STEP, weight)
    return total / LOOKS, error


def principal_drive(motion: Tensor, count: int, motion_step: float) -> tuple[np.ndarray, Tensor]:
    """The few combinations of the model's parameters that a clip uses.

    Args:
        motion: (N, P) the model's parameters.
        count: combinations at most; one that moves less than a step is left out.
        motion_step: quantiser step of the file's parameters.

    Returns:
        The mix in integers (P, 1 + driven), and the file's first parameters (N, driven), quantised,
        which move the model through it.
    """
    mean, axes = principal(motion, count)
    spread = ((motion - mean) @ axes.t()).square().mean(0).sqrt()
    axes = axes[spread > motion_step]
    step = step_size(MIX_STEP_CODE)
    mix = (torch.cat([mean[None], axes]) / step).round()
    axes, mean = mix[1:] * step, mix[0] * step
    driven = torch.linalg.lstsq(axes.t(), (motion - mean).t()).solution.t() if len(axes) else motion[:, :0]
    return mix.t().numpy().astype(np.int32), (driven / motion_step).round() * motion_step


def driven_by(mix: np.ndarray, motion: Tensor, motion_step: float) -> Tensor:
    """The file's first parameters (N, driven), quantised, by a mix (P, 1 + driven) in integers that is
    known; the model's are (N, P)."""
    columns = torch.from_numpy(mix).float() * step_size(MIX_STEP_CODE)
    if columns.shape[1] == 1:
        return motion[:, :0]
    driven: Tensor = torch.linalg.lstsq(columns[:, 1:], (motion - columns[:, 0]).t()).solution.t()
    return (driven / motion_step).round() * motion_step
