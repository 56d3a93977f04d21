"""What the paper's networks are read from, and what is refused; test_golden says what they compute."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fev.codec.paper.arcface import ArcFace
from fev.codec.paper.bisenet import BiSeNet
from fev.codec.paper.e4e import E4E
from fev.codec.paper.imports.backbone import load_perceptual
from fev.codec.paper.imports.official import layouts
from fev.codec.paper.perceptual import BACKBONES
from fev.format.errors import FevError, ModelMismatchError
from golden import synth
from parity import GOLDEN, load, near, picture
from snapshots import saved


@pytest.mark.parametrize("break_it", ["missing", "shape", "extra", "filter"])
def test_a_generator_of_another_layout_is_refused(break_it):
    _, _, state = load("ros_tiny64")
    if break_it == "missing":
        del state["convs.3.conv.modulation.bias"]
    elif break_it == "shape":
        state["convs.3.conv.modulation.bias"] = torch.zeros(3)
    elif break_it == "extra":
        state["convs.99.conv.weight"] = torch.zeros(3)
    else:
        state["convs.0.conv.blur.kernel"] = torch.ones(4, 4)
    with pytest.raises(ModelMismatchError):
        layouts.rosinality(state, None)


@torch.no_grad()
@pytest.mark.parametrize("net", ["alex", pytest.param("vgg", marks=pytest.mark.slow), "squeeze"])
def test_lpips_takes_a_file_that_is_named_or_in_the_cache_of_torch(net, tmp_path, monkeypatch):
    manifest, arrays = synth.load_manifest(str(GOLDEN / "lpips.json")), np.load(GOLDEN / "lpips.npz")
    state = {
        k.split("/", 1)[1]: torch.from_numpy(synth.synth(k.split("/", 1)[1], v["shape"]))
        for k, v in manifest["state_dict"].items()
        if k.startswith(f"{net}/features")
    }
    file = tmp_path / "hub" / "checkpoints" / BACKBONES[net][1][0]
    file.parent.mkdir(parents=True)
    file.write_bytes(saved(state))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    x = [picture(arrays[f"image{i}_u8"]) for i in range(3)]
    for metric in (load_perceptual(net, file), load_perceptual(net)):
        for i, j in ((0, 1), (0, 2)):
            name = f"{net}_distance_0{j}"
            near(metric(x[i], x[j]), arrays[name], manifest, name)


def test_lpips_without_its_backbone_is_missing_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(FevError, match="alexnet-owt-7be5be79.pth"):
        load_perceptual("alex")
    (tmp_path / "other.pth").write_bytes(saved({"features.10.bias": torch.zeros(256)}))
    with pytest.raises(ModelMismatchError, match="lpips-alex lacks"):
        load_perceptual("alex", tmp_path / "other.pth")
    with pytest.raises(ModelMismatchError):
        load_perceptual("vgg", tmp_path / "other.pth")


@pytest.mark.parametrize("name", ["arcface", "bisenet", pytest.param("e4e", marks=pytest.mark.slow)])
@torch.no_grad()
def test_networks_run_in_bfloat16(name):
    """Channels last, 8 bits of mantissa (0.4 % an operation): a relative error of 1 % is what fifty layers leave."""
    _, arrays, state = load(name, "encoder." if name == "e4e" else "")
    net = {"arcface": ArcFace, "bisenet": BiSeNet, "e4e": E4E}[name]().eval()
    net.load_state_dict(state)
    x = picture(arrays["image_u8"])[:1]
    run = (lambda v: net.all_scores(v)[0]) if name == "bisenet" else net
    exact = run(x)
    net.to(torch.bfloat16).to(memory_format=torch.channels_last)
    rough = run(x.bfloat16().contiguous(memory_format=torch.channels_last))
    assert rough.dtype == torch.bfloat16
    assert (rough.float() - exact).norm() < 0.03 * exact.norm()
