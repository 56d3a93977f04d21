"""Every array of every golden fixture against what our networks compute, each within the tolerance stated for it.

The fixtures are found by their files, and `parity.compare` wants all that a file holds: a new file or array that
nothing here computes is a failure.  Large ones are slow, and CI runs them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fev.codec.model.styleflow import PITCH, YAW, StyleFlow
from fev.codec.paper.arcface import ArcFace
from fev.codec.paper.bisenet import BiSeNet
from fev.codec.paper.directions import DirectionMatrix
from fev.codec.paper.e4e import E4E
from fev.codec.paper.perceptual import BACKBONES, Perceptual
from fev.tools.measure.i3d import I3D
from golden import synth
from parity import GOLDEN, Found, compare, drawn_by, generator_of, load, picture


@torch.no_grad()
def generators(name: str) -> Iterator[Found]:
    generator = generator_of(name)
    for impl in ("fast", "ref"):
        yield drawn_by(generator, name, impl)


@torch.no_grad()
def e4e(name: str) -> Iterator[Found]:
    _, arrays, state = load(name, "encoder.")
    net = E4E().eval()
    net.load_state_dict(state)
    del state
    x = picture(arrays["image_u8"])
    found: Found = {}
    for tap, values in zip(("c1", "c2", "c3"), net.taps(x), strict=True):
        found |= {f"{tap}_mean": values.mean((2, 3)), f"{tap}_std": values.std((2, 3))}
        found[f"{tap}_corner"] = values[:, :16, :4, :4]
    codes = net(x)
    yield found | {
        "codes": codes, "w0": codes[:, 0], "codes_plus_avg": codes + torch.from_numpy(arrays["latent_avg"]),
    }  # fmt: skip


@torch.no_grad()
def arcface(name: str) -> Iterator[Found]:
    _, arrays, state = load(name)
    net = ArcFace().eval()
    net.load_state_dict(state)
    x, square = picture(arrays["image_u8"]), picture(arrays["image256_u8"])
    who = net(x)
    yield {
        "unnormalised": net.features(x), "embedding": who, "cosine_0_1": (who[:1] * who[1:]).sum(1),
        "crop_corner": net.crop(square)[:, :, :8, :8], "embedding_from_256": net.of_square(square),
    }  # fmt: skip


@torch.no_grad()
def bisenet(name: str) -> Iterator[Found]:
    manifest, arrays, state = load(name)
    net = BiSeNet().eval()
    net.load_state_dict(state)
    rgb = torch.from_numpy(np.ascontiguousarray(arrays["image_u8"].transpose(0, 3, 1, 2))).float() / 255
    mean, deviation = (torch.tensor(manifest["normalisation"][k])[None, :, None, None] for k in ("mean", "std"))
    scores, middle, deep = net.all_scores((rgb - mean) / deviation)
    # both ways in: normalised pictures, and the square's own values, -1 to 1
    for logits in (scores, net.of_square(picture(arrays["image_u8"]))):
        some = logits[:, :, 4::8, 4::8]
        best = some.topk(2, 1).values
        yield {
            "logits_pool32": F.avg_pool2d(logits, 16), "logits_center": logits[:, :, 248:264, 248:264],
            "logits_corner_tl": logits[:, :, :16, :16], "logits_corner_br": logits[:, :, -16:, -16:],
            "logits16_pool16": F.avg_pool2d(middle, 32), "logits32_pool16": F.avg_pool2d(deep, 32),
            "margin64": best[:, 0] - best[:, 1], "argmax64": some.argmax(1),
        }  # fmt: skip


def styleflow(name: str) -> Iterator[Found]:
    _, arrays, state = load(name)
    net = StyleFlow().eval()
    net.load_state_dict(state)
    ws, cond, target = (torch.from_numpy(np.array(arrays[k])) for k in ("w_plus", "cond", "cond_target"))
    cond, target = cond[..., 0, 0], target[..., 0, 0]
    first, flow, last = net.chain
    slopes: Found = {}
    for key, index in (("dw_rev_dyaw", YAW), ("dw_rev_dpitch", PITCH)):
        tangent, fixed = torch.zeros_like(target), torch.from_numpy(arrays["z"])
        tangent[:, index] = 1
        slopes[key] = torch.func.jvp(lambda c: net.inverse(fixed, c), (target,), (tangent,))[1]
    for steps in (8, 16):
        with torch.no_grad():
            z, y0 = net(ws, cond, steps), first(ws)
            found: Found = {
                "z": z, "w_back": net.inverse(z, cond, steps), "w_rev": net.inverse(z, target, steps),
                "w_edit": net.turned(ws, cond, target[:, [YAW, PITCH]], steps),
                "y0": y0, "dydt_0.3": flow.odefunc(0.3, y0, cond), "bn_out": last(y0),
            }  # fmt: skip
        # what the reference returned once, at the tolerance of its own solver
        found |= {f"{k}_reference": found[k] for k in ("z", "w_back", "w_rev", "w_edit")}
        # far inside the tolerance: what is left is float32, not the solver
        assert np.abs(z.numpy() - arrays["z"]).max() < 1e-5
        yield found | slopes


@torch.no_grad()
def directions(name: str) -> Iterator[Found]:
    _, arrays, state = load(name)
    net = DirectionMatrix()
    net.load_state_dict(state)
    change, ws = torch.from_numpy(arrays["delta_p"]), torch.from_numpy(arrays["w_plus"])
    yield {"shift": net(change), "w_shifted": net.shifted(ws, change)}


@torch.no_grad()
def i3d(name: str) -> Iterator[Found]:
    _, _, state = load(name)
    net = I3D().eval()
    net.load_state_dict(state)
    seen: Found = {}
    for layer in ("Mixed_3c", "Mixed_5c"):
        net.get_submodule(layer).register_forward_hook(lambda _, __, y, layer=layer: seen.update({layer: y}))
    video = np.clip(synth.synth("input/i3d", (1, 3, 10, 224, 224)), -1, 1)
    logits = net(torch.from_numpy(video))  # ours is the mean over time, of which ten frames have one step
    yield {
        "mixed_3c_part": seen["Mixed_3c"][0, ::60, 1:3, 10:14, :4], "mixed_5c_mean": seen["Mixed_5c"].mean((2, 3, 4)),
        "logits": logits[:, :, None],
    }  # fmt: skip


@torch.no_grad()
def lpips(name: str) -> Iterator[Found]:
    """The linear weights are those of the package; the distances also by its own option for pictures of 0 to 1."""
    manifest, arrays = synth.load_manifest(str(GOLDEN / f"{name}.json")), np.load(GOLDEN / f"{name}.npz")
    x = [picture(arrays[f"image{i}_u8"]) for i in range(3)]
    found: Found = {}
    for net in BACKBONES:
        known = (key for key in manifest["state_dict"] if key.startswith(f"{net}/"))
        shapes = {key.split("/", 1)[1]: manifest["state_dict"][key]["shape"] for key in known}
        metric = Perceptual(net, {k: torch.from_numpy(synth.synth(k, v)) for k, v in shapes.items()})
        for layer, linear in enumerate(metric.lpips.lins):
            found[f"{net}/lin{layer}.model.1.weight"] = linear.model[1].weight
        for other in (1, 2):
            found[f"{net}_distance_0{other}"] = metric(x[0], x[other])
            layers = metric.lpips(x[0], x[other], retPerLayer=True)[1]
            found[f"{net}_layers_0{other}"] = torch.cat([v.flatten() for v in layers])
        half = [(v + 1) / 2 for v in x[:2]]
        found[f"{net}_distance_01_normalize"] = metric.lpips(*half, normalize=True).flatten()
    yield found


COMPUTED: dict[str, Callable[[str], Iterator[Found]]] = {
    **dict.fromkeys(("ros_32", "ros_tiny64", "ros_256", "ros_256_cm1", "ros_1024"), generators),
    **dict.fromkeys(("nv_tiny64", "nv_64", "nv_1024"), generators),
    "e4e": e4e, "arcface": arcface, "bisenet": bisenet, "styleflow": styleflow, "directions": directions,
    "lpips": lpips, "i3d": i3d,
}  # fmt: skip
LARGE = {"ros_256", "ros_1024", "nv_64", "nv_1024", "e4e"}
FIXTURES = sorted(path.stem for path in GOLDEN.glob("*.npz"))


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in LARGE else n for n in FIXTURES])
def test_every_array_equals_the_reference(name):
    for found in COMPUTED[name](name):
        compare(name, found)


def test_no_file_of_the_fixtures_is_left_out():
    assert set(FIXTURES) == COMPUTED.keys()
    pairs = {f"{name}.{ending}" for name in FIXTURES for ending in ("json", "npz")}
    # the two files of official layout are read in test_imports and test_checkpoint
    others = {"ros_tiny64.pt", "nv_tiny64_pickle.json", "README.md", "synth.py", "__init__.py"}
    assert {path.name for path in GOLDEN.iterdir() if path.is_file()} == pairs | others


def test_a_comparison_misses_nothing():
    """Whichever array is not computed, is one too many, or is off by twice its tolerance, is found."""
    found = next(directions("directions"))
    compare("directions", found)
    for key in found:
        with pytest.raises(AssertionError):
            compare("directions", {k: v for k, v in found.items() if k != key})
        moved = found[key].clone()
        moved.view(-1)[7] += 2 * 2e-5
        with pytest.raises(AssertionError, match=key):
            compare("directions", found | {key: moved})
    with pytest.raises(AssertionError):
        compare("directions", found | {"another": found["shift"]})
