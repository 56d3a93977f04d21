"""Directions of yaw and pitch out of codes alone."""

from __future__ import annotations

import pytest
import torch
from fev.codec.paper.posebasis import PITCH_SPREAD, YAW_SPREAD, pose_directions


def test_planted_directions_come_back_with_their_scale():
    rng = torch.Generator().manual_seed(2)
    yaw, pitch = torch.linalg.qr(torch.randn(4 * 8, 2, generator=rng))[0].t()

    def codes(count: int, turn: float, tilt: float, person: float) -> tuple[torch.Tensor, torch.Tensor]:
        angle = turn * torch.randn(count, 1, generator=rng)
        same = tilt * torch.randn(count, 1, generator=rng) * pitch + person * torch.randn(1, 32, generator=rng)
        noise = 0.02 * torch.randn(2, count, 32, generator=rng)
        return tuple((same + s * angle * yaw + n).view(count, 4, 8) for s, n in zip((1, -1), noise, strict=True))

    people = [codes(1, 3.0, 1.0, 1.0) for _ in range(400)]
    faces, mirrored = (torch.cat([p[i] for p in people]) for i in range(2))
    clips = [codes(60, 2.0, 1.5, 1.0) for _ in range(5)]
    found = pose_directions(faces, mirrored, clips, 4).flatten(1)
    for row, (true, size) in zip(found, ((yaw, 3.0 / YAW_SPREAD), (pitch, 1.5 / PITCH_SPREAD)), strict=True):
        assert float((row / row.norm()) @ true) ** 2 > 0.99
        assert float(row.norm()) == pytest.approx(size, rel=0.1)
    # rows that may not move do not: the directions of fewer rows are of those alone
    assert pose_directions(faces, mirrored, clips, 2).shape == (2, 2, 8)
