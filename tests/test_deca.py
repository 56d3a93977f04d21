"""DECA behind the interface of shape models: a look-alike whose turns and points are known."""

from __future__ import annotations

import sys
import types

import pytest
import torch
from fev.tools.measure.shape import Deca
from fev.tools.measure.shapemodels import named


class FakeFlame:
    """As DECA's: a head of four vertices that turn by axis-angle, and a code read off the picture."""

    mesh = torch.tensor([[0.0, 0, 0.1], [0.05, 0, 0], [-0.05, 0, 0], [0, -0.1, 0]])

    def __init__(self, pose):
        self.pose = pose

    def encode(self, pictures):
        assert pictures.shape[1:] == (3, 224, 224) and pictures.min() >= 0 and pictures.max() <= 1
        n = len(pictures)
        return {"shape": torch.ones(n, 100), "exp": pictures.mean((1, 2, 3))[:, None].expand(n, 50), "pose": self.pose}

    def flame(self, shape_params, expression_params, pose_params):
        assert not pose_params[:, :3].any(), "the head is turned afterwards"
        mesh = self.mesh.expand(len(shape_params), -1, -1) + 0.001 * expression_params[:, :1, None]
        return mesh, None, mesh.repeat(1, 17, 1)


def test_deca_is_wrapped():
    pose = torch.zeros(3, 6)
    pose[0, 1], pose[1, 0], pose[2, 2] = (torch.deg2rad(torch.tensor(v)) for v in (20.0, -10.0, 5.0))
    pose[:, 3] = 0.2
    deca = Deca(FakeFlame(pose))
    picture = torch.zeros(3, 3, 256, 256, requires_grad=True)
    shape = deca.measure(picture)
    # FLAME's y goes up: a turn about it shows the nose to the right, one about x by a negative angle lifts it
    expected = torch.tensor([[20.0, 0, 0], [0, 10, 0], [0, 0, -5]])
    torch.testing.assert_close(shape.parameters[:, :3], expected, atol=1e-4, rtol=0)
    assert shape.parameters.shape == (3, len(deca.parameter_names)) == (3, 56) and (shape.parameters[:, 3] == 0.2).all()
    points = deca.points(shape)
    assert points.mesh.shape == (3, 4, 3) and points.landmarks.shape == (3, 68, 2)
    nose = points.mesh[:, 0].detach()
    assert nose[0, 0] > 20 and nose[1, 1] < -10 and abs(float(nose[2, 0])) < 1, "right; up, where y goes down; nowhere"
    # metres, enlarged 8 times, on pictures of 224
    width = (points.mesh[2, 1] - points.mesh[2, 2]).norm().detach()
    assert float(width) == pytest.approx(0.1 * 8 * 112, rel=1e-4)
    points.mesh.sum().backward()
    assert picture.grad.abs().sum() > 0
    assert named_ok()


def named_ok() -> bool:
    module = types.ModuleType("toy_deca")
    module.make = lambda: FakeFlame(torch.zeros(1, 6))
    sys.modules["toy_deca"] = module
    try:
        return isinstance(named("toy_deca:make"), Deca)
    finally:
        del sys.modules["toy_deca"]
