"""Every network of the paper's pipeline against the public reference, on synthetic weights (tests/golden/README.md)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from fev.codec.paper import layouts
from fev.codec.paper.arcface import ArcFace
from fev.codec.paper.bisenet import BiSeNet
from fev.codec.paper.directions import DirectionMatrix
from fev.codec.paper.e4e import E4E
from fev.codec.paper.perceptual import BACKBONES, Perceptual
from fev.codec.paper.styleflow import PITCH, YAW, StyleFlow
from fev.codec.stylegan2 import Generator
from fev.format.errors import FevError, ModelMismatchError
from golden import synth
from snapshots import saved

GOLDEN = Path(__file__).parent / "golden"


def fixture(name: str, prefix: str = "", fill: bool = True):
    manifest = synth.load_manifest(str(GOLDEN / f"{name}.json"))
    state = synth.state_dict(manifest, check=True, prefix=prefix) if fill else {}
    return manifest, np.load(GOLDEN / f"{name}.npz"), {k: torch.from_numpy(np.array(v)) for k, v in state.items()}


def picture(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array.transpose(0, 3, 1, 2))).float() / 127.5 - 1


def near(found, expected: np.ndarray, manifest: dict, name: str, times: float = 1) -> None:
    found = found.detach().numpy() if isinstance(found, torch.Tensor) else found
    np.testing.assert_allclose(found, expected, rtol=0, atol=times * manifest["outputs"][name]["atol"], err_msg=name)


def generator_of(name: str) -> tuple[Generator, dict, np.ndarray]:
    manifest, arrays, state = fixture(name)
    if name.startswith("ros"):
        config, tensors = layouts.rosinality(state, torch.from_numpy(np.array(arrays["latent_avg"])))
    else:
        config, tensors = layouts.nvlabs(state, manifest["constructor"]["conv_clamp"])
    generator = Generator(config).eval()
    generator.load_state_dict(tensors)
    return generator, manifest, arrays


LARGE = [pytest.param(n, marks=pytest.mark.slow) for n in ("ros_256", "ros_256_cm1", "ros_1024", "nv_64", "nv_1024")]


@torch.no_grad()
@pytest.mark.parametrize("name", ["ros_tiny64", "nv_tiny64", *LARGE])
def test_generators_equal_the_reference(name):
    generator, manifest, arrays = generator_of(name)
    near(generator.mapping(torch.from_numpy(arrays["z"])), arrays["w"], manifest, "w")
    ws = torch.from_numpy(arrays["w_plus"])
    for layer, style in enumerate(generator.styles(ws)):
        near(style, arrays[f"s{layer:02d}"], manifest, f"s{layer:02d}")
    for view in ("image", "image_offset"):
        styles = generator.styles(ws)
        for layer, channel, value in manifest["offsets"].get(view, []):
            styles[layer][:, channel] += value
        image = generator.synthesis(styles).numpy()
        if image.shape[-1] == 64:
            near(image, arrays[view], manifest, view)
        else:
            for part, value in synth.views(image).items():
                near(value, arrays[f"{view}.{part}"], manifest, f"{view}.{part}")


@torch.no_grad()
@pytest.mark.parametrize("name", ["nv_tiny64", pytest.param("nv_64", marks=pytest.mark.slow)])
@pytest.mark.parametrize("impl", ["fast", "ref"])
def test_activations_are_clamped_where_the_file_says_so(name, impl):
    manifest, arrays, state = fixture(name)
    config, tensors = layouts.nvlabs(state, manifest["clamp"]["conv_clamp"])
    generator = Generator(config).eval()
    generator.load_state_dict(tensors)
    image = generator(torch.from_numpy(arrays["w_plus"]), impl=impl)
    near(image, arrays["image_clamped"], manifest, "image_clamped")


@torch.no_grad()
@pytest.mark.parametrize("name", ["nv_tiny64", "ros_tiny64"])
def test_truncation_draws_towards_the_mean(name):
    generator, manifest, arrays = generator_of(name)
    w = generator.w_avg + 0.7 * (generator.mapping(torch.from_numpy(arrays["z"])) - generator.w_avg)
    ws = w[:, None].expand(-1, generator.config.num_ws, -1)
    if name.startswith("nv"):
        near(ws[:, :8], arrays["ws_truncated"][:, :8], manifest, "ws_truncated")
    else:
        near(generator(ws), arrays["image_truncated"], manifest, "image_truncated")


@pytest.mark.parametrize("break_it", ["missing", "shape", "extra", "filter"])
def test_a_generator_of_another_layout_is_refused(break_it):
    _, _, state = fixture("ros_tiny64")
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


@pytest.mark.slow
@torch.no_grad()
def test_e4e_equals_the_reference():
    manifest, arrays, state = fixture("e4e", "encoder.")
    net = E4E().eval()
    net.load_state_dict(state)
    del state
    x = picture(arrays["image_u8"])
    for tap, name in zip(net.taps(x), ("c1", "c2", "c3"), strict=True):
        near(tap.mean((2, 3)), arrays[f"{name}_mean"], manifest, f"{name}_mean")
        near(tap.std((2, 3)), arrays[f"{name}_std"], manifest, f"{name}_std")
        near(tap[:, :16, :4, :4], arrays[f"{name}_corner"], manifest, f"{name}_corner")
    codes = net(x)
    near(codes[:, 0], arrays["w0"], manifest, "w0")
    near(codes, arrays["codes"], manifest, "codes")
    near(codes + torch.from_numpy(arrays["latent_avg"]), arrays["codes_plus_avg"], manifest, "codes_plus_avg")


@torch.no_grad()
def test_arcface_equals_the_reference():
    manifest, arrays, state = fixture("arcface")
    net = ArcFace().eval()
    net.load_state_dict(state)
    x = picture(arrays["image_u8"])
    near(net.features(x), arrays["unnormalised"], manifest, "unnormalised")
    found = net(x)
    near(found, arrays["embedding"], manifest, "embedding")
    near((found[:1] * found[1:]).sum(1), arrays["cosine_0_1"], manifest, "cosine_0_1")
    near(net.of_square(picture(arrays["image256_u8"])), arrays["embedding_from_256"], manifest, "embedding_from_256")


@torch.no_grad()
def test_bisenet_equals_the_reference():
    manifest, arrays, state = fixture("bisenet")
    net = BiSeNet().eval()
    net.load_state_dict(state)
    seen = manifest["normalisation"]
    rgb = torch.from_numpy(np.ascontiguousarray(arrays["image_u8"].transpose(0, 3, 1, 2))).float() / 255
    mean, deviation = (torch.tensor(seen[k])[None, :, None, None] for k in ("mean", "std"))
    scores, middle, deep = net.all_scores((rgb - mean) / deviation)

    def pooled(x: torch.Tensor, side: int) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(x, x.shape[-1] // side)

    near(pooled(scores, 32), arrays["logits_pool32"], manifest, "logits_pool32")
    near(scores[:, :, 248:264, 248:264], arrays["logits_center"], manifest, "logits_center")
    near(scores[:, :, :16, :16], arrays["logits_corner_tl"], manifest, "logits_corner_tl")
    near(scores[:, :, -16:, -16:], arrays["logits_corner_br"], manifest, "logits_corner_br")
    near(pooled(middle, 16), arrays["logits16_pool16"], manifest, "logits16_pool16")
    near(pooled(deep, 16), arrays["logits32_pool16"], manifest, "logits32_pool16")
    sure = arrays["margin64"] > 2 * manifest["outputs"]["logits_center"]["atol"]
    assert (scores[:, :, 4::8, 4::8].argmax(1).numpy() == arrays["argmax64"])[sure].all() and sure.mean() > 0.99
    # from the square's own values, -1 to 1, the same scores
    torch.testing.assert_close(net.of_square(picture(arrays["image_u8"])), scores, rtol=0, atol=1e-4)


@pytest.fixture(scope="module")
def styleflow():
    manifest, arrays, state = fixture("styleflow")
    net = StyleFlow().eval()
    net.load_state_dict(state)
    ws, cond, target = (torch.from_numpy(np.array(arrays[k])) for k in ("w_plus", "cond", "cond_target"))
    return net, manifest, arrays, ws, cond[..., 0, 0], target[..., 0, 0]


@torch.no_grad()
@pytest.mark.parametrize("steps", [8, 16])
def test_styleflow_equals_the_converged_reference(styleflow, steps):
    net, manifest, arrays, ws, cond, target = styleflow
    tight = {"outputs": {k: {"atol": v.get("atol_tight") or v["atol"]} for k, v in manifest["outputs"].items()}}
    z = net(ws, cond, steps)
    near(z, arrays["z"], tight, "z")
    near(net.inverse(z, cond, steps), arrays["w_back"], tight, "w_back")
    near(net.inverse(z, target, steps), arrays["w_rev"], tight, "w_rev")
    near(net.turned(ws, cond, target[:, [YAW, PITCH]], steps), arrays["w_edit"], tight, "w_edit")
    # far inside the tolerance: what is left is float32, not the solver
    assert np.abs(z.numpy() - arrays["z"]).max() < 1e-5


@torch.no_grad()
def test_the_parts_of_styleflow_equal_the_reference(styleflow):
    net, manifest, arrays, ws, cond, _ = styleflow
    first, flow, last = net.chain
    y0 = first(ws)
    near(y0, arrays["y0"], manifest, "y0")
    near(flow.odefunc(0.3, y0, cond), arrays["dydt_0.3"], manifest, "dydt_0.3")
    near(last(y0), arrays["bn_out"], manifest, "bn_out")


@pytest.mark.parametrize(("name", "index"), [("dw_rev_dyaw", YAW), ("dw_rev_dpitch", PITCH)])
def test_pose_gradients_equal_the_reference(styleflow, name, index):
    net, manifest, arrays, _, _, target = styleflow
    z, tangent = torch.from_numpy(arrays["z"]), torch.zeros_like(target)
    tangent[:, index] = 1
    _, slope = torch.func.jvp(lambda c: net.inverse(z, c), (target,), (tangent,))
    np.testing.assert_allclose(slope.detach(), arrays[name], rtol=0, atol=manifest["outputs"][name]["atol_tight"])


@torch.no_grad()
def test_directions_equal_the_reference():
    manifest, arrays, state = fixture("directions")
    net = DirectionMatrix()
    net.load_state_dict(state)
    change, ws = torch.from_numpy(arrays["delta_p"]), torch.from_numpy(arrays["w_plus"])
    near(net(change), arrays["shift"], manifest, "shift")
    near(net.shifted(ws, change), arrays["w_shifted"], manifest, "w_shifted")


@torch.no_grad()
@pytest.mark.parametrize("net", ["alex", pytest.param("vgg", marks=pytest.mark.slow), "squeeze"])
def test_lpips_equals_the_reference(net, tmp_path, monkeypatch):
    """From a file that is named, then from torch's cache."""
    manifest, arrays, state = fixture("lpips", f"{net}/", fill=False)
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
    for metric in (Perceptual.load(net, file), Perceptual.load(net)):
        for i, j in ((0, 1), (0, 2)):
            name = f"{net}_distance_0{j}"
            near(metric(x[i], x[j]), arrays[name], manifest, name)


def test_lpips_without_its_backbone_is_missing_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(FevError, match="alexnet-owt-7be5be79.pth"):
        Perceptual.load("alex")
    (tmp_path / "other.pth").write_bytes(saved({"features.10.bias": torch.zeros(256)}))
    with pytest.raises(ModelMismatchError, match="lpips-alex lacks"):
        Perceptual.load("alex", tmp_path / "other.pth")
    with pytest.raises(ModelMismatchError):
        Perceptual.load("vgg", tmp_path / "other.pth")
