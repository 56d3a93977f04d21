"""The places that a clip has shown: is a shot's background one of them?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from .background import Plate

GRID = (36, 64)  # blocks, down and across, in which two pictures are compared
NEAR = 10.0  # grey levels by which no channel of a block may differ
SHARE = 0.75  # of the blocks that must be near: people stand before the others; other places have less than 0.1
REMEMBERED = 16  # of the last places


@dataclass(frozen=True)
class KnownPlace:
    """A background that was met.

    Args:
        blocks: (3, 36, 64), its means.
        empty: it was seen without anybody before it.
    """

    number: int
    blocks: np.ndarray
    empty: bool


class Places:
    """Backgrounds by number, in the order in which they came."""

    def __init__(self) -> None:
        self._known: list[KnownPlace] = []
        self._count = 0

    def meet(self, plate: Plate) -> tuple[int, bool]:
        """The number of a background, and whether it is new.  What is larger than the picture is."""
        if plate.place is not None:
            self._count += 1
            return self._count - 1, True
        blocks = _blocks(plate.picture)
        for known in self._known:
            near = (np.abs(known.blocks - blocks).max(0) < NEAR).mean()
            if near >= SHARE and known.empty == plate.empty:
                self._known.remove(known)
                self._known.append(known)
                return known.number, False
        self._known = [*self._known, KnownPlace(self._count, blocks, plate.empty)][-REMEMBERED:]
        self._count += 1
        return self._count - 1, True


def _blocks(picture: np.ndarray) -> np.ndarray:
    x = torch.from_numpy(picture).permute(2, 0, 1)[None].float()
    blocks: np.ndarray = F.adaptive_avg_pool2d(x, GRID)[0].numpy()
    return blocks
