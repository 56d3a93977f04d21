"""From stored pixels to the picture as it is meant to be shown: rotation, mirror, square pixels."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.sidedata.sidedata import Type

WORTH = Fraction(1, 200)  # a shape that is off by less is not worth resampling the whole picture
ODDEST = 8  # a pixel more oblong than this is a damaged number


@dataclass(frozen=True)
class Display:
    """What to do to a stored picture: transpose first, then mirror left to right and top to bottom."""

    transpose: bool = False
    mirror_x: bool = False
    mirror_y: bool = False

    @property
    def rotation(self) -> int:
        """Degrees counter-clockwise, to be followed by a mirror left to right if it is `mirrored`."""
        if self.transpose:
            return 90 if self.mirror_y else 270
        return 180 if self.mirror_y else 0

    @property
    def mirrored(self) -> bool:
        return (self.transpose + self.mirror_x + self.mirror_y) % 2 == 1

    def sides(self, width: int, height: int) -> tuple[int, int]:
        return (height, width) if self.transpose else (width, height)

    def apply(self, rgb: np.ndarray) -> np.ndarray:
        """(height, width, 3) -> the picture as shown, contiguous."""
        if self.transpose:
            rgb = rgb.transpose(1, 0, 2)
        if self.mirror_x:
            rgb = rgb[:, ::-1]
        if self.mirror_y:
            rgb = rgb[::-1]
        return np.ascontiguousarray(rgb)


def display_of(frame: av.VideoFrame) -> Display:
    """By the frame's display matrix (ISO/IEC 14496-12): x' = a x + c y, y' = b x + d y, to the
    nearest quarter turn.
    """
    side_data: Any = frame.side_data  # its stub takes no keys by type
    data = side_data.get(Type.DISPLAYMATRIX)
    if data is None:
        return Display()
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(data)[:36])
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Display(False, a < 0, d < 0)
    return Display(True, c < 0, b < 0)


def squared(width: int, height: int, aspect: Fraction | None) -> tuple[int, int]:
    """Size of a picture whose pixels are made square; it never shrinks.

    Args:
        aspect: a pixel's width over its height.
    """
    if not aspect or not Fraction(1, ODDEST) <= aspect <= ODDEST or abs(aspect - 1) < WORTH:
        return width, height
    if aspect > 1:
        return _grown(width, aspect), height
    return width, _grown(height, 1 / aspect)


def _grown(side: int, factor: Fraction) -> int:
    """Even where it was even: video with odd sides is not played everywhere."""
    step = 2 if side % 2 == 0 else 1
    return step * round(side * factor / step)
