"""The landmark-based stand-in for a shape model: its template, the fit, and both sources of landmarks."""

from __future__ import annotations

import hashlib
import json
import math

import numpy as np
import pytest
import torch
from fev.codec.paper.bisenet import LABELS
from fev.format.errors import FevError, ModelMismatchError
from fev.tools.lab.train import landmarks
from fev.tools.measure.landmarknet import INPUT, LEFT, REACH, TOP, LandmarkNet, cut, load_net, save_net
from fev.tools.measure.landmarkshape import PERSON, LandmarkShape, fit
from fev.tools.measure.parsedpoints import ParsedPoints, drawn
from fev.tools.measure.shape import HALF, Shape
from fev.tools.measure.template import IDENTITY, MEAN, MIRROR, MOVES, PARAMETERS, PEOPLE, angles_of, face, rotation
from safetensors.torch import save_file

NOBODY = torch.zeros(1, len(IDENTITY))


def at(**parameters: float) -> torch.Tensor:
    """Parameters (1, P), those not named nought."""
    out = torch.zeros(1, len(PARAMETERS))
    for name, value in parameters.items():
        out[0, PARAMETERS.index(name.replace("_", " "))] = value
    return out


def people(count: int, seed: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Parameters and identities that a face can have: lids and lips do not cross."""
    rng = torch.Generator().manual_seed(seed)
    ranges = {"yaw": (-25, 25), "pitch": (-12, 12), "roll": (-5, 5), "jaw": (0, 2), "lids": (-0.3, 0.9),
              "upper lip": (0, 1), "lower lip": (0, 1), "wink": (-0.1, 0.1), "smile": (-0.5, 1)}  # fmt: skip
    low, high = (torch.tensor([float(ranges.get(n, (-0.7, 0.7))[i]) for n in PARAMETERS]) for i in (0, 1))
    parameters = low + (high - low) * torch.rand(count, len(PARAMETERS), generator=rng)
    return parameters, 0.5 * torch.randn(count, len(IDENTITY), generator=rng)


def test_the_template_is_a_face():
    assert sorted(MIRROR) == list(range(68))
    assert torch.equal(MEAN[list(MIRROR)] * torch.tensor([-1.0, 1, 1]), MEAN), "its halves are alike"
    assert MOVES.shape == (13, 68, 3) and PEOPLE.shape == (len(IDENTITY), 68, 3)
    still = face(at(), NOBODY)[0]
    assert torch.equal(still, MEAN)

    def moved(point: int, axis: int, **parameters: float) -> float:
        return float((face(at(**parameters), NOBODY)[0] - still)[point, axis])

    assert moved(30, 0, yaw=20) > 0.08 and moved(30, 1, pitch=15) < -0.05, "the nose to the right, and up"
    assert moved(16, 1, roll=10) > 0.05, "clockwise"
    assert moved(8, 1, jaw=1) == pytest.approx(0.1) and moved(66, 1, jaw=1) == pytest.approx(0.1)
    assert moved(62, 1, jaw=1) == 0
    assert moved(37, 1, lids=1) > 0 > moved(41, 1, lids=1) and moved(44, 1, lids=1) == moved(37, 1, lids=1)
    assert moved(37, 1, wink=1) == pytest.approx(-moved(44, 1, wink=1)) and moved(37, 1, wink=1) > 0
    assert moved(48, 1, smile=1) < 0 and moved(48, 0, smile=1) == -moved(54, 0, smile=1) < 0
    assert moved(48, 0, mouth_aside=1) == moved(54, 0, mouth_aside=1) > 0
    assert moved(19, 1, brows=1) == moved(24, 1, brows=1) < 0


def test_angles_come_back():
    angles = torch.tensor([[25.0, -12, 7], [-40, 20, -9], [0, 0, 0]])
    turns = rotation(angles)
    torch.testing.assert_close(turns @ turns.transpose(1, 2), torch.eye(3).expand(3, 3, 3), atol=1e-6, rtol=0)
    torch.testing.assert_close(angles_of(turns), angles, atol=1e-3, rtol=0)


def test_a_face_is_found_from_its_own_landmarks():
    parameters, identity = people(20)
    points = face(parameters, identity)[..., :2]
    placed = points * 1.05 + torch.tensor([0.03, -0.02])
    state = fit(placed, torch.full((68,), 0.003))
    # degrees; what is weakly seen (a nod is like a long nose) leans to the mean by a part of a degree
    assert (state[:, :3] - parameters[:, :3]).abs().mean(0).max() < 0.7
    for k, name in enumerate(PARAMETERS):
        both = torch.stack([state[:, k], parameters[:, k]])
        assert torch.corrcoef(both)[0, 1] > 0.95, name
    again = face(state[:, : len(PARAMETERS)], state[:, len(PARAMETERS) : PERSON])[..., :2]
    seen = again * state[:, PERSON, None, None].exp() + state[:, None, PERSON + 1 :]
    assert (seen - placed).abs().mean() < 1e-3


def test_the_fit_is_differentiable_as_if_it_were_solved_anew():
    points = face(*people(1))[..., :2].double()
    error = torch.full((68,), 0.03).double()
    along = torch.randn(points.shape, generator=torch.Generator().manual_seed(1)).double()
    moving = points.clone().requires_grad_()
    state = fit(moving, error)
    small = 1e-4
    ends = [fit(points + sign * small * along, error) for sign in (-1, 1)]
    slope = (ends[1] - ends[0]) / (2 * small)
    for k in range(state.shape[1]):
        (gradient,) = torch.autograd.grad(state[0, k], moving, retain_graph=True)
        # Gauss-Newton leaves out how the slope itself turns; close to a face that fits, that is little
        assert float((gradient * along).sum()) == pytest.approx(float(slope[0, k]), rel=0.1, abs=0.3), k


def test_parsing_says_where_things_are():
    parameters, identity = people(40)
    points = face(parameters, identity)[..., :2]
    source = ParsedPoints(None)
    scores = drawn(points, 128)
    found = source.of_scores(scores)
    known = source.error < 1
    assert (found - points)[:, known].abs().mean() < 0.02
    mean = source.of_scores(drawn(MEAN[None, :, :2]))
    torch.testing.assert_close(mean[0, known], MEAN[known, :2], atol=1e-5, rtol=0)  # by construction

    def gap(p: torch.Tensor, upper: int, lower: int) -> torch.Tensor:
        return p[:, lower, 1] - p[:, upper, 1]

    for upper, lower in ((37, 41), (44, 46), (62, 66)):
        assert torch.corrcoef(torch.stack([gap(found, upper, lower), gap(points, upper, lower)]))[0, 1] > 0.95
    state = fit(found, source.error)
    for name, least in {"yaw": 0.95, "pitch": 0.8, "roll": 0.8, "jaw": 0.9, "lids": 0.9, "brows": 0.8}.items():
        k = PARAMETERS.index(name)
        assert torch.corrcoef(torch.stack([state[:, k], parameters[:, k]]))[0, 1] > least, name
    # the parsing's left and right may be the picture's or the person's
    swapped = scores.clone()
    for part in ("eye", "brow"):
        a, b = LABELS.index(f"left {part}"), LABELS.index(f"right {part}")
        swapped[:, [a, b]] = scores[:, [b, a]]
    torch.testing.assert_close(source.of_scores(swapped), found)


def test_the_stand_in_names_itself_and_passes_gradients():
    class Net(torch.nn.Module):
        """Scores that follow the picture: its darkness is drawn over those of a face."""

        def of_square(self, pictures, side):
            ideal = drawn(MEAN[None, :, :2], 64, 4.0)
            return ideal + torch.nn.functional.adaptive_avg_pool2d(pictures, 64).mean(1, keepdim=True) * ideal.flip(1)

    shape = LandmarkShape(ParsedPoints(Net()))
    assert shape.name == "landmark-based stand-in (not DECA): 68 points fitted to face parsing (BiSeNet)"
    assert shape.parameter_names[:4] == ("yaw", "pitch", "roll", "jaw") and len(shape.parameter_names) == 16
    picture = torch.zeros(2, 3, 64, 64, requires_grad=True)
    measured = shape.measure(picture)
    assert measured.parameters.shape == (2, 16) and measured.identity.shape == (2, len(IDENTITY))
    measured.parameters[:, 0].sum().backward()
    assert picture.grad.abs().sum() > 0
    points = shape.points(Shape(NOBODY, at(jaw=1)))
    assert points.mesh.shape == (1, 68, 3) and points.landmarks.shape == (1, 68, 2)
    torch.testing.assert_close(points.mesh, face(at(jaw=1), NOBODY) * HALF)


def dots(points: torch.Tensor, size: int) -> torch.Tensor:
    """A picture (1, 3, size, size) of the whole square with a bright spot at one point."""
    axis = (torch.arange(size) + 0.5) * (2 / size) - 1
    spot = torch.exp(-((axis[None] - points[0]) ** 2 + (axis[:, None] - points[1]) ** 2) / (2 * 0.03**2))
    return spot.expand(1, 3, -1, -1)


def test_a_warp_carries_landmarks_to_where_it_says():
    torch.manual_seed(5)
    before = MEAN[None, :, :2]
    after = landmarks.moved(before, at(yaw=20, jaw=1.5, lids=0.5), 0.5 * torch.randn(1, len(IDENTITY)))
    grid = landmarks.warp_grid(before, after, 128)
    for point in (8, 17, 30, 36, 48, 57):
        seen = torch.nn.functional.grid_sample(dots(before[0, point], 256), grid, align_corners=False)[0, 0]
        where = (seen == seen.max()).nonzero()[0].flip(0)
        found = (where + 0.5) / 128 * REACH + torch.tensor([LEFT, TOP])
        # two pixels of what the network sees; the warp is smooth and worked out on a coarse grid
        assert (found - after[0, point]).norm() < 0.025, point


def test_batches_show_faces_and_their_landmarks():
    torch.manual_seed(1)
    x, after = landmarks.make_batch(torch.rand(6, 3, 256, 256) * 2 - 1, MEAN[None, :, :2].repeat(6, 1, 1))
    assert x.shape == (6, 3, INPUT, INPUT) and x.min() >= -1 and x.max() <= 1 and after.shape == (6, 68, 2)
    change, identity = landmarks.random_change(500)
    assert change.shape == (500, len(PARAMETERS)) and identity.shape == (500, len(IDENTITY))
    assert change[:, 0].abs().max() <= 28 and (change == 0).float().mean() == pytest.approx(0.4, abs=0.03)
    # an opened mouth is dark inside, a shut one is left alone
    pale, still = torch.zeros(8, 3, INPUT, INPUT), MEAN[None, :, :2].expand(8, -1, -1)
    wide = face(at(jaw=2), NOBODY)[..., :2].expand(8, -1, -1)
    assert torch.equal(landmarks.opened(pale, still, still), pale)
    centre = ((wide[0, 66] - torch.tensor([LEFT, TOP])) / REACH * INPUT).round().long()
    assert landmarks.opened(pale, still, wide)[:, :, centre[1] - 2, centre[0]].mean() < -0.2


def test_what_the_network_sees_is_cut_where_landmarks_are_counted_from():
    axis = (torch.arange(256) + 0.5) / 128 - 1
    ramp = torch.stack(torch.meshgrid(axis, axis, indexing="xy"))[None]
    seen = cut(torch.cat([ramp, ramp[:, :1]], 1))
    assert seen.shape[-1] == INPUT
    axis = (torch.arange(INPUT) + 0.5) / INPUT * REACH
    torch.testing.assert_close(seen[0, 0, 40], axis + LEFT, atol=0.01, rtol=0)
    torch.testing.assert_close(seen[0, 1, :, 40], axis + TOP, atol=0.01, rtol=0)


def test_the_network_comes_back_from_its_file(tmp_path):
    torch.manual_seed(2)
    net = LandmarkNet()
    net.error.copy_(torch.linspace(0.01, 0.05, 68))
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
    path = tmp_path / "net.safetensors"
    save_net(net.eval(), path, {"images": 3})
    again = load_net(path)
    x = torch.rand(2, 3, 128, 128) * 2 - 1
    assert torch.equal(again(x), net(x)) and torch.equal(again.error, net.error)
    assert hashlib.sha256(path.read_bytes()).hexdigest()[:16] in LandmarkShape(again).name
    with pytest.raises(FevError, match="no such file"):
        load_net(tmp_path / "none.safetensors")
    for name, kind in (("format", "other"), ("fit", "fev-landmarks/1")):
        save_file({"x": torch.ones(1)}, tmp_path / name, {"config": json.dumps({"format": kind})})
        with pytest.raises(ModelMismatchError, match=name):
            load_net(tmp_path / name)
    (tmp_path / "bad").write_bytes(b"\xff" * 30)
    with pytest.raises(ModelMismatchError):
        load_net(tmp_path / "bad")


def test_labels_are_found_anew_without_what_is_held_out(tmp_path):
    rng = np.random.default_rng(1)
    np.save(tmp_path / "faces.npy", rng.integers(0, 255, (5, 256, 256, 3), np.uint8))
    (tmp_path / "faces.json").write_text(json.dumps([{"held_out": i == 2} for i in range(5)]))
    faces = landmarks.Faces(tmp_path)
    kept = np.load(tmp_path / "faces.npy")[[0, 1, 3, 4]].reshape(4, 128, 2, 128, 2, 3).mean((2, 4))
    np.testing.assert_allclose(faces.sets[0].permute(0, 2, 3, 1), kept, atol=0.51)
    _, believed = faces.draw(3, rng)
    assert torch.equal(believed, MEAN[None, :, :2].expand(3, -1, -1))
    faces.believe(LandmarkNet())
    both = faces.believed[0]
    assert both.shape == (4, 68, 2) and math.isfinite(float(both.sum())) and not torch.equal(both[0], MEAN[:, :2])
