"""The shape model behind a small interface: what a picture's pose and expression are, and the face that they make.

`fev-rd` measures pose and landmarks with it; `fev.tools.lab.train.directions` trains against it.
The method uses DECA, which may not be shipped.  A user who has it names a module of their own
(`shapemodels.named`), and `Deca` makes the interface of what that returns.  Without it there is the
landmark-based stand-in (`landmarkshape`), which says so in its name and in the file of what it
trains.

Choices, from the public training code of Bounareli et al. (2022) where the paper is silent: points
are compared with the camera fixed, in pixels of a picture of 224 on which a face of FLAME's size is
enlarged 8 times, so that losses of shape have the size that their weights were chosen for.  Angles
are in degrees.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from .template import ANGLES, angles_of, rotation

SIDE = 224  # of DECA's pictures
HALF = SIDE / 2  # pixels of a half side, the unit of points
ENLARGED = 8.0  # FLAME's metres to half sides
LANDMARKS = 68


@dataclass(frozen=True)
class Shape:
    """What a shape model reads off pictures.

    Attributes:
        identity: (N, I), whatever the model means by it.
        parameters: (N, P), in the order of the model's names.
    """

    identity: Tensor
    parameters: Tensor


@dataclass(frozen=True)
class Points:
    """In pixels, without the camera.

    Attributes:
        mesh: (N, V, 3).
        landmarks: (N, 68, 2), in the usual order.
    """

    mesh: Tensor
    landmarks: Tensor


class ShapeModel(Protocol):
    """name: goes into what is trained.  parameter_names: yaw, pitch, roll (degrees), jaw, then expressions."""

    @property
    def name(self) -> str: ...

    @property
    def parameter_names(self) -> tuple[str, ...]: ...

    def measure(self, pictures: Tensor) -> Shape:
        """FFHQ squares (N, 3, S, S), -1 to 1; differentiable."""

    def points(self, shape: Shape) -> Points:
        """The face of an identity at parameters, which need not be of one picture; differentiable."""


class Deca:
    """What a user's DECA becomes.  net: an object with

    encode(pictures (N, 3, 224, 224), 0 to 1) -> mapping with `shape` (N, 100), `exp` (N, 50) and `pose` (N, 6), the
    axis-angles of head and jaw; differentiable, as DECA's own encode is without its `no_grad`;
    flame(shape_params=, expression_params=, pose_params=) -> vertices, 2D landmarks, 3D landmarks (N, 68, 3).

    The crop is a choice: DECA's takes the landmarks' box times 1.25, on an FFHQ square about 0.8 of its side, the lower
    part.  So is the turn about FLAME's origin instead of the neck: it moves the face as a whole, on both sides alike.
    """

    name = "DECA, as brought by the user"

    def __init__(self, net: Any):
        self.net = net
        self.parameter_names = (*ANGLES, "jaw", *(f"expression {k}" for k in range(50)), "jaw aside", "jaw turned")

    def measure(self, pictures: Tensor) -> Shape:
        side = pictures.shape[-1]
        edge = side // 10
        cut = pictures[..., 2 * edge :, edge : edge + side - 2 * edge]
        small = F.interpolate(cut, size=(SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)
        code = self.net.encode(small / 2 + 0.5)
        pose, expression = code["pose"], code["exp"]
        flip = pose.new_tensor([1.0, -1.0, 1.0])  # FLAME's y goes up
        turn = torch.linalg.matrix_exp(_cross(pose[:, :3])) * flip[:, None] * flip
        return Shape(code["shape"], torch.cat([angles_of(turn), pose[:, 3:4], expression, pose[:, 4:]], 1))

    def points(self, shape: Shape) -> Points:
        p = shape.parameters
        pose = torch.cat([torch.zeros_like(p[:, :3]), p[:, 3:4], p[:, -2:]], 1)
        mesh, _, marks = self.net.flame(shape_params=shape.identity, expression_params=p[:, 4:-2], pose_params=pose)
        turn = rotation(p[:, :3]).transpose(1, 2)
        flip = p.new_tensor([1.0, -1.0, 1.0]) * (ENLARGED * HALF)
        mesh, marks = (v * flip @ turn for v in (mesh, marks))
        return Points(mesh, marks[..., :2])


def _cross(axis: Tensor) -> Tensor:
    """Skew matrices (N, 3, 3) of axis-angles (N, 3)."""
    x, y, z = axis.unbind(1)
    o = torch.zeros_like(x)
    return torch.stack([o, -z, y, z, o, -x, -y, x, o], 1).view(-1, 3, 3)
