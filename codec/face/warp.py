"""A picture at another size, or seen by a camera that moves: what lies beneath the squares that
`paste` puts on top.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
import torch.nn.functional as F

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
        y, x = np.ogrid[top : top + tile.shape[0], left : left + tile.shape[1]]
        # In double precision up to here: a set may lie millions of pixels away.
        across, down = (a * (x + 0.5) + b * (y + 0.5) + c - 0.5 for a, b, c in matrix)
        columns, across = _crop(across, picture.shape[1])
        rows, down = _crop(down, picture.shape[0])
        grid = torch.from_numpy(np.stack([across, down], 2).astype(np.float32))[None]
        source = torch.from_numpy(picture[rows, columns]).permute(2, 0, 1)[None].float()
        found = F.grid_sample(source, grid, mode="bicubic", padding_mode="border", align_corners=False)
        tile[:] = found[0].round_().clamp_(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
    return out


def _crop(places: np.ndarray, size: int) -> tuple[slice, np.ndarray]:
    """What of an axis of `size` pixels some places need, and the places within it, -1 to 1."""
    places = places.clip(-REACH, size - 1 + REACH)
    first = max(0, min(size - 1, int(np.floor(places.min())) - 1))
    end = max(1, min(size, int(np.floor(places.max())) + 3))
    return slice(first, end), (2 * (places - first) + 1) / (end - first) - 1
