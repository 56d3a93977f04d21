"""fev-rd's measures against known values, and the reasons of those that are missing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fev.codec.model.modelfile import library
from fev.format.errors import FevError, MediaError, ModelMismatchError, UsageError
from fev.tools.measure.landmarknet import LandmarkNet, save_net
from fev.tools.report import dists
from fev.tools.report.scoring import METRICS, Scorer, ScoringNetworks

NEEDED = {"lpips": "alexnet-owt", "dists": "dists_weights.pt", "identity": "model_ir_se50.pth"}
NEEDED |= {"pose": "--shape", "landmarks": "--shape"}


@pytest.fixture(autouse=True)
def nothing_cached(tmp_path, monkeypatch):
    monkeypatch.setenv(library.VARIABLE, str(tmp_path / "models"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *a, **k: pytest.fail("a download"))


def pictures(size: int, count: int = 3) -> list[np.ndarray]:
    y, x = np.mgrid[0:size, 0:size]
    wave = 100 + 60 * np.sin(x / 5) * np.cos(y / 7)
    return [np.stack([wave + 3 * i, wave[::-1], 200 - wave], 2).astype(np.uint8) for i in range(count)]


def test_equal_pictures_have_the_best_of_every_measure():
    found = Scorer().score(pictures(176), pictures(176))
    assert found.frames == [0, 1, 2] and all(len(v) == 3 for v in found.values.values())
    best = {"psnr": 10 * np.log10(255**2 / 1e-9), "ssim": 1, "ms_ssim": 1, "haarpsi": 1, "gmsd": 0}
    assert found.means == pytest.approx(best, abs=1e-5)  # float32
    assert set(found.by) == set(best)


def test_a_known_error_has_its_known_value():
    """6 steps more everywhere: 20 log10(255 / 6) dB, and no gradient differs but at the border (filled with 0)."""
    source = pictures(176)
    found = Scorer().score(source, [p + 6 for p in source]).means
    assert found["psnr"] == pytest.approx(20 * np.log10(255 / 6), abs=1e-6)
    assert found["gmsd"] < 1e-3 and 0.9 < found["ssim"] < 1


def test_worse_pictures_score_worse():
    source = pictures(176, 2)
    rng = np.random.default_rng(0)
    noise = [rng.normal(0, 1, p.shape) for p in source]
    few, many = (
        Scorer().score(source, [np.clip(p + s * n, 0, 255).astype(np.uint8) for p, n in zip(source, noise)]).means
        for s in (4, 16)
    )
    assert all(few[m] > many[m] if METRICS[m].up else few[m] < many[m] for m in few) and len(few) == 5


def test_every_missing_measure_has_its_reason():
    found = Scorer().score(pictures(64), pictures(64))
    assert set(found.values) | set(found.missing) == set(METRICS)
    assert all(word in found.missing[metric] for metric, word in NEEDED.items())
    assert "64 pixels are too small: 161" in found.missing["ms_ssim"]


def test_every_kth_frame():
    source = pictures(64, 20)
    found = Scorer().score(source, source, every=6)
    assert found.frames == [0, 6, 12, 18] and len(found.values["psnr"]) == 4


def test_counts_that_differ_are_refused():
    with pytest.raises(MediaError, match="2 frames, and then fewer decoded"):
        Scorer().score(pictures(64, 3), pictures(64, 2))


def test_pose_and_landmarks_by_a_named_network(tmp_path):
    torch.manual_seed(0)
    net = LandmarkNet().eval()
    for weights in net.parameters():  # as drawn, it sees the same everywhere
        torch.nn.init.normal_(weights, 0, 0.3)
    save_net(net, tmp_path / "marks.safetensors", {})
    scorer = Scorer(ScoringNetworks(shape=str(tmp_path / "marks.safetensors")))
    source = pictures(64, 2)
    same = scorer.score(source, source)
    assert same.means["pose"] == same.means["landmarks"] == 0 and "sha256" in same.by["pose"]
    other = scorer.score(source, [p[::-1].copy() for p in source]).means
    assert other["pose"] > 0 and other["landmarks"] > 0


def test_dists_is_piqs_without_its_download(tmp_path):
    """Weights that sum to 1, as the published ones do: 0 for equal pictures, and more the less equal they are."""
    parts = torch.rand(2, 1, sum(dists.CHANNELS), 1, 1, generator=torch.Generator().manual_seed(1))
    alpha, beta = parts / parts.sum()
    torch.save({"alpha": alpha, "beta": beta}, tmp_path / "w.pt")
    import torchvision

    with torch.device("meta"):
        shapes = torchvision.models.vgg16(weights=None).features.state_dict()
    draw = torch.Generator().manual_seed(0)
    backbone = {f"features.{k}": 0.05 * torch.randn(v.shape, generator=draw) for k, v in shapes.items()}
    net = dists.load(tmp_path / "w.pt", backbone)
    a = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        same, near, far = (net(b, a) for b in (a, (a + 0.1).clamp(0, 1), a.flip(3)))
    assert same == pytest.approx(torch.zeros(2), abs=1e-5)
    assert (near > 1e-4).all() and (far > near).all() and (far < 1).all()
    torch.save({"alpha": alpha}, tmp_path / "half.pt")
    with pytest.raises(ModelMismatchError, match="it has no beta"):
        dists.load(tmp_path / "half.pt", backbone)
    with pytest.raises(ModelMismatchError, match="no VGG-16"):
        dists.load(tmp_path / "w.pt", {})
    with pytest.raises(FevError, match="no such file"):
        Scorer(ScoringNetworks(dists=str(tmp_path / "none.pt")))


def test_a_missing_extra_is_one_line(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"^fev-rd needs piq: pip install 'fev\[rd\]'$"):
        Scorer()
