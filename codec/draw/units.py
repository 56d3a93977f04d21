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


def placement_units() -> np.ndarray:
    """(4,) of a placement's integers in one pixel or radian: 1/8 px, and 2 pi / 16384 for the
    angle."""
    return np.array([8, 8, 8, 16384 / (2 * np.pi)])


def camera_units(width: int, height: int) -> np.ndarray:
    """(4,) of a camera's integers in one pixel, factor or radian: 1/4 px, and what moves the edges
    of the picture by about as much."""
    return np.array([4.0, 4.0, width + height, width + height])


def quantise_placement(placement: np.ndarray) -> np.ndarray:
    """(N, 4) pixels and radians -> the nearest integers."""
    out: np.ndarray = np.round(placement * placement_units()).astype(np.int32)
    return out


def dequantise_placement(values: np.ndarray) -> np.ndarray:
    out: np.ndarray = np.asarray(values, np.float64) / placement_units()
    return out


def dequantise_camera(values: np.ndarray, width: int, height: int) -> np.ndarray:
    """(..., 4) integers of the camera -> shift x, shift y in pixels, zoom, angle in radians.

    Args:
        width, height: of the stream's pictures.
    """
    out: np.ndarray = np.asarray(values, np.float64) / camera_units(width, height) + np.array([0, 0, 1, 0])
    return out
