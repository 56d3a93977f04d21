"""Where a model has no rate curves: a few shares between identity and motion are tried on the clip
itself.

Each is fitted with a fraction of the steps, its motion quantised until it takes the bytes that its
share leaves, and what then is drawn of some frames is compared with them.  `aim` asks; the work is
that of SHARES small fits, whatever the clip's length.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...format.motion import motion_bits
from ..draw.units import DEFAULT_QUALITY
from ..face.regions import attention
from ..fit.budget import LEAST_BUDGET
from ..fit.carrier import Appearance, Carrier, CarrierSettings, Spending
from ..fit.cropstore import CropStore
from ..fit.ratecontrol import price_for
from ..fit.stages import Stages
from .carriers import carrier_of
from .encoding import Encoding

SHARES = (0.2, 0.4, 0.55, 0.7, 0.85)  # of the bytes: what the identity may have
BLOCK = 16  # frames in succession that are looked at
BLOCKS = 3  # of them, over the clip

Fit = Callable[[Carrier[Any], int, Spending], Appearance]  # by this carrier, of this actor, within these bytes


def best_share(encoding: Encoding, store: CropStore, fit: Fit, actor: int, left: int, frames: int) -> float:
    """Which share of the bytes the identity should have.

    Args:
        encoding: of the clip.
        store: squares of the actor that is tried.
        fit: fits an appearance to them.
        actor: number.
        left: bytes for identity and motion together.
        frames: of the clip.

    Returns:
        One of SHARES; the least where none leaves enough for the motion.
    """
    settings = CarrierSettings(encoding.effort.trial(), encoding.options.pivot, encoding.device)
    carrier = carrier_of(encoding.model, settings, Stages())
    errors = {}
    for share in SHARES:
        budget = max(LEAST_BUDGET, round(share * left))
        appearance = fit(carrier, actor, Spending(DEFAULT_QUALITY, budget))
        errors[share] = _error(encoding, store, carrier, appearance, 8 * (left - budget) / frames)
    return min(SHARES, key=lambda share: errors[share])  # the first of equals


def _blocks(count: int) -> list[range]:
    """Rows of BLOCKS runs of frames, spread over those that there are."""
    firsts = np.linspace(0, max(0, count - BLOCK), BLOCKS).round().astype(int)
    return [range(first, min(first + BLOCK, count)) for first in sorted(set(firsts.tolist()))]


def _error(encoding: Encoding, store: CropStore, carrier: Carrier[Any], appearance: Appearance, bits: float) -> float:
    """Mean squared error of what is drawn, where people look, with so many bits a frame for the
    motion; infinite where no price of a bit is enough."""
    renderer = appearance.renderer(encoding.model, encoding.device)
    quantise = carrier.quantiser(renderer)
    blocks = [(rows, store.read(rows)) for rows in _blocks(store.count)]
    with torch.no_grad():
        starts = [appearance.start[list(rows)] for rows, _ in blocks]
    motion = [
        appearance.refine(renderer, pictures, start, None) for start, (_, pictures) in zip(starts, blocks, strict=True)
    ]

    def integers(price: float) -> list[np.ndarray]:
        return [quantise(block, np.zeros(len(block), bool), None, price) for block in motion]

    def size(price: float) -> int:
        """Bytes that the blocks take beyond their first frames, which cost what no frame of a long
        segment does."""
        return round(sum(float(motion_bits(block)[1:].sum()) for block in integers(price)) / 8)

    room = round(bits * sum(len(block) - 1 for block in motion) / 8)
    price, taken = price_for(size, room)
    if taken > room:
        return float("inf")
    weight = attention(renderer.size)
    errors: list[Tensor] = []
    for block, (_, pictures) in zip(integers(price), blocks, strict=True):
        errors.append(((renderer.draw(block).clamp(-1, 1) - pictures).square() * weight).mean((1, 2, 3)))
    return float(torch.cat(errors).mean())
