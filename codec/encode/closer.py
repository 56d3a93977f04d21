"""Squares that are cut from the clip once more, finer than the networks see them: of the frames that
are sent as pictures.

The survey keeps squares of the model's size alone. A square of 1024 pixels is sixteen times as
large, and one or two of a clip are needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ..face.align import extract
from ..face.light import relit
from ..face.portrait import Closer
from ..media.video import VideoReader


@dataclass(frozen=True)
class Spot:
    """Where a square was cut.

    Args:
        pts: of the frame.
        placement: (4,), pixels and radians.
        light: gain and offset with which it is read.
    """

    pts: int
    placement: np.ndarray
    light: tuple[float, float] = (1.0, 0.0)


def closer(reopen: Callable[[], VideoReader], spots: Sequence[Spot], size: int) -> Closer:
    """What cuts the square of a row again.

    Args:
        reopen: the clip, from its first frame.
        spots: of each row.
        size: of the squares, in pixels.
    """

    def cut(row: int) -> Tensor:
        spot = spots[row]
        with reopen() as frames:
            rgb = next(frame.rgb for frame in frames if frame.pts == spot.pts)
        return extract(relit(rgb, *spot.light), spot.placement, size)[0]

    return cut
