"""Official files in, one model out: recognised by their keys, renamed, checked against the networks
here.

What both ends of a link need (the generator, and StyleFlow where pose is to come from it) becomes
one model file whose bytes depend on what decides pictures and on nothing else: the weights with the
mean latent, and the basis.  Two people who import the same networks hold the same model, from
whichever files they came and whatever they call it; a `.fev` file finds its model by these bytes'
sha256.  What only an encoder needs lies beside it in `NAME.encoder.safetensors`, and where
everything came from, under which licence, in `NAME.sources.json`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save as pack_tensors
from torch import Tensor, nn

from ....format.errors import FevError, LimitError, ModelMismatchError
from ...model.styleflow import StyleFlow
from ...model.stylegan2 import GeneratorConfig
from ...model.stylespace import Basis, is_config_f
from ..arcface import ArcFace
from ..bisenet import BiSeNet
from ..directions import DirectionMatrix, read_own
from ..e4e import E4E
from ..perceptual import BACKBONES, Backbone
from . import layouts
from .checkpoint import MAX_FILE, read_checkpoint
from .stored import Module, Stored

FORMAT = "fev-model/1"
Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Network:
    """One network of the pipeline.

    Args:
        file: the name under which it was published, and where.
        both: whether decoders need it too.
        build: makes it empty; None for the generator, whose sizes are in the file.
    """

    purpose: str
    file: str
    published: str
    licence: str
    both: bool = False
    build: Callable[[], nn.Module] | None = None


NETWORKS = {
    "generator": Network(
        "draws the face", "stylegan2-ffhq-config-f.pt, ffhq.pkl, or the decoder inside e4e_ffhq_encode.pt",
        "github.com/rosinality/stylegan2-pytorch, github.com/NVlabs/stylegan2-ada-pytorch",
        "weights: NVIDIA Source Code License-NC, not for commercial use; trained on FFHQ (CC BY-NC-SA 4.0)", True,
    ),
    "styleflow": Network(
        "turns the head (yaw and pitch)", "modellarge10k.pt", "github.com/RameenAbdal/StyleFlow",
        "CC BY-NC-SA 4.0, academic research only", True, StyleFlow,
    ),
    "e4e": Network(
        "finds the W+ code of a frame", "e4e_ffhq_encode.pt", "github.com/omertov/encoder4editing",
        "MIT; trained on FFHQ (CC BY-NC-SA 4.0)", False, E4E,
    ),
    "arcface": Network(
        "says whether two faces are one person", "model_ir_se50.pth", "github.com/TreB1eN/InsightFace_Pytorch",
        "MIT; trained on a set for non-commercial research", False, ArcFace,
    ),
    "bisenet": Network(
        "finds eyes, brows, mouth and skin", "79999_iter.pth", "github.com/zllrunning/face-parsing.PyTorch",
        "MIT; trained on CelebAMask-HQ, for non-commercial research", False, BiSeNet,
    ),
    "directions": Network(
        "moves pose and expression by one matrix", "a checkpoint with A_matrix",
        "github.com/StelaBou/stylegan_directions_face_reenactment", "none stated", False, DirectionMatrix,
    ),
    **{f"lpips-{net}": Network(
        f"sees differences as people do (LPIPS, {net})", files[0], "pytorch.org (torchvision's models)",
        "BSD 3-Clause; trained on ImageNet, for non-commercial research", False, partial(Backbone, net),
    ) for net, (_, files) in BACKBONES.items()},
}  # fmt: skip


@dataclass
class ImportedNetwork:
    """A network in a file.

    Args:
        sha256, bytes: of the file.
        container: what kind of file it is.
    """

    network: str
    container: str
    sha256: str
    bytes: int
    tensors: Tensors
    generator: GeneratorConfig | None = None
    extra: dict[str, Any] | None = None


def licence_of(found: ImportedNetwork) -> str:
    """What the file itself says, or what is known of it."""
    stated = (found.extra or {}).get("licence")
    return stated if isinstance(stated, str) else NETWORKS[found.network].licence


def missing(network: str) -> str:
    """What to say where a network is needed and was never imported."""
    n = NETWORKS[network]
    return (
        f"the network that {n.purpose} is not imported: {n.file}, published at {n.published} "
        f"(licence: {n.licence}); `fev-models import FILE` takes it"
    )


def _flat(value: Any) -> dict[str, Stored] | None:
    """A state dict, or None where the value is none."""
    if isinstance(value, dict) and value and all(isinstance(k, str) for k in value):
        return {k: v for k, v in value.items() if isinstance(v, Stored)}
    return None


def _part(state: Mapping[str, Stored], prefix: str) -> dict[str, Stored]:
    return {k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)}


def _fitting(network: str, state: Mapping[str, Stored], build: Callable[[], nn.Module] | None = None) -> Tensors:
    """The tensors that the network has, shapes checked before a byte of them is read.

    Args:
        build: makes it empty, where it is none of NETWORKS.
    """
    build = build or NETWORKS[network].build
    assert build is not None
    with torch.device("meta"):
        expected = build().state_dict()
    out = {}
    for key, like in expected.items():
        if key.endswith("num_batches_tracked"):
            continue
        value = state.get(key)
        if value is None:
            raise ModelMismatchError(f"{network} lacks {key}")
        if value.shape != tuple(like.shape):
            raise ModelMismatchError(f"{network}'s {key} has shape {value.shape}, expected {tuple(like.shape)}")
        out[key] = value.tensor().float()
    return out


def _values(state: Mapping[str, Stored]) -> Tensors:
    return {k: v.tensor() for k, v in state.items()}


def _clamp(generator: Module) -> float | None:
    """The one limit of all layers of a snapshot's generator."""
    seen: set[Any] = set()

    def walk(module: Module, depth: int = 0) -> None:
        if "conv_clamp" in module.state:
            seen.add(module.state["conv_clamp"])
        for value in module.state.get("_modules", {}).values():
            if isinstance(value, Module) and depth < 8:
                walk(value, depth + 1)

    walk(generator)
    if len(seen) != 1 or not all(v is None or (isinstance(v, (int, float)) and 0 < v < 1e6) for v in seen):
        raise ModelMismatchError("the snapshot's layers have no common limit of activations")
    value = seen.pop()
    return None if value is None else float(value)


def _recognise(content: Any) -> Iterator[tuple[str, str, Tensors, GeneratorConfig | None, dict[str, Any] | None]]:
    """Network, container, tensors, the generator's sizes, what else is to be kept."""
    if not isinstance(content, dict):
        raise ModelMismatchError("the file holds no networks")
    mean = content.get("latent_avg")
    mean = mean.tensor() if isinstance(mean, Stored) else None
    snapshot = content.get("G_ema")
    if isinstance(snapshot, Module):
        config, tensors = layouts.nvlabs(_values(snapshot.tensors()), _clamp(snapshot))
        yield "generator", "NVlabs snapshot", tensors, config, None
        return
    own = _flat(content.get("g_ema"))
    if own:
        config, tensors = layouts.rosinality(_values(own), mean)
        yield "generator", "rosinality checkpoint", tensors, config, None
        return
    state = _flat(content.get("state_dict")) or {}
    encoder, decoder = _part(state, "encoder."), _part(state, "decoder.")
    if "latlayer1.weight" in encoder:
        opts = content.get("opts")
        options: dict[Any, Any] = opts if isinstance(opts, dict) else {}
        kind = options.get("encoder_type", "Encoder4Editing")
        if kind != "Encoder4Editing":
            raise ModelMismatchError(f"an encoder of type {kind!r:.40}, only Encoder4Editing is known")
        tensors = _fitting("e4e", encoder)
        if options.get("start_from_latent_avg", True):
            if mean is None:
                raise ModelMismatchError("e4e lacks latent_avg")
            tensors["latent_avg"] = mean.float().reshape(-1, mean.shape[-1]).expand(18, -1).contiguous()
        yield "e4e", "e4e checkpoint", tensors, None, None
        if decoder:
            flat = None if mean is None else mean.float().reshape(-1, mean.shape[-1])
            same = flat is not None and bool((flat == flat[:1]).all())
            config, tensors = layouts.rosinality(_values(decoder), flat if same else None)
            yield "generator", "e4e checkpoint", tensors, config, None
        return
    matrix = _flat(content.get("A_matrix"))
    if matrix:
        scale = content.get("shift_scale", 6)
        extra = {"shift_scale": float(scale)} if isinstance(scale, (int, float)) else None
        yield "directions", "direction checkpoint", _fitting("directions", matrix), None, extra
        return
    flat_state = _flat(content) or {}
    for network, key in (
        ("arcface", "output_layer.3.weight"),
        ("bisenet", "cp.resnet.conv1.weight"),
        ("styleflow", "chain.1.sqrt_end_time"),
        ("lpips-squeeze", "features.12.squeeze.bias"),
        ("lpips-vgg", "features.28.bias"),
        ("lpips-alex", "features.10.bias"),  # VGG has one too, so after it
    ):
        if key in flat_state:
            yield network, "state dict", _fitting(network, flat_state), None, None
            return
    raise ModelMismatchError("the file holds none of the networks that are known")


@contextmanager
def _opened(path: Path) -> Iterator[memoryview]:
    """A file's bytes, read where they lie.  What goes wrong while they are read is said with the
    file's name.
    """
    try:
        size = path.stat().st_size
        if not 0 < size <= MAX_FILE:
            raise ModelMismatchError(f"a file of {size} bytes is no checkpoint")
        yield np.memmap(path, np.uint8, "r").data  # unmapped when nothing refers to it
    except OSError as error:
        raise FevError(f"{path}: cannot be read: {error.strerror}") from error
    except (ModelMismatchError, LimitError) as error:
        raise type(error)(f"{path.name}: {error.message}") from None


def _is_safetensors(view: memoryview) -> bool:
    """By its header, a length that fits and JSON; what a pickle or a zip file begins with is no
    such length.
    """
    return int.from_bytes(view[:8], "little") <= len(view) - 8 and bytes(view[8:9]) == b"{"


def read_official(path: str | os.PathLike[str]) -> list[ImportedNetwork]:
    """The networks in an official file.  Nothing in it is executed.

    Raises:
        FevError: where it cannot be read.
        ModelMismatchError: where it is damaged, hostile or unknown.
    """
    with _opened(Path(path)) as view:
        digest = hashlib.sha256(view).hexdigest()
        if _is_safetensors(view):
            tensors, extra = read_own(Path(path))
            return [ImportedNetwork("directions", "fev's own format", digest, len(view), tensors, None, extra)]
        return [
            ImportedNetwork(network, container, digest, len(view), tensors, config, extra)
            for network, container, tensors, config, extra in _recognise(read_checkpoint(view))
        ]


def read_into(path: str | os.PathLike[str], network: str, build: Callable[[], nn.Module]) -> tuple[nn.Module, str]:
    """A network that is never imported (those that only judge), out of a file with its state dict;
    the file's sha256.

    Args:
        network: what to call it where the file does not fit.
        build: makes it empty.

    Raises:
        FevError: where it cannot be read.
        ModelMismatchError: where it is damaged, hostile or of another network.
    """
    with _opened(Path(path)) as view:
        digest = hashlib.sha256(view).hexdigest()
        tensors = _fitting(network, _flat(read_checkpoint(view)) or {}, build)
    net = build()
    counters = {k: v for k, v in net.state_dict().items() if k.endswith("num_batches_tracked")}
    net.load_state_dict(counters | tensors)
    return net.eval().requires_grad_(False), digest


def shape_of(config: GeneratorConfig) -> dict[str, Any]:
    """A generator's sizes as JSON; what a model file without them has is left out."""
    out = asdict(config)
    out["channels"] = list(config.channels)
    if config.conv_clamp is None:
        del out["conv_clamp"]
    return out


def pack_networks(found: Mapping[str, ImportedNetwork], both: bool, basis: Basis | None = None) -> bytes:
    """A safetensors file of those networks that both ends need, or of those that only encoders do.

    No name and no prose goes in, which another user or version might word differently.

    Args:
        basis: by default the paper's, where the generator has the sizes that it was found for.
    """
    chosen = {n: f for n, f in sorted(found.items()) if NETWORKS[n].both == both}
    tensors = {f"{n}.{key}": value.contiguous() for n, f in chosen.items() for key, value in f.tensors.items()}
    config: dict[str, Any] = {
        "format": FORMAT,
        "basis": "stylespace" if both else "none",
        "networks": sorted(chosen),
        "extra": {n: f.extra for n, f in chosen.items() if f.extra},
    }
    generator = chosen.get("generator")
    if generator is not None and generator.generator is not None:
        config["generator"] = shape_of(generator.generator)
        if basis is None and is_config_f(generator.generator):
            basis = Basis.of_config_f()
        if basis is not None:
            config["channels"] = [list(c) for c in basis.channels]
            config["attributes"] = list(basis.attributes)
            if basis.pose is not None and "styleflow" not in chosen:
                tensors["pose.directions"] = basis.pose.contiguous()
                config["pose_rows"] = basis.pose.shape[1]
    return pack_tensors(tensors, {"config": json.dumps(config, sort_keys=True)})
