"""What the integers of a file are in the world: steps of motion and identity, pixels and radians of
placement and camera.
"""

from __future__ import annotations

import numpy as np

STEP_UNIT = 2.0**-10  # step code s means a step of STEP_UNIT * 2**(s / 4)
DEFAULT_QUALITY = 60


def step_size(code: int) -> float:
    """Quantiser step of a step code (0 to 255)."""
    out: float = STEP_UNIT * 2.0 ** (code / 4)
    return out


def step_code(size: float) -> int:
    """The step code nearest to a step."""
    return int(np.clip(round(4 * np.log2(max(size, 1e-12) / STEP_UNIT)), 0, 255))


IDENTITY_STEP_CODE = step_code(0.12)


def motion_step_code(quality: float) -> int:
    """Step code of the motion parameters: one unit of a parameter moves the picture by 2 %."""
    return step_code(0.5 * 2 ** ((DEFAULT_QUALITY - quality) / 20))


def quantise_placement(placement: np.ndarray) -> np.ndarray:
    """(N, 4) pixels and radians -> integers: 1/8 px, and 2 pi / 16384 for the angle."""
    unit = np.array([8, 8, 8, 16384 / (2 * np.pi)])
    out: np.ndarray = np.round(placement * unit).astype(np.int32)
    return out


def dequantise_placement(values: np.ndarray) -> np.ndarray:
    out: np.ndarray = np.asarray(values, np.float64) / np.array([8, 8, 8, 16384 / (2 * np.pi)])
    return out


def dequantise_camera(values: np.ndarray) -> np.ndarray:
    """(..., 4) integers of the camera -> shift x, shift y in pixels, zoom, angle in radians."""
    unit = np.array([8, 8, 4096, 16384 / (2 * np.pi)])
    out: np.ndarray = np.asarray(values, np.float64) / unit + np.array([0, 0, 1, 0])
    return out
