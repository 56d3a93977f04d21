"""What the golden fixtures state (tests/golden/README.md), and comparing with it: a fixture whole or not at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from fev.codec.model.stylegan2 import Generator
from fev.codec.paper.imports.official import layouts
from golden import synth

GOLDEN = Path(__file__).parent / "golden"
Found = dict[str, torch.Tensor | np.ndarray]


def load(name: str, prefix: str = ""):
    """Manifest, arrays and state dict of a fixture; prefix: of the keys that are wanted, and goes."""
    manifest = synth.load_manifest(str(GOLDEN / f"{name}.json"))
    state = synth.state_dict(manifest, check=True, prefix=prefix)
    return manifest, np.load(GOLDEN / f"{name}.npz"), {k: torch.from_numpy(np.array(v)) for k, v in state.items()}


def picture(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array.transpose(0, 3, 1, 2))).float() / 127.5 - 1


def tolerance(manifest: dict, name: str) -> float:
    """The stated one; of two, which StyleFlow has, that for an accurate solver."""
    stated = manifest["outputs"][name]
    return stated.get("atol_tight", stated["atol"])


def near(found, expected: np.ndarray, manifest: dict, name: str) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance(manifest, name), err_msg=name)


def compare(name: str, found: Found) -> None:
    """Every array of a fixture that is no input, each within its tolerance.

    found: what our networks compute, by the arrays' names; a name too few or too many is a failure.  What has no
    tolerance was stored to be read, not computed, and must be equal.
    """
    manifest, arrays = synth.load_manifest(str(GOLDEN / f"{name}.json")), np.load(GOLDEN / f"{name}.npz")
    stated = manifest["outputs"]
    assert stated.keys() <= set(arrays.files), "the fixture states an array that it lacks"
    assert found.keys() == set(arrays.files) - manifest["inputs"].keys()
    for key, value in found.items():
        value = value.detach().numpy() if isinstance(value, torch.Tensor) else value
        assert value.shape == arrays[key].shape, key
        if key not in stated:
            np.testing.assert_array_equal(value, arrays[key], err_msg=key)
        elif "rule" in stated[key]:  # labels: sure where the best is ahead of the second best by more than rounding
            sure = arrays["margin64"] > 2 * tolerance(manifest, "logits_center")
            assert sure.mean() > 0.99 and (value == arrays[key])[sure].all(), key
        else:
            near(value, arrays[key], manifest, key)


def generator_of(name: str) -> Generator:
    manifest, arrays, state = load(name)
    if name.startswith("ros"):
        config, tensors = layouts.rosinality(state, torch.from_numpy(np.array(arrays["latent_avg"])))
    else:
        config, tensors = layouts.nvlabs(state, manifest["constructor"]["conv_clamp"])
    generator = Generator(config).eval()
    generator.load_state_dict(tensors)
    return generator


def mean_and_deviation(image: np.ndarray) -> np.ndarray:
    wide = image.astype(np.float64)
    return np.stack([wide.mean((2, 3)), wide.std((2, 3))])


def seen(name: str, image: torch.Tensor) -> Found:
    """What a fixture keeps of a picture: all of it, or views."""
    array = image.numpy()
    if array.shape[-1] <= 64:
        return {name: array}
    views = synth.views(array) | {"mean_std": mean_and_deviation(array)}
    return {f"{name}.{part}": value for part, value in views.items()}


@torch.no_grad()
def drawn_by(generator: Generator, name: str, impl: str) -> Found:
    """All that the fixture of a generator keeps."""
    manifest, arrays = synth.load_manifest(str(GOLDEN / f"{name}.json")), np.load(GOLDEN / f"{name}.npz")
    ws, z = torch.from_numpy(arrays["w_plus"]), torch.from_numpy(arrays["z"])
    w = generator.mapping(z)
    found: Found = {"w": w} | {f"s{layer:02d}": style for layer, style in enumerate(generator.styles(ws))}
    activations: list[torch.Tensor] = []
    convolutions = [layer for layer in generator.layers if layer.spec.kind != "rgb"]
    hooks = [c.register_forward_hook(lambda _, __, out: activations.append(out.double())) for c in convolutions]
    found |= seen("image", generator(ws, impl=impl))
    for hook in hooks:
        hook.remove()
    found["act_mean"] = torch.stack([a.mean() for a in activations])
    found["act_std"] = torch.stack([a.std() for a in activations])
    for view, offsets in manifest["offsets"].items():
        added = {layer: torch.zeros(1, generator.table[layer].in_channels) for layer, _, _ in offsets}
        for layer, channel, value in offsets:
            added[layer][:, channel] += value
        found |= seen(view, generator(ws, added=added, impl=impl))
    if name.startswith("nv"):
        found["ws_truncated"] = generator.truncated(w, 0.7, 8)
    elif manifest["truncation"]:
        found["image_truncated"] = generator(generator.truncated(w, manifest["truncation"]["psi"]), impl=impl)
    if manifest.get("clamp"):
        clamped = Generator(replace(generator.config, conv_clamp=manifest["clamp"]["conv_clamp"])).eval()
        clamped.load_state_dict(generator.state_dict())
        found[manifest["clamp"]["output"]] = clamped(ws, impl=impl)
    return found
