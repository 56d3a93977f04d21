"""A picture at another size, or seen by a camera that moves: what lies beneath the squares that
`paste` puts on top.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

TILE = 256  # side of what is fetched at once, so that memory does not follow the picture's size
SHARP = 1.5  # pixels of the source for one fetched, up to which none are averaged
REACH = 2  # pixels beyond the edge from which the bicubic filter sees nothing but the edge


def resize(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """(H, W, 3) uint8 to another size; area averaging when shrinking, bicubic when growing."""
    if picture.shape[:2] == (height, width):
        return picture
    x = torch.from_numpy(picture).permute(2, 0, 1)[None].float()
    if height < picture.shape[0]:
        x = F.interpolate(x, size=(height, width), mode="area")
    else:
        x = F.interpolate(x, size=(height, width), mode="bicubic", align_corners=False)
    return x[0].round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()


def halvings(pixels: float) -> int:
    """How often a source is halved of which so many pixels, along one axis, fall on one fetched."""
    count = 0
    while pixels > SHARP * 2**count:
        count += 1
    return count


def halved(picture: np.ndarray, count: int) -> np.ndarray:
    """(H, W, 3) uint8 with both sides halved so often, by area averaging, but to 1 at least."""
    if not count:
        return picture
    height, width = (max(1, -(-side // 2**count)) for side in picture.shape[:2])
    x = torch.from_numpy(picture).permute(2, 0, 1)[None].float()
    x = F.interpolate(x, size=(height, width), mode="area")
    return x[0].round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()


def warped(picture: np.ndarray, matrix: np.ndarray, width: int, height: int) -> np.ndarray:
    """Fetch a picture from another, bicubically; beyond the edge stands the nearest pixel.

    Args:
        picture: (H, W, 3) uint8.
        matrix: (2, 3) takes a point (x, y, 1) of the result to (x, y) of the picture, both in
            pixels from the upper left corner.

    Returns:
        (height, width, 3) uint8.
    """
    out = np.empty((height, width, 3), np.uint8)
    for top, left in product(range(0, height, TILE), range(0, width, TILE)):
        tile = out[top : top + TILE, left : left + TILE]
        grid = torch.empty(1, *tile.shape[:2], 2)
        # In double precision up to a tile's corner: a set may lie millions of pixels away.
        corner = matrix @ np.array([left + 0.5, top + 0.5, 1]) - 0.5
        columns = _places(grid[0, :, :, 0], corner[0], matrix[0], picture.shape[1])
        rows = _places(grid[0, :, :, 1], corner[1], matrix[1], picture.shape[0])
        source = torch.from_numpy(picture[rows, columns]).permute(2, 0, 1)[None].float()
        found = F.grid_sample(source, grid, mode="bicubic", padding_mode="border", align_corners=False)
        torch.from_numpy(tile).copy_(found[0].round_().clamp_(0, 255).permute(1, 2, 0))
    return out


def _places(grid: Tensor, corner: float, slope: np.ndarray, size: int) -> slice:
    """Fills in one axis of a tile's places, -1 to 1 over what is fetched of the `size` pixels there,
    which is returned.

    Args:
        corner: the place of the tile's first pixel.
        slope: what a pixel across adds to it, and one down.
    """
    height, width = grid.shape
    ends = [corner + slope[0] * x + slope[1] * y for x in (0, width - 1) for y in (0, height - 1)]
    first = int(np.clip(np.floor(min(ends)) - 1, 0, size - 1))
    end = int(np.clip(np.floor(max(ends)) + 3, 1, size))
    unit = 2 / (end - first)
    across = (corner - first + slope[0] * np.arange(width) + 0.5) * unit - 1
    down = slope[1] * np.arange(height)[:, None] * unit
    torch.add(torch.from_numpy(across).float(), torch.from_numpy(down).float(), out=grid)
    if min(ends) < -REACH or max(ends) > size - 1 + REACH:  # far off, where the filter loses its way
        grid.clamp_(-1 - (REACH + 0.5) * unit, 1 + (REACH + 0.5) * unit)
    return slice(first, end)
