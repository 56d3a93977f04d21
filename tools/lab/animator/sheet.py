"""Contact sheets of an animator, to be looked at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ....codec.model.animator import Animator
from ....codec.model.pictures import to_bytes
from .pairs import Batch

SIDE = 160


def save_rows(rows: list[Tensor], path: Path) -> None:
    """Rows of pictures (N, 3, S, S), -1 to 1, as one PNG."""
    sheet = torch.cat([torch.cat(list(_sized(r)), 2) for r in rows], 1)
    array = to_bytes(sheet).permute(1, 2, 0).numpy()
    Image.fromarray(np.ascontiguousarray(array)).save(path)


def _sized(pictures: Tensor) -> Tensor:
    pictures = pictures.detach().float().cpu()
    if pictures.shape[-1] >= SIDE:
        return F.interpolate(pictures, size=SIDE, mode="area")
    return F.interpolate(pictures, size=SIDE, mode="bicubic", align_corners=False)


@torch.no_grad()
def training_sheet(animator: Animator, batch: Batch, size: int, dtype: torch.dtype, path: Path) -> None:
    """Pivot, frame, what is drawn, the generator's own picture, the warped pivot, and where which is used."""
    found = animator.motion(torch.cat([batch.clean, batch.target]).to(dtype))
    n = len(batch.pivot)
    change = found[n:] - found[:n]
    drawn = animator(batch.pivot, change, size, dtype)
    crossed = animator(batch.pivot, change.roll(1, 0), size, dtype).picture
    flow = torch.cat([drawn.flow * 8, drawn.own * 2 - 1], 1)
    save_rows([batch.pivot, batch.target, drawn.picture, drawn.alone, drawn.moved, flow, crossed], path)
