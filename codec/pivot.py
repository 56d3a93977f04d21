"""The pivot: one frame of the clip, sent as a picture, that everything else is a change of.

Pixels describe a face's appearance in far fewer bytes than weights or textures do: at 2 KB an AV1 still of the square
is within 34 to 36 dB of its frame (figures: docs/measurements/pivot.md).  `fev.format.still` carries it,
`fev.codec.render` puts it under what the model draws.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..format.still import CODEC_AV1, Pivot, Still
from .still import MAX_CRF, decode_still, encode_still

BEST_CRF = 25  # below it the still is better than the motion that moves it


def code_pivot(frame: Tensor, reference: np.ndarray, budget: int, thorough: bool = True) -> Pivot | None:
    """The best still within `budget` bytes; None where not even the coarsest fits.

    frame: (3, S, S), -1 to 1.  reference: quantised motion parameters of the frame.  thorough: as in `encode_still`.
    """
    rgb = ((frame.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()
    used = np.flatnonzero(reference)
    values = tuple(int(v) for v in reference[: used[-1] + 1]) if len(used) else ()
    side = rgb.shape[0]
    best: Pivot | None = None
    low, high = BEST_CRF, MAX_CRF
    while low <= high:  # the bytes fall as crf grows
        crf = (low + high) // 2
        data = encode_still(rgb, 100 - 100 * crf / MAX_CRF, thorough)
        pivot = Pivot(values, Still(CODEC_AV1, side, side, 1, False, data))
        if len(pivot.pack()) <= budget:
            best, high = pivot, crf - 1
        else:
            low = crf + 1
    return best


def pivot_picture(pivot: Pivot, size: int) -> Tensor:
    """(1, 3, size, size), -1 to 1.  Raises DamagedError where the still is no picture."""
    rgb = decode_still(pivot.still.data, pivot.still.width, pivot.still.height)
    picture = torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 127.5 - 1
    if picture.shape[-2:] == (size, size):
        return picture
    if min(picture.shape[-2:]) >= size:
        return F.interpolate(picture, size=(size, size), mode="area")
    return F.interpolate(picture, size=(size, size), mode="bicubic", align_corners=False)
