"""The pivot: one frame of the clip, sent as a picture, that everything else is a change of.

Pixels describe a face's appearance in far fewer bytes than weights or textures do: at 2 KB an AV1
still of the square is within 34 to 36 dB of its frame (figures: docs/measurements/pivot.md).
`fev.format.still` carries it, `fev.codec.draw.render` puts it under what the model draws.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ...format.still import Pivot
from ..media.still import decode_still
from ..model.pictures import from_levels


def pivot_picture(pivot: Pivot, size: int) -> Tensor:
    """(1, 3, size, size), -1 to 1.  Raises DamagedError where the still is no picture."""
    rgb = decode_still(pivot.still.data, pivot.still.width, pivot.still.height)
    picture = from_levels(torch.from_numpy(rgb).permute(2, 0, 1)[None])
    if picture.shape[-2:] == (size, size):
        return picture
    if min(picture.shape[-2:]) >= size:
        return F.interpolate(picture, size=(size, size), mode="area")
    return F.interpolate(picture, size=(size, size), mode="bicubic", align_corners=False)
