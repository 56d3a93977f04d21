"""Training of the direction matrix: on a tiny generator and a shape model whose truth is known."""

from __future__ import annotations

import json
import sys
import types

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import tiny_modules
from fev.codec.model.inverter import LatentSpace
from fev.codec.model.modelfile import library, load_model, pack
from fev.codec.model.pictures import from_numpy
from fev.codec.model.stylegan2 import Generator, GeneratorConfig
from fev.codec.paper.arcface import ArcFace
from fev.codec.paper.imports.official import read_official
from fev.codec.paper.networks import NetworkFile, Networks, matrix_of
from fev.codec.paper.similarity import Similarity
from fev.format.errors import FevError, ModelMismatchError, UsageError
from fev.tools import models
from fev.tools.lab.train import direction_sheet, directions
from fev.tools.lab.train.codes import Batch, MappedCodes, Pictures, PriorCodes, codes_of
from fev.tools.lab.train.matrixtraining import REACH, MatrixTraining, Scaling, Settings, beside, chosen, wanted_change
from fev.tools.lab.train.reenactment import EYES, MOUTH, Weights, left_out, losses, pair_distances, total
from fev.tools.measure.shape import Points, Shape
from fev.tools.measure.shapemodels import named, shape_of
from safetensors.torch import save_file
from snapshots import network_state, saved
from test_imports import ROSINALITY

NAMES = ("yaw", "pitch", "roll", "jaw", "smile", "lids")
PIXELS = 3 * 8 * 8
SIZE = 32


class Linear:
    """Parameters are fixed linear readings of the picture, and points fixed linear functions of the parameters: a
    renderer and its inverse without error."""

    name = "toy"
    parameter_names = NAMES

    def __init__(self, seed: int = 4):
        rng = torch.Generator().manual_seed(seed)
        self.reading = torch.randn(PIXELS, len(NAMES), generator=rng) / PIXELS**0.5
        self.unit = torch.tensor([40.0, 20.0, 20.0, 1.0, 1.0, 1.0])
        self.map = torch.randn(len(NAMES), 68 * 3, generator=rng)
        self.people = torch.randn(1, 68 * 3, generator=rng)

    def measure(self, pictures):
        small = F.adaptive_avg_pool2d(pictures, 8).flatten(1)
        return Shape(small.mean(1, keepdim=True).detach(), small @ self.reading * self.unit)

    def points(self, shape):
        mesh = shape.parameters / self.unit @ self.map + 0 * shape.identity @ self.people
        mesh = mesh.view(-1, 68, 3)
        return Points(mesh, mesh[..., :2])


@pytest.fixture(scope="session")
def small_file(tmp_path_factory):
    """A random model of our own at 32 pixels, the smallest there is: most tests here are many steps."""
    return small_model(tmp_path_factory.mktemp("small"))


def small_model(folder):
    modules = tiny_modules()
    torch.manual_seed(1)
    modules["generator"] = Generator(GeneratorConfig(32, (8, 8, 8, 8), 16, 16, 0)).eval()
    modules["latents"] = LatentSpace(8, 16, 12, 6)
    path = folder / "small.safetensors"
    path.write_bytes(pack(modules, torch.ones(12), {"name": "small", "basis": "directions"}))
    return path


@pytest.fixture
def codes(small_file):
    return PriorCodes(load_model(small_file))


@pytest.fixture
def pictures(tmp_path):
    """A folder of training data with eight faces and two clips, the last face and clip held out."""
    rng = np.random.default_rng(1)
    folder = tmp_path / "data"
    folder.mkdir()
    coarse = rng.integers(0, 255, (20, 4, 4, 3), np.uint8)
    array = coarse.repeat(16, 1).repeat(16, 2)
    np.save(folder / "faces.npy", array[:8])
    np.save(folder / "frames.npy", array[8:])
    (folder / "faces.json").write_text(json.dumps([{"name": str(i), "held_out": i == 7} for i in range(8)]))
    clips = [{"name": "a", "first": 0, "count": 6, "held_out": False}, {"name": "b", "first": 6, "count": 6}]
    clips[1]["held_out"] = True
    (folder / "frames.json").write_text(json.dumps(clips))
    return folder


def scaling_of(codes, roll=False) -> Scaling:
    found = directions.measured(Linear(), codes, 64, SIZE, torch.Generator().manual_seed(0))
    return Scaling.of(NAMES, chosen(NAMES, roll), found, 64)


def training_of(codes, settings=Settings(size=SIZE, rate=3e-3), folder=None, similarity=Similarity()) -> MatrixTraining:
    pictures = Pictures(folder) if folder else None
    return MatrixTraining(codes, Linear(), similarity, scaling_of(codes), settings, pictures)


def test_training_makes_the_shape_right(codes):
    settings = Settings(size=SIZE, rate=5e-3)
    training = MatrixTraining(codes, Linear(), Similarity(), scaling_of(codes, roll=True), settings)
    found = [training.advance()["shape"] for _ in range(100)]
    assert np.mean(found[-10:]) < 0.55 * np.mean(found[:5]), found
    # and what it learnt is the matrix itself: directions do what they are asked, and hardly anything else
    ws = codes.synthetic(16, 0.7, torch.Generator().manual_seed(9))
    table = direction_sheet.responses(codes, training.matrix, training.shape, training.scaling, ws, 2.0, SIZE)
    own = table.diagonal()
    assert own.min() > 0.25 and own.mean() > 0.4, table
    assert (table - torch.diag(own)).abs().mean() < 0.25 * own.mean(), table


def test_half_of_a_batch_changes_one_parameter(codes):
    scaling = scaling_of(codes)
    rng = torch.Generator().manual_seed(2)
    source, target = torch.randn(2, 12, len(NAMES), generator=rng).unbind(0)
    change, goal = wanted_change(source, target, scaling, True, rng)
    assert torch.equal(goal[:6], target[:6])
    torch.testing.assert_close(change[:6], (scaling.scaled(target) - scaling.scaled(source))[:6])
    assert ((change[6:] != 0).sum(1) == 1).all(), "one direction, in the input of the matrix"
    moved = (goal[6:] - source[6:]).abs() > 1e-5
    assert (moved.sum(1) <= 1).all() and moved.any() and not moved[:, NAMES.index("roll")].any()
    assert scaling.scaled(goal)[6:].abs().max() <= max(REACH, scaling.scaled(source).abs().max()) + 1e-4
    assert len({int(i) for i in (change[6:] != 0).int().argmax(1)}) > 1, "not always the same one"
    torch.testing.assert_close(scaling.scaled(goal) - scaling.scaled(source), change, atol=1e-4, rtol=0)
    # pairs change everything
    change, goal = wanted_change(source, target, scaling, False, rng)
    assert torch.equal(goal, target) and (change != 0).all()


def test_inputs_are_scaled_as_the_paper_says():
    found = torch.tensor([[-10.0, -5, 2, -0.2, 1.0, 0], [30.0, 5, 3, 0.4, 5.0, 1]])
    scaling = Scaling.of(NAMES, NAMES, found, 2)
    scaled = scaling.scaled(torch.tensor([[40.0, 20, -20, 0.4, 1, 0.5], [20.0, 0, 0, 0.1, 5, 0.0]]))
    torch.testing.assert_close(scaled, torch.tensor([[6.0, 6, -6, 6, -6, 0], [3.0, 0, 0, 0, 6, -6]]))
    assert scaling.ranges[3] == pytest.approx([-0.2, 0.4])
    with pytest.raises(FevError, match="lids"):
        Scaling.of(NAMES, NAMES, torch.cat([found[:, :5], torch.ones(2, 1)], 1), 2)


def test_fifteen_parameters_with_roll_or_without():
    names = ("yaw", "pitch", "roll", "jaw", *(f"expression {k}" for k in range(50)))
    assert chosen(names, True) == [*names[:4], *names[4:15]]
    assert chosen(names, False) == ["yaw", "pitch", "jaw", *names[4:16]]


def test_a_stopped_training_goes_on_as_if_it_had_not(codes, tmp_path):
    whole, path = training_of(codes), tmp_path / "m.safetensors"
    expected = [whole.advance() for _ in range(8)]
    part = training_of(codes)
    for _ in range(5):
        part.advance()
    part.save(path)
    again = training_of(codes, Settings(size=SIZE, rate=3e-3))
    state = MatrixTraining.stored(path)
    again.resume(state)
    assert again.step == 5 and again.scaling == state.scaling
    assert [again.advance() for _ in range(3)] == expected[5:]
    for a, b in zip(again.matrix.parameters(), whole.matrix.parameters(), strict=True):
        assert torch.equal(a, b)
    assert [p["steps"] for p in again.history()] == [8]


def test_another_phase_keeps_the_matrix_and_says_so(codes, tmp_path, pictures):
    training, path = training_of(codes), tmp_path / "m.safetensors"
    training.advance()
    training.save(path)
    paired = training_of(codes, Settings("paired", 4, 1e-3, 1, SIZE), pictures)
    paired.resume(MatrixTraining.stored(path))
    assert torch.equal(paired.matrix.linear.weight, training.matrix.linear.weight)
    assert not paired.optimiser.state
    parts = [paired.advance() for _ in range(2)]
    assert {"shape", "mouth", "eye", "pixel"} <= parts[0].keys() and 0 < parts[0]["pixel"] < 255
    assert [(p["phase"], p["steps"]) for p in paired.history()] == [("synthetic", 1), ("paired", 2)]
    other = training_of(codes)
    other.shape.name = "another"
    with pytest.raises(UsageError, match="shape_model"):
        other.resume(MatrixTraining.stored(path))


def test_pairs_are_pulled_to_the_target(codes, pictures):
    """On pictures that the generator can draw, the paired phase lowers the pixel loss too."""
    training = training_of(codes, Settings("paired", 8, 3e-3, 1, SIZE), pictures)
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        ws = codes.synthetic(8, 0.7, rng)
        targets = codes.generator(torch.cat([ws[:, :8] + 0.2, ws[:, 8:]], 1)).clamp(-1, 1)
        batch = Batch(ws, codes.generator(ws).clamp(-1, 1), targets)
    training.batch = lambda rng: batch
    first = training.advance()["pixel"]
    for _ in range(60):
        last = training.advance()["pixel"]
    assert last < 0.7 * first


def test_real_sources_take_every_other_place(codes, pictures):
    training = training_of(codes, Settings("real_synthetic", 6, 1e-3, 1, SIZE), pictures)
    batch = training.batch(torch.Generator().manual_seed(3))
    faces = from_numpy(np.array(Pictures(pictures).faces))
    apart = (F.adaptive_avg_pool2d(faces, SIZE)[None] - batch.sources[:, None]).abs().amax((2, 3, 4))
    which = [int(row.argmin()) if row.min() < 1e-4 else None for row in apart]
    assert [w is not None for w in which] == [True, False] * 3
    assert 7 not in which, "the held-out face is never among them"
    torch.testing.assert_close(batch.codes[::2], codes.inverted(faces[which[::2]]))
    training.advance()
    with pytest.raises(UsageError, match="--data"):
        training_of(codes, Settings("paired", 4, 1e-3, 1, SIZE)).advance()
    with pytest.raises(UsageError, match="even"):
        training_of(codes, Settings(batch=3))
    with pytest.raises(FevError, match="no folder of training data"):
        Pictures(pictures / "none")


def test_a_shape_model_without_gradients_is_refused(codes):
    training = training_of(codes)
    measure = training.shape.measure
    training.shape.measure = torch.no_grad()(measure)
    with pytest.raises(UsageError, match="no gradient"):
        training.advance()


def test_losses_are_those_of_the_sources():
    marks = torch.zeros(2, 68, 2)
    marks[0, [62, 66]] = torch.tensor([[1.0, 2], [3, 7]])
    marks[1, [37, 41]] = torch.tensor([[0.0, 4], [0, 1]])
    mouth, eyes = pair_distances(marks, MOUTH), pair_distances(marks, EYES)
    assert len(MOUTH) == 10 and len(EYES) == 6
    assert mouth[0, 8].tolist() == [2, 5] and mouth.sum() == 7 and eyes[1, 1].tolist() == [0, 3]
    a = Points(torch.zeros(2, 68, 3), marks)
    b = Points(torch.full((2, 68, 3), 0.5), torch.zeros(2, 68, 2))
    drawn, like = torch.zeros(2, 3, 64, 64), torch.full((2, 3, 64, 64), 0.1)
    parts = losses(Similarity(), drawn, like, a, b, True)
    assert parts["shape"] == 0.5
    assert float(parts["mouth"]) == pytest.approx(7 / 40) and float(parts["eye"]) == pytest.approx(3 / 24)
    assert float(parts["pixel"]) == pytest.approx(12.75)
    assert "pixel" not in losses(Similarity(), drawn, like, a, b, False)
    weights = Weights()
    assert (weights.identity, weights.perceptual, weights.shape, weights.mouth, weights.eye) == (10, 10, 1, 1, 1)
    assert float(total(parts, weights)) == pytest.approx(0.5 + 7 / 40 + 3 / 24 + 12.75)


def test_identity_is_ten_times_one_minus_the_cosine():
    torch.manual_seed(1)
    net = ArcFace().eval()
    pictures = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    points = Points(torch.zeros(2, 68, 3), torch.zeros(2, 68, 2))
    similarity = Similarity(arcface=net.requires_grad_(False))
    same = losses(similarity, pictures, pictures, points, points, False)
    assert left_out(similarity) == ["perceptual"] and left_out(Similarity()) == ["identity", "perceptual"]
    assert float(same["identity"]) == pytest.approx(0, abs=1e-5)
    other = losses(similarity, pictures, pictures.flip(0), points, points, False)
    cosine = similarity.person(pictures)
    assert float(other["identity"]) == pytest.approx(1 - float((cosine[0] * cosine[1]).sum()), abs=1e-5)
    assert float(total(other, Weights())) == pytest.approx(10 * float(other["identity"]), rel=1e-5)


@pytest.fixture
def toy_module(monkeypatch):
    module = types.ModuleType("toy_shape")
    module.make, module.broken, module.other = Linear, lambda: 1 / [], object
    monkeypatch.setitem(sys.modules, "toy_shape", module)


def run(*arguments) -> int:
    return directions.work([str(a) for a in arguments])


def lines(capsys) -> list[dict]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_the_command_trains_states_what_is_missing_and_resumes(
    toy_module, small_file, tmp_path, capsys, monkeypatch, pictures
):
    monkeypatch.setenv(library.VARIABLE, str(tmp_path / "models"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))  # no backbone in any cache
    out = tmp_path / "matrix.safetensors"
    common = ("--model", small_file, "--shape", "toy_shape:make", "--out", out, "--range-pictures", 9, "--every", 2)
    assert run(*common, "--steps", 4) == 0
    said = lines(capsys)
    notes = [line["note"] for line in said if "note" in line]
    assert notes[0] == "shape model: toy"
    assert any("perceptual" in n and "alexnet" in n for n in notes) and any("identity" in n for n in notes)
    assert [line["step"] for line in said if "loss" in line] == [2, 4]
    assert said[-1] == {"saved": str(out), "step": 4, "left_out": ["identity", "perceptual"]}
    assert run(*common, "--steps", 2, "--phase", "paired", "--data", pictures) == 0
    said = lines(capsys)
    assert {"note": "resumed at step 4"} in said and said[-1]["step"] == 6
    assert "pixel" in next(line for line in said if "loss" in line)
    file = NetworkFile(out)
    extra = file.config["extra"]["directions"]
    assert file.networks == ["directions"] and extra["shape_model"] == "toy"
    assert extra["left_out"] == ["identity", "perceptual"]
    assert extra["parameters"] == ["yaw", "pitch", "jaw", "smile", "lids"]
    assert [(p["phase"], p["batch"], p["steps"]) for p in extra["phases"]] == [("synthetic", 12, 4), ("paired", 4, 2)]
    assert len(extra["scaling"]["ranges"]) == 5 and extra["scaling"]["pictures"] == 9
    matrix = matrix_of(file)
    assert (matrix.rows, matrix.w_dim, matrix.linear.in_features) == (8, 16, 5)
    # the sheet and its table
    arguments = ["--model", small_file, "--matrix", out, "--out", tmp_path / "sheet.png", "--faces", 2]
    assert direction_sheet.work([str(a) for a in (*arguments, "--shape", "toy_shape:make")]) == 0
    assert [line["direction"] for line in lines(capsys)] == extra["parameters"] and (tmp_path / "sheet.png").is_file()


def test_a_trained_matrix_is_imported(codes, tmp_path, monkeypatch):
    monkeypatch.setenv(library.VARIABLE, str(tmp_path / "models"))
    training, path = training_of(codes), tmp_path / "m.safetensors"
    training.save(path)
    (found,) = read_official(path)
    assert found.network == "directions" and found.extra["shape_model"] == "toy"
    assert models.work(["import", str(ROSINALITY), str(path), "--name", "tiny"]) == 0
    networks = Networks("tiny")
    assert networks.names == ["directions", "generator"]
    held = networks.directions
    for key, value in training.matrix.state_dict().items():
        assert torch.equal(held.state_dict()[key], value)
    change = torch.randn(3, held.linear.in_features, generator=torch.Generator().manual_seed(1))
    assert torch.equal(held(change), training.matrix(change))
    sources = json.loads((tmp_path / "models" / "tiny.sources.json").read_text())
    assert "generator" in sources["directions"]["licence"]
    assert models.described("tiny")["licence"]["directions"] == sources["directions"]["licence"]
    # an official one still is what it was
    official = tmp_path / "a.pt"
    official.write_bytes(saved({"A_matrix": network_state("directions"), "shift_scale": 6}))
    models.work(["import", str(official), "--name", "tiny", "--force"])
    assert Networks("tiny").directions.linear.in_features == 15


def test_files_that_are_no_matrix_are_refused(codes, tmp_path):
    training, path = training_of(codes), tmp_path / "m.safetensors"
    training.save(path)
    with pytest.raises(ModelMismatchError, match="no direction matrix"):
        read_official(beside(path))  # the state of the training is not its result
    config = json.dumps({"format": "fev-model/1", "extra": {"directions": {"w_dim": 7}}})
    weight = {"directions.linear.weight": torch.zeros(128, 5), "directions.linear.bias": torch.zeros(128)}
    for name, tensors, meta in (
        ("width", weight, config),
        ("bias", weight | {"directions.linear.bias": torch.zeros(5)}, config.replace("7", "16")),
        ("format", weight, json.dumps({"format": "x"})),
        ("huge", weight, config.replace("7", '16, "x": "' + "y" * 70_000 + '"')),
        ("json", weight, "{"),
    ):
        save_file(tensors, tmp_path / f"{name}.safetensors", {"config": meta})
        with pytest.raises(ModelMismatchError, match=f"{name}.safetensors: "):
            read_official(tmp_path / f"{name}.safetensors")
    beside(path).write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    with pytest.raises(ModelMismatchError, match="no state"):
        MatrixTraining.stored(path)
    assert MatrixTraining.stored(tmp_path / "none.safetensors") is None


def test_shape_models_by_name(toy_module):
    assert isinstance(named("toy_shape:make"), Linear)
    for text, words in (
        ("toy_shape:broken", "TypeError"), ("toy_shape:none", "AttributeError"), ("no_such_module:x", "ModuleNotFound"),
        ("toy_shape:other", "neither"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=words):
            named(text)
    with pytest.raises(UsageError, match="neither"):
        shape_of("something", None)
    with pytest.raises(UsageError, match="--networks"):
        shape_of("parsing", None)


def test_codes_of_imported_networks_come_from_the_mapping(tmp_path, monkeypatch):
    monkeypatch.setenv(library.VARIABLE, str(tmp_path / "models"))
    models.work(["import", str(ROSINALITY), "--name", "tiny"])
    codes = codes_of("tiny")
    assert isinstance(codes, MappedCodes)
    rng = torch.Generator().manual_seed(1)
    ws = codes.synthetic(4, 0.7, rng)
    assert ws.shape == (4, 10, 64) and torch.equal(ws[:, 0], ws[:, 9])
    mean = codes.generator.w_avg
    whole = codes.synthetic(4, 1.0, torch.Generator().manual_seed(1))
    torch.testing.assert_close(ws - mean, 0.7 * (whole - mean))
    with pytest.raises(FevError, match="e4e"):
        codes.inverted(torch.zeros(1, 3, 64, 64))
