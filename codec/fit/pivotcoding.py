"""The pivot as it is sent: the best still of one frame within a budget of bytes."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from ...format.still import CODEC_AV1, Pivot, Still
from ..media.still import MAX_CRF, encode_still
from ..model.pictures import to_numpy

BEST_CRF = 25  # below it the still is better than the motion that moves it


def code_pivot(frame: Tensor, reference: np.ndarray, budget: int, thorough: bool = True) -> Pivot | None:
    """The best still within a budget.

    Args:
        frame: (3, S, S), -1 to 1.
        reference: (params,) quantised motion parameters of the frame.
        budget: bytes of the chunk's payload.
        thorough: as in `encode_still`.

    Returns:
        None where not even the coarsest still fits.
    """
    rgb = to_numpy(frame[None])[0]
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
