"""Registration to key frames: known maps come back, what deforms does not pull, new key frames where they must be."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fev.codec.face import registration
from fev.codec.face.align import compose
from fev.codec.face.registration import Registration, register, residual, rigid, similarity


@pytest.fixture(scope="module")
def face() -> torch.Tensor:
    """Smooth blobs of many sizes: (3, 256, 256)."""
    rng = torch.Generator().manual_seed(5)
    parts = [
        F.interpolate(torch.randn(1, 3, s, s, generator=rng), size=256, mode="bicubic") / s**0.3 for s in (4, 9, 20, 40)
    ]
    return (sum(parts)[0] * 0.6).tanh()


def moved(face: torch.Tensor, affine: torch.Tensor) -> torch.Tensor:
    """The frame of which `affine` fetches the key: its inverse applied to the key."""
    square = torch.cat([affine, torch.tensor([[0.0, 0.0, 1.0]])])
    return registration._warped(face[None], torch.linalg.inv(square)[:2])[0]


MAPS = {
    "shift": [[1, 0, 0.06], [0, 1, -0.04]],
    "turn": [[0.99, -0.08, 0.01], [0.08, 0.99, 0.02]],
    "nearer": [[1.05, 0, 0], [0, 1.05, 0.03]],
    "affine": [[1.03, 0.04, 0.02], [-0.02, 0.96, -0.03]],
}


@pytest.mark.parametrize("name", MAPS)
def test_a_known_map_comes_back(face, name):
    true = torch.tensor(MAPS[name])
    found, rest = register(moved(face, true), face, rigid(256))
    corners = torch.tensor([[x, y, 1.0] for x in (-0.5, 0.5) for y in (-0.5, 0.5)])
    off = ((found - true) @ corners.t()).norm(dim=0) * 128  # pixels of 256
    assert off.max() < 0.3 and rest < 4  # bilinear resampling twice


def test_what_deforms_does_not_pull(face):
    """Another mouth and other eyes, far brighter: the map of the rest is found all the same."""
    true = torch.tensor(MAPS["shift"])
    frame = moved(face, true)
    frame[:, 160:205, 95:160] = 0.9
    frame[:, 105:122, 75:110] = -0.9
    frame[:, 40:60, 120:150] = 0.9  # and something on the forehead, which the mask does not know of
    found, _ = register(frame, face, rigid(256))
    assert float((found - true)[:, 2].norm()) * 128 < 0.6


def test_the_similarity_of_a_map_is_what_placements_take(face):
    angle, scale = 0.07, 1.04
    a, b = scale * np.cos(angle), scale * np.sin(angle)
    row = similarity(torch.tensor([[a, -b, 0.1], [b, a, -0.2]]))
    placed = compose(np.array([[100.0, 50.0, 40.0, 0.3]]), row[None])[0]
    assert placed[2] == pytest.approx(40 * scale, rel=1e-5) and placed[3] == pytest.approx(0.37, abs=1e-6)
    np.testing.assert_allclose(row[2:], [0.1, -0.2], atol=1e-7)


def test_residual_is_the_mean_distance_in_rgb(face):
    key = torch.zeros(3, 64, 64)
    frame = torch.tensor([3.0, 4.0, 12.0])[:, None, None].expand(3, 64, 64) / 127.5
    assert residual(frame, key, rigid(64), torch.eye(2, 3)) == pytest.approx(13.0, rel=1e-5)


def test_key_frames_begin_where_the_residual_says(face):
    """One level of grey a channel is sqrt(3) of distance: 24 levels are 41.6, 18 are 31.2, 27 are 46.8."""
    angles: list[tuple[float, float]] = []
    track = Registration(pose_of=lambda square: torch.tensor(angles[-1:]))

    def step(index: int, levels: float, pose: tuple[float, float]) -> registration.Registered:
        angles.append(pose)
        # the change is flat, which no map can undo
        return track.step(index, face * 0.3 + levels / 127.5)

    assert step(0, 0, (0, 0)).residual == 0 and track.keys == [0]
    assert step(1, 24, (1, 1)).residual == pytest.approx(41.6, abs=1.5)
    assert track.keys == [0], "below 45 while the head is still"
    step(2, 27, (1, 1))
    assert track.keys == [0, 2], "beyond 45"
    step(3, 27 + 18, (4, 1))
    assert track.keys == [0, 2, 3], "beyond 30 while the head turns by three degrees"
    assert step(4, 27 + 18 + 10, (9, 1)).key == 3


def test_a_picture_that_cannot_be_registered_is_left_where_it_is():
    flat = torch.zeros(3, 64, 64)
    found, rest = register(flat, flat, rigid(64))
    assert torch.equal(found, torch.eye(2, 3)) and rest == 0
    noise = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    found, rest = register(noise, -noise, rigid(64))
    assert torch.isfinite(found).all() and float((found - torch.eye(2, 3)).abs().max()) <= registration.FARTHEST


class Trembling:
    """A tracker that knows where the face is but for some noise, more where it blinks."""

    def __init__(self, places: np.ndarray, noise: np.ndarray):
        self.rows, self.doubtful, self.other, self.restarted = iter(places + noise), 0, False, False

    def step(self, frame: np.ndarray, sudden: bool) -> tuple[np.ndarray, bool]:
        return next(self.rows), True


def surveyed(frames, places, noise, tracked: Registration | None) -> list:
    from fev.codec.face.survey import Survey
    from fev.codec.media.frame import Frame
    from fev.codec.model.aligner import Aligner

    survey = Survey((Frame(i, rgb) for i, rgb in enumerate(frames)), Aligner(), 128, registration=tracked)
    survey.tracker = Trembling(places, noise)
    return list(survey)


def test_squares_keep_their_place_on_the_face(face):
    """A face that moves and turns in its frame, found with an error of pixels: against the key frame, the square's path
    is the face's own to a fraction of a pixel."""
    n, side = 24, 320
    t = np.arange(n)
    places = np.stack([160 + 12 * np.sin(t / 6), 150 + t / 2, 70 + t / 8, 0.1 * np.sin(t / 9)], 1)
    noise = np.random.default_rng(0).normal(0, [3, 3, 2, 0.03], (n, 4))
    axis = np.arange(side) + 0.5
    x, y = np.meshgrid(axis, axis)
    frames = []
    for cx, cy, half, angle in places:
        c, s = np.cos(angle) / half, np.sin(angle) / half
        grid = np.stack([c * (x - cx) + s * (y - cy), c * (y - cy) - s * (x - cx)], -1)[None]
        picture = F.grid_sample(face[None], torch.from_numpy(grid).float(), padding_mode="border", align_corners=False)
        frames.append(((picture[0].permute(1, 2, 0) + 1) * 127.5).round().clamp(0, 255).byte().numpy())

    def off(seen: list) -> np.ndarray:
        """How far the squares' corners wander on the face from where the first has them, in pixels of 256."""
        corners = []
        for (cx, cy, half, angle), row in zip(places, seen, strict=True):
            px, py, h, a = row.placement
            c, s = h * np.cos(a), h * np.sin(a)
            points = np.array([[px + c * u - s * v, py + s * u + c * v] for u in (-1, 1) for v in (-1, 1)])
            d = points - [cx, cy]
            turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
            corners.append(d @ turn.T / half * 128)
        return np.linalg.norm(np.array(corners) - corners[0], axis=2).max(1)

    track = Registration()
    plain, registered = off(surveyed(frames, places, noise, None)), off(surveyed(frames, places, noise, track))
    assert track.keys == [0]
    assert np.median(plain) > 3 and registered.max() < 0.7


def test_frames_that_blink_have_no_say_in_where_the_square_lies(face):
    """Eyes close for three frames, and there the tracker is off by a tenth of the face; the key frame that begins there
    (a cut to another light) must not be."""
    n = 21
    open_eyes = face.clone()
    stripes = torch.tensor([0.9, 0.9, -0.9, -0.9]).repeat(8)[:31, None]
    for left in (0.3, 0.55):
        open_eyes[:, 105:136, round(256 * left) : round(256 * (left + 0.15))] = stripes
    closed = face.clone()
    closed[:, 105:136, 77:180] = 0.1
    places = np.tile([128.0, 128, 127, 0], (n, 1))
    noise = np.zeros((n, 4))
    noise[9:12, 1] = 13
    frames = []
    for i in range(n):
        picture = closed if 9 <= i < 12 else open_eyes
        picture = picture * 0.4 - 0.5 if i >= 10 else picture
        frames.append(((picture.permute(1, 2, 0) + 1) * 127.5).round().clamp(0, 255).byte().numpy())
    from fev.codec.face import survey

    track = Registration()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(survey, "is_aligned_crop", lambda *a: False)
        seen = surveyed(frames, places, noise, track)
        without = surveyed(frames, places, noise, None)
    rows = np.array([s.placement[1] for s in seen])
    assert track.keys[0] == 0 and 10 in track.keys
    assert abs(rows[10] - 128) < 0.5
    assert abs(without[10].placement[1] - 128) > 3
