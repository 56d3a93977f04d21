"""The crops of a clip registered to key frames, so that the head's frame of reference does not
tremble.

The FFHQ square of a frame follows landmarks that move when the face does: lids, lips and brows.
Oorloff and Yacoob (arXiv 2203.14512, supplement B; "the paper" of `fev.codec.paper`) take it from
key frames only.  They register the frames between by an affine optical flow of the whole head, as
Black and Yacoob fit it (IJCV 1997): robustly, and without eyes, brows and mouth.  A new key frame
begins where the residual exceeds 45 grey levels, or 30 where the head turns by more than 2 degrees.

The flow is found by Gauss and Newton's method with the weights of Geman and McClure's estimator,
coarse to fine.  An affine map has six degrees of freedom, a placement four: the nearest similarity
moves the square, the residual is that of the affine map.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..model.pictures import LEVELS_PER_UNIT

SIDES = (32, 64, 128)  # of the pictures that are registered, coarse to fine
ROUNDS = (8, 6, 6)
SCALES = (60.0, 30.0, 20.0)  # of the robust estimator, grey levels: what differs by more counts little
RESIDUAL_STILL = 45.0  # mean distance in RGB beyond which a new key frame begins, where the head hardly turns
RESIDUAL_TURNING = 30.0  # ... where yaw or pitch changes by more than TURN from frame to frame
TURN = 2.0  # degrees
FARTHEST = 0.5  # no frame's square is off by more of its half side


def rigid(size: int) -> Tensor:
    """1 where the face hardly deforms, in the FFHQ square: cheeks, nose, forehead; (1, 1, size,
    size).
    """
    axis = (torch.arange(size) + 0.5) * (2 / size) - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")

    def inside(cx: float, cy: float, rx: float, ry: float) -> Tensor:
        return ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1

    face = inside(0, 0.1, 0.52, 0.66)
    for cx in (-0.25, 0.25):  # eyes and brows
        face &= ~inside(cx, -0.12, 0.22, 0.18)
    return (face & ~inside(0, 0.44, 0.3, 0.2))[None, None].float()


def _warped(picture: Tensor, affine: Tensor) -> Tensor:
    """(1, C, S, S) fetched through (2, 3), from and to places between -1 and 1."""
    grid = F.affine_grid(affine[None], list(picture.shape), align_corners=False)
    return F.grid_sample(picture, grid, padding_mode="border", align_corners=False)


def residual(frame: Tensor, key: Tensor, mask: Tensor, affine: Tensor) -> float:
    """Mean distance in RGB (0 to 255) of a frame, fetched through `affine`, from its key frame,
    inside the mask.
    """
    far = (_warped(frame[None], affine)[0] - key).square().sum(0).sqrt() * LEVELS_PER_UNIT
    return float((far * mask[0, 0]).sum() / mask.sum())


def register(frame: Tensor, key: Tensor, mask: Tensor, start: Tensor | None = None) -> tuple[Tensor, float]:
    """The affine map from places in the key frame's square to places in the frame's.

    Args:
        frame, key: (3, S, S), -1 to 1.
        mask: (1, 1, S, S).
        start: (2, 3), where to begin.

    Returns:
        (2, 3) in units of half the square, and the residual.
    """
    affine = torch.eye(2, 3) if start is None else start.clone()
    for side, rounds, scale in zip(SIDES, ROUNDS, SCALES, strict=True):
        here, there, weight = (F.interpolate(v, size=side, mode="area") for v in (frame[None], key[None], mask))
        axis = (torch.arange(side) + 0.5) * (2 / side) - 1
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        places = torch.stack([x, y, torch.ones_like(x)])  # (3, S, S)
        for _ in range(rounds):
            moved = _warped(here, affine)[0]
            across = F.pad(moved[:, :, 2:] - moved[:, :, :-2], (1, 1)) * (side / 4)
            down = F.pad(moved[:, 2:] - moved[:, :-2], (0, 0, 1, 1)) * (side / 4)
            # Change of the fetched colours with the six numbers, (3, 6, S, S): the gradient of the
            # warped picture is that in the key's places; for maps near the identity it is the
            # frame's as well.
            slope = torch.cat([across[:, None] * places, down[:, None] * places], 1)
            error = there[0] - moved
            robust = (scale / LEVELS_PER_UNIT) ** 2
            trust = weight[0] * (robust / (robust + error.square())).square()
            left = torch.einsum("cisr,cjsr,csr->ij", slope, slope, trust)
            right = torch.einsum("cisr,csr,csr->i", slope, error, trust)
            step = torch.linalg.solve(left + (1e-4 * left.diagonal().mean() + 1e-9) * torch.eye(6), right).view(2, 3)
            # `step` moves places of the key before the map: compose, do not add.
            linear = affine[:, :2]
            affine = affine + torch.cat([linear @ step[:, :2], linear @ step[:, 2:]], 1)
            if float(step.abs().max()) < 1e-4:
                break
        if not bool(torch.isfinite(affine).all()) or float((affine - torch.eye(2, 3)).abs().max()) > FARTHEST:
            affine = torch.eye(2, 3)
            break
    last, last_key = (F.interpolate(v[None], size=SIDES[-1], mode="area")[0] for v in (frame, key))
    return affine, residual(last, last_key, F.interpolate(mask, size=SIDES[-1], mode="area"), affine)


def similarity(affine: Tensor) -> np.ndarray:
    """The nearest similarity of (2, 3): a row (a, b, cx, cy) as `fev.codec.face.align.compose`
    takes it.
    """
    m = affine.double().numpy()
    return np.array([(m[0, 0] + m[1, 1]) / 2, (m[1, 0] - m[0, 1]) / 2, m[0, 2], m[1, 2]])


@dataclass(frozen=True)
class Registered:
    """How a frame lies on its key frame.

    Args:
        affine: (2, 3), key's places to the frame's.
        residual: RGB distance.
        key: index of the key frame.
    """

    affine: Tensor
    residual: float
    key: int


@dataclass
class Registration:
    """Follows a clip; feed it the squares in order.

    Args:
        pose_of: yaw and pitch in degrees of a square (1, 3, S, S), where something estimates them:
            (1, 2), or None.
        keys: indices of the key frames.
    """

    mask: Tensor | None = None
    pose_of: Callable[[Tensor], Tensor | None] | None = None
    keys: list[int] = field(default_factory=list)
    _key: Tensor | None = None
    _last: Tensor | None = None
    _pose: Tensor | None = None

    def step(self, index: int, square: Tensor) -> Registered:
        """square: (3, S, S), -1 to 1."""
        mask = rigid(square.shape[-1]) if self.mask is None else self.mask
        turning = self._turning(square)
        if self._key is not None:
            affine, rest = register(square, self._key, mask, self._last)
            if rest <= (RESIDUAL_TURNING if turning else RESIDUAL_STILL):
                self._last = affine
                return Registered(affine, rest, self.keys[-1])
        self._key, self._last = square, torch.eye(2, 3)
        self.keys.append(index)
        return Registered(self._last, 0.0, index)

    def _turning(self, square: Tensor) -> bool:
        """Whether yaw or pitch changed by more than TURN since the frame before."""
        pose = None if self.pose_of is None else self.pose_of(square[None])
        before, self._pose = self._pose, pose
        if pose is None or before is None:
            return False
        return bool((pose - before).abs().nan_to_num(0.0).max() > TURN)
