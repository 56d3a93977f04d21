"""Official files to a model: recognised, exact, the same from whoever imports them; `fev-models` over all of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from fev.codec.model.build import build_generator
from fev.codec.model.modelfile import library, load_model
from fev.codec.model.stylegan2 import GeneratorConfig
from fev.codec.model.stylespace import CONFIG_F, StyleSpace, is_config_f
from fev.codec.paper.imports.official import ImportedNetwork, read_official
from fev.codec.paper.networks import NetworkFile, Networks
from fev.format.errors import FevError, ModelMismatchError, UsageError
from fev.tools import models
from golden import synth
from parity import GOLDEN, compare, drawn_by, near
from safetensors.torch import save_file
from snapshots import network_state, nvlabs_pickle, saved

ROSINALITY = GOLDEN / "ros_tiny64.pt"
# sha256 of the model that everybody gets from it; with another one, files that were made before lose theirs
IMPORTED = "53c09d5c3af1afaaa6b7cf57829fc15880309abdd9bdbed16b4f1a22a22028c8"


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv(library.VARIABLE, str(tmp_path / "models"))
    return tmp_path / "models"


def file(tmp_path: Path, name: str, data: bytes) -> str:
    path = tmp_path / name
    path.write_bytes(data)
    return str(path)


def test_a_real_checkpoint_draws_what_it_must():
    assert models.work(["import", str(ROSINALITY), "--name", "tiny"]) == 0
    generator = Networks("tiny").generator
    compare("ros_tiny64", drawn_by(generator, "ros_tiny64", "fast"))
    np.testing.assert_array_equal(generator.w_avg, np.load(GOLDEN / "ros_tiny64.npz")["latent_avg"])


def test_a_model_is_named_after_its_generator(tmp_path, capsys):
    more = file(tmp_path, "f.pth", saved(network_state("bisenet")))
    with pytest.raises(FevError, match="no generator"):
        models.work(["import", more])
    models.work(["import", str(ROSINALITY)])
    assert library.imported() == ["stylegan2-64"]
    models.work(["import", more])
    assert library.imported() == ["stylegan2-64"] and "bisenet" in Networks("stylegan2-64").names
    models.work(["import", str(ROSINALITY), "--name", "other"])
    again = file(tmp_path, "g.pth", saved(network_state("arcface")))
    with pytest.raises(UsageError, match="--name says which model they belong to, other, stylegan2-64"):
        models.work(["import", again])
    config_f = GeneratorConfig(1024, (512,) * 5 + (256, 128, 64, 32))
    known = ImportedNetwork("generator", "", "", 0, {}, config_f, None)
    assert models.default_name({"generator": known}) == "ffhq-1024"


@pytest.mark.parametrize("flavour", ["sg3", "ada"])
def test_a_snapshot_draws_what_it_must(tmp_path, flavour):
    models.work(["import", file(tmp_path, "network.pkl", nvlabs_pickle(4, flavour)), "--name", "tiny"])
    generator = Networks("tiny").generator
    assert generator.config.conv_clamp == 256
    compare("nv_tiny64", drawn_by(generator, "nv_tiny64", "fast"))


@pytest.mark.parametrize("network", ["arcface", "bisenet", "styleflow"])
@pytest.mark.parametrize("zipped", [False, True])
def test_flat_state_dicts_are_recognised_and_exact(tmp_path, network, zipped):
    state = network_state(network)
    if not zipped:  # as old files are: without the counters of batch normalisation
        state = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    path = file(tmp_path, "weights.pth", saved(state, zipped))
    models.work(["import", str(ROSINALITY), path, "--name", "tiny"])
    networks = Networks("tiny")
    assert networks.names == sorted(["generator", network])
    held = getattr(networks, network).state_dict()
    for key, value in state.items():
        assert torch.equal(held[key], value), key


def test_directions_are_recognised(tmp_path):
    content = {"A_matrix": network_state("directions"), "learned_directions": 15, "shift_scale": 6, "w_plus": True}
    found = read_official(file(tmp_path, "a.pt", saved(content)))
    assert [f.network for f in found] == ["directions"] and found[0].extra == {"shift_scale": 6.0}


@pytest.mark.slow
def test_e4e_comes_with_its_generator_and_mean(tmp_path):
    state = network_state("e4e") | {f"decoder.{k}": v for k, v in network_state("ros_tiny64").items()}
    mean = torch.from_numpy(np.load(GOLDEN / "e4e.npz")["latent_avg"])
    options = {"encoder_type": "Encoder4Editing", "start_from_latent_avg": True, "stylegan_size": 64}
    path = file(tmp_path, "e4e.pt", saved({"state_dict": state, "latent_avg": mean, "opts": options}))
    del state
    models.work(["import", path, str(ROSINALITY), "--name", "tiny"])
    networks = Networks("tiny")
    assert networks.names == ["e4e", "generator"]
    assert torch.equal(networks.e4e.latent_avg, mean)


def test_the_model_does_not_depend_on_the_file_it_came_from(tmp_path, own_folder, capsys):
    models.work(["import", str(ROSINALITY), "--name", "a"])
    state, mean = network_state("ros_tiny64"), torch.load(ROSINALITY)["latent_avg"]
    again = file(tmp_path, "again.pt", saved({"g_ema": state, "g": state, "latent_avg": mean}, False))
    models.work(["import", file(tmp_path, "p.pth", saved(network_state("bisenet"))), again, "--name", "b"])
    config = [NetworkFile(own_folder / f"{n}.safetensors").config for n in "ab"]
    assert config[0] | {"name": ""} == config[1] | {"name": ""}
    one, two = (NetworkFile(own_folder / f"{n}.safetensors").tensors("generator") for n in "ab")
    assert one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)
    # and byte for byte, whatever each calls it: files find their model by this digest
    before = (own_folder / "a.safetensors").read_bytes()
    assert (own_folder / "b.safetensors").read_bytes() == before
    models.work(["import", again, "--name", "a", "--force"])
    assert (own_folder / "a.safetensors").read_bytes() == before
    for name in "ab":
        assert library.find(name)[1] == IMPORTED and Networks(name).name == name
    models.work(["import", str(ROSINALITY), "--name", "c", "--basis", basis_file(tmp_path, [[0, 0]])])
    assert library.find("c")[1] != IMPORTED, "what the parameters are decides the pictures too"


def test_a_model_is_called_what_its_file_is_called(tmp_path, own_folder):
    basis = basis_file(tmp_path, [[2, 1]])
    for name in ("one", "two"):
        models.work(["import", str(ROSINALITY), "--name", name, "--basis", basis])
        assert load_model(name).name == name
    elsewhere = tmp_path / "received.safetensors"
    elsewhere.write_bytes((own_folder / "two.safetensors").read_bytes())
    assert load_model(elsewhere).name == "received" and load_model(elsewhere).sha256 == load_model("one").sha256


def test_what_only_an_encoder_needs_does_not_depend_on_the_name_either(tmp_path, own_folder):
    weights = file(tmp_path, "p.pth", saved(network_state("bisenet")))
    for name in ("one", "two"):
        models.work(["import", str(ROSINALITY), weights, "--name", name])
    one, two = ((own_folder / f"{name}.encoder.safetensors").read_bytes() for name in ("one", "two"))
    assert one == two


def basis_file(tmp_path: Path, channels, pose=None) -> str:
    content = {"channels": channels, "attributes": ["mouth"] * len(channels), "pose": pose}
    return file(tmp_path, "basis.json", json.dumps(content).encode())


def test_an_imported_model_is_loaded_and_moves_the_channels_of_its_basis(tmp_path):
    arrays, manifest = np.load(GOLDEN / "ros_tiny64.npz"), synth.load_manifest(str(GOLDEN / "ros_tiny64.json"))
    offsets = manifest["offsets"]["image_offset"]
    basis = basis_file(tmp_path, [row[:2] for row in offsets])
    models.work(["import", str(ROSINALITY), "--name", "tiny", "--basis", basis])
    model = load_model("tiny")
    assert model.latents.params == len(offsets) + 3 and model.latents.rank == 10 * 64 and model.size == 64
    ws = torch.from_numpy(arrays["w_plus"])
    motion = torch.tensor([[row[2] for row in offsets] + [0.0, 0.0, 0.0], [0.0] * (len(offsets) + 3)])
    for row, w in enumerate(ws):
        again = model.latents.base(model.latents.coefficients(w))
        torch.testing.assert_close(again, w, rtol=0, atol=1e-6)
        with torch.no_grad():
            drive = model.latents.drive(again, motion)
            drawn = model.generator(drive.ws, drive.moving, drive.added)
        for picture, name in zip(drawn, ("image_offset", "image"), strict=True):
            near(picture, arrays[name][row], manifest, name)
    models.work(["import", file(tmp_path, "f.pth", saved(network_state("bisenet"))), "--name", "tiny"])
    assert load_model("tiny").latents.channels == model.latents.channels, "the basis stays when networks are added"


def test_pose_comes_from_styleflow_and_moves_the_first_vectors_only(tmp_path):
    checkpoint = saved({"g_ema": network_state("ros_32"), "latent_avg": torch.zeros(512)})
    files = [file(tmp_path, "g.pt", checkpoint), file(tmp_path, "s.pt", saved(network_state("styleflow")))]
    models.work(["import", *files, "--name", "small", "--basis", basis_file(tmp_path, [[9, 409]])])
    space = load_model("small").latents
    arrays = np.load(GOLDEN / "ros_32.npz")
    w = torch.from_numpy(arrays["w_plus"])[0]
    motion = torch.tensor([[0.0, 0, 0, 0], [0, 10, 0, 0], [0, 0, -5, 0], [3, 10, -5, 7]])
    with torch.no_grad():
        drive = space.drive(w, motion)
        ws = Networks("small").styleflow.turned(w[None], torch.zeros(1, 17), motion[:, 1:3])
    assert torch.equal(drive.ws[:, :4], ws[:, :4]) and drive.moving == 4
    assert torch.equal(drive.ws[:, 4:], w[None, 4:].expand(4, -1, -1))
    torch.testing.assert_close(ws[0], w, rtol=0, atol=1e-4)  # there and back through the flow
    assert list(drive.added) == [9] and torch.equal(drive.added[9][:, 409], motion[:, 0])
    assert drive.added[9].count_nonzero() == 1
    assert space.drive(w, torch.zeros(2, 4)).moving == 0  # nothing moves W+, so that its styles are folded once
    models.work(["import", str(ROSINALITY), files[1], "--name", "narrow", "--basis", basis_file(tmp_path, [[0, 0]])])
    with pytest.raises(ModelMismatchError, match="512"):
        load_model("narrow")


def test_without_styleflow_the_basis_may_turn_the_head_by_directions(tmp_path):
    pose = torch.arange(2 * 3 * 64).view(2, 3, 64).div(1000).tolist()
    models.work(["import", str(ROSINALITY), "--name", "tiny", "--basis", basis_file(tmp_path, [[0, 0]], pose)])
    models.work(["import", file(tmp_path, "f.pth", saved(network_state("bisenet"))), "--name", "tiny"])
    space = load_model("tiny").latents
    ws = space.drive(torch.zeros(10, 64), torch.tensor([[0.0, 2, -1, 5]])).ws
    expected = 2 * torch.tensor(pose[0]) - torch.tensor(pose[1])
    torch.testing.assert_close(ws[0, :3], expected)
    assert (ws[0, 3:] == 0).all()


def test_the_paper_s_channels_are_those_of_config_f():
    channels = [c for group in CONFIG_F.values() for c in group]
    assert len(channels) == len(set(channels)) == 32
    assert {layer for layer, _ in channels} == {5, 6, 8, 9, 11, 12, 14, 15, 17}
    config = GeneratorConfig(1024, (512,) * 5 + (256, 128, 64, 32))
    assert is_config_f(config) and StyleSpace(config, channels).params == 35
    assert not is_config_f(GeneratorConfig(1024, (512,) * 4 + (256, 128, 64, 32, 16)))


@pytest.mark.parametrize(
    "channels", [[[0, 16]], [[14, 0]], [[-1, 0]], [[0]], "x", [[0, 0]] * 300, [], [["a", 1]]], ids=str
)
def test_a_basis_that_the_generator_does_not_have_is_refused(tmp_path, channels):
    with pytest.raises(FevError):
        models.work(["import", str(ROSINALITY), "--name", "tiny", "--basis", basis_file(tmp_path, channels)])
        load_model("tiny")


def test_networks_are_added_one_after_another(tmp_path, own_folder):
    models.work(["import", str(ROSINALITY), "--name", "tiny"])
    before = library.find("tiny")
    models.work(["import", file(tmp_path, "f.pth", saved(network_state("bisenet"))), "--name", "tiny"])
    assert library.find("tiny") == before, "what an encoder adds does not change what decoders must hold"
    assert Networks("tiny").names == ["bisenet", "generator"]
    with pytest.raises(FevError, match="--force"):
        models.work(["import", str(ROSINALITY), "--name", "tiny"])
    models.work(["import", file(tmp_path, "s.pt", saved(network_state("styleflow"))), "--name", "tiny"])
    assert Networks("tiny").names == ["bisenet", "generator", "styleflow"]
    assert library.find("tiny")[1] != before[1]
    sources = json.loads((own_folder / "tiny.sources.json").read_text())
    assert sorted(sources) == ["bisenet", "generator", "styleflow"]
    assert sources["generator"]["container"] == "rosinality checkpoint"
    assert library.holding(library.find("tiny")[1]) == "tiny"


def test_what_is_missing_is_named_with_its_file_and_licence(capsys):
    models.work(["import", str(ROSINALITY), "--name", "tiny"])
    with pytest.raises(FevError, match=r"modellarge10k\.pt.*RameenAbdal.*CC BY-NC-SA"):
        _ = Networks("tiny").styleflow
    capsys.readouterr()
    models.work(["list"])
    shown = capsys.readouterr().out
    assert "base-256" in shown and "79999_iter.pth" in shown and "model_ir_se50.pth" in shown
    models.work(["list", "--json"])
    rows = {m["name"]: m for m in json.loads(capsys.readouterr().out)["models"]}
    assert rows["tiny"]["networks"] == ["generator"] and "NVIDIA" in rows["tiny"]["licence"]["generator"]
    assert rows["base-256"]["built_in"]


def test_verify_finds_a_changed_file(own_folder, capsys):
    models.work(["import", str(ROSINALITY), "--name", "tiny"])
    assert models.work(["verify"]) == 0
    path = own_folder / "tiny.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert models.work(["verify", "tiny"]) == 1
    assert models.work(["verify", "base-256", "--json"]) == 0
    with pytest.raises(FevError, match="nothing-like-this"):
        models.work(["verify", "nothing-like-this"])


def test_path_says_where(own_folder, capsys):
    models.work(["path"])
    models.work(["path", "base-256"])
    folder, model = capsys.readouterr().out.split()
    assert folder == str(own_folder) and model.endswith("base-256.safetensors")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"a": torch.ones(3)}, "none of the networks"),
        ([1, 2], "no networks"),
        ({"g_ema": {"input.input": torch.ones(1, 4, 4, 4)}}, "lacks"),
        ({"output_layer.3.weight": torch.ones(3)}, "arcface lacks"),
        ({"state_dict": {"encoder.latlayer1.weight": torch.ones(1)}, "opts": {"encoder_type": "Other"}}, "Other"),
    ],
)
def test_other_files_are_refused_by_name(tmp_path, content, words):
    path = file(tmp_path, "other.pt", saved(content))
    with pytest.raises(ModelMismatchError, match=f"other.pt: .*{words}"):
        models.work(["import", path])
    assert not library.imported()


def test_an_encoder_alone_makes_no_model(tmp_path):
    with pytest.raises(FevError, match="no generator"):
        models.work(["import", file(tmp_path, "f.pth", saved(network_state("bisenet")))])


@pytest.mark.parametrize("name", ["base-256", "../x", "A", "", "a" * 50, "x.encoder"])
def test_names_that_cannot_be_are_wrong_usage(name):
    with pytest.raises(UsageError):
        models.work(["import", str(ROSINALITY), "--name", name])


def test_a_file_that_is_not_there():
    with pytest.raises(FevError, match="cannot be read"):
        read_official("nowhere.pt")


@pytest.mark.parametrize(
    "change",
    [{"channels": [10**9] * 5}, {"resolution": 3}, {"w_dim": 1 << 40}, {"mapping_layers": 10**6}, {"z_dim": None}],
)
def test_sizes_in_a_model_file_are_bounded(change):
    models.work(["import", str(ROSINALITY), "--name", "tiny"])
    config = NetworkFile(library.find("tiny")[0]).config
    with pytest.raises(ModelMismatchError):
        build_generator(config | {"generator": config["generator"] | change})


def test_a_file_that_is_none_of_networks(own_folder):
    own_folder.mkdir()
    save_file({"x": torch.ones(1)}, own_folder / "odd.safetensors")
    (own_folder / "worse.safetensors").write_bytes(b"\xff" * 40)
    for name in ("odd", "worse"):
        with pytest.raises(ModelMismatchError):
            Networks(name)
    with pytest.raises(FevError, match="nothing was imported"):
        Networks("absent")
