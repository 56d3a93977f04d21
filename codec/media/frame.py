"""One picture of a clip, as `fev.codec.media.video` delivers it and `fev.codec.face.survey` takes
it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Frame:
    """A picture and its time.

    Args:
        pts: integer, in the clip's time base.
        rgb: uint8 (height, width, 3).
        damaged: the decoder had to conceal something in it, so it must not stand for what the
            person looks like.
    """

    pts: int
    rgb: np.ndarray
    damaged: bool = False
