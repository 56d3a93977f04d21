"""The networks that only judge: I3D and Inception out of files of strangers, and what is said where one lacks."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import pytest
import torch
from fev.codec.model.modelfile import library
from fev.codec.paper.imports.official import read_into
from fev.format.errors import FevError, ModelMismatchError
from fev.tools.measure import inception, judges
from fev.tools.measure.i3d import I3D, SHORTEST, shrunk
from fev.tools.measure.inception import Inception
from fev.tools.measure.judges import find_judges
from golden import synth
from snapshots import network_state, saved

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv(library.VARIABLE, str(tmp_path / "models"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))


def file(tmp_path: Path, name: str, content: object) -> Path:
    path = tmp_path / name
    path.write_bytes(saved(content))
    return path


@pytest.fixture(scope="module")
def i3d_state():
    return network_state("i3d")


def test_i3d_is_read_as_data(tmp_path, i3d_state):
    net, digest = read_into(file(tmp_path, "rgb_imagenet.pt", i3d_state), "I3D", I3D)
    assert len(digest) == 64
    own = net.state_dict()
    assert own.keys() == i3d_state.keys() and all(torch.equal(own[k], v) for k, v in i3d_state.items())


@torch.no_grad()
def test_i3d_takes_the_shortest_piece_that_is_allowed():
    assert I3D().eval()(torch.zeros(1, 3, SHORTEST, 224, 224)).shape == (1, 400)
    with pytest.raises(RuntimeError):
        I3D().eval()(torch.zeros(1, 3, SHORTEST - 1, 224, 224))


def test_shrinking_takes_samples_where_tensorflow_1_does():
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    assert shrunk(ramp, 4)[0, 0, 0].tolist() == [0, 2, 4, 6]  # corners on corners, no smoothing
    assert torch.allclose(shrunk(ramp, 6)[0, 0, 0], torch.arange(6) * (8 / 6))
    assert shrunk(ramp, 16)[0, 0, 0].tolist()[-2:] == [7, 7]  # nothing beyond the last


def test_shrinking_equals_the_library_of_fid():
    compat = pytest.importorskip("torch_fidelity.interpolate_compat_tensorflow")
    x = torch.rand(2, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    expected = compat.interpolate_bilinear_2d_like_tensorflow1x(x, size=(224, 224), align_corners=False)
    torch.testing.assert_close(shrunk(x), expected, rtol=0, atol=1e-6)


def test_other_files_are_no_i3d(tmp_path, i3d_state):
    with pytest.raises(ModelMismatchError, match=r"x.pt: I3D lacks Conv3d_1a_7x7"):
        read_into(file(tmp_path, "x.pt", {"a": torch.zeros(3)}), "I3D", I3D)
    wrong = dict(i3d_state) | {"logits.conv3d.bias": torch.zeros(157)}  # trained on another set
    with pytest.raises(ModelMismatchError, match="logits.conv3d.bias has shape"):
        read_into(file(tmp_path, "x.pt", wrong), "I3D", I3D)
    with pytest.raises(FevError, match="cannot be read"):
        read_into(tmp_path / "none.pt", "I3D", I3D)


def test_a_torchscript_file_is_not_run(tmp_path):
    """It is a program: those who need its figures need another tool."""
    path = tmp_path / "i3d_torchscript.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its being old
        torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), str(path))
    with pytest.raises(ModelMismatchError, match="i3d_torchscript.pt"):
        read_into(path, "I3D", I3D)


@torch.no_grad()
def test_inception_is_the_librarys_filled_by_the_safe_reader(tmp_path, monkeypatch):
    pytest.importorskip("torch_fidelity")
    torch.manual_seed(0)
    theirs = inception._empty()
    path = file(tmp_path, "inception.pth", theirs.state_dict())
    monkeypatch.setattr(torch, "load", lambda *a, **k: {} if hasattr(a[0], "read") else pytest.fail("a file unpickled"))
    ours = Inception(path)
    pictures = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    assert torch.equal(ours(pictures), theirs(pictures)[0]) and ours(pictures).shape == (2, 2048)
    with pytest.raises(ModelMismatchError, match="Inception lacks"):
        Inception(file(tmp_path, "other.pth", {"fc.weight": torch.zeros(3)}))


def test_without_the_library_fid_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", None)
    with pytest.raises(FevError, match=r"pip install 'fev\[evaluate\]'"):
        Inception(file(tmp_path, "x.pth", {"a": torch.zeros(1)}))


def test_what_lacks_is_said_by_name():
    found = find_judges(None, "ffhq-1024")
    for judge, words in (
        (found.perceptual, "alexnet-owt"), (found.arcface, "model_ir_se50.pth"), (found.parsing, "79999_iter.pth"),
        (found.inception, "--inception FILE"), (found.i3d, "--i3d FILE"),
    ):  # fmt: skip
        assert judge.net is None and words in judge.about
    with pytest.raises(FevError, match="nothing was imported under the name 'mine'"):
        find_judges("mine", "ffhq-1024")


def test_a_backbone_in_torchs_cache_will_do(tmp_path):
    state = {
        k.split("/", 1)[1]: torch.from_numpy(synth.synth(k.split("/", 1)[1], v["shape"]))
        for k, v in synth.load_manifest(str(GOLDEN / "lpips.json"))["state_dict"].items()
        if k.startswith("alex/features")
    }
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    file(tmp_path / "hub" / "checkpoints", "alexnet-owt-7be5be79.pth", state)
    judge = find_judges(None, "ffhq-1024").perceptual
    assert judge.net is not None and "AlexNet" in judge.about and "cache" in judge.about


def test_a_file_that_was_named_must_be_there_and_fit(tmp_path):
    with pytest.raises(FevError, match="no such file"):
        judges.check_file(str(tmp_path / "none.pt"))
    with pytest.raises(ModelMismatchError, match="I3D lacks"):
        find_judges(None, "ffhq-1024", i3d=file(tmp_path, "x.pt", {"a": torch.zeros(3)}))
