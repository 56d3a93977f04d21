"""A model file: one `.safetensors` with a JSON configuration in its metadata, named by its sha256.

It holds the generator, the latent space, the inverter, the aligner and, where it has them, the
shared modes.
Loading executes nothing from the file: tensors and JSON only, checked against the configuration.
`fev.tools.lab.train.export` writes it; the header of a `.fev` file carries the sha256 of the model
that decodes it.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_tensors
from safetensors.torch import save as pack_tensors
from torch import Tensor, nn

from ...format.errors import ModelMismatchError
from . import library
from .aligner import Aligner
from .build import UNUSABLE, build, build_shared, build_stylespace
from .inverter import Inverter, LatentSpace
from .rates import RateCurves, rates_beside
from .shared import SharedModes
from .stylegan2 import Generator
from .stylespace import FlowPose, StyleSpace

DEFAULT = "base-256"
FORMAT = "fev-model/1"
MAX_FILE = 512 << 20
MAX_CONFIG = 1 << 20
STYLESPACE = "stylespace"  # the basis of imported networks


@dataclass
class Model:
    """Everything both ends hold before a file is sent.

    Args:
        latents: the basis, how identity and parameters become styles.
        inverter, aligner: None in a model of imported networks, which has its own ways
            (`fev.codec.paper`).
        identity_scale: (rank,) standard deviation of the identity's coefficients over the training
            set.
        tuning_scale: name of a tunable tensor -> size of a change that moves the picture by one
            unit.
        shared: how the pivot of any clip moves; without it the generator moves the pivot.
        rates: what bytes are worth, where that was measured with it (`rates`).
    """

    name: str
    sha256: str
    config: dict[str, Any]
    generator: Generator
    latents: LatentSpace | StyleSpace
    inverter: Inverter | None
    aligner: Aligner | None
    identity_scale: Tensor
    tuning_scale: dict[str, float] = field(default_factory=dict)
    shared: SharedModes | None = None
    rates: RateCurves | None = None

    @property
    def size(self) -> int:
        return self.generator.config.resolution


def dequantise(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """`name.q8` (int8) times `name.scale` (one a row) -> `name`; everything else as float32."""
    out: dict[str, Tensor] = {}
    for name, value in tensors.items():
        if name.endswith(".q8"):
            base = name[:-3]
            scale = tensors[base + ".scale8"].float()
            out[base] = value.float() * scale.reshape(-1, *[1] * (value.ndim - 1))
        elif not name.endswith(".scale8"):
            out[name] = value.float()
    return out


def quantise(name: str, value: Tensor) -> dict[str, Tensor]:
    """Store matrices and kernels with 8 bits and one scale a row, everything small as float16."""
    value = value.detach().float().contiguous()
    if value.ndim < 2 or value.numel() < 4096:
        return {name: value.half() if value.abs().max() < 6e4 else value}
    rows = value.reshape(value.shape[0], -1)
    scale = (rows.abs().amax(1) / 127).clamp_min(1e-8).half().float()
    q = (rows / scale[:, None]).round().clamp(-127, 127).to(torch.int8)
    return {name + ".q8": q.reshape(value.shape), name + ".scale8": scale.half()}


def pack(modules: dict[str, nn.Module], identity_scale: Tensor, config: dict[str, Any]) -> bytes:
    """The bytes of a model file.

    `config` gives name, basis, licence and the like; what `build` needs is added from the modules.

    Args:
        modules: generator, latents, inverter and aligner by these names.
    """
    tensors: dict[str, Tensor] = {"identity_scale": identity_scale.float()}
    for prefix, module in modules.items():
        for key, value in module.state_dict().items():
            if value.dtype.is_floating_point:
                tensors |= quantise(f"{prefix}.{key}", value)
    g, latents = cast(Generator, modules["generator"]).config, cast(LatentSpace, modules["latents"])
    shape = {
        "resolution": g.resolution, "channels": list(g.channels), "w_dim": g.w_dim, "z_dim": g.z_dim,
        "mapping_layers": g.mapping_layers, "noise_size": g.noise_size,
    }  # fmt: skip
    full = {
        **config, "format": FORMAT, "generator": shape,
        "rank": latents.rank, "motion_ws": latents.directions.shape[1],
    }  # fmt: skip
    return pack_tensors(tensors, {"config": json.dumps(full, sort_keys=True)})


def read_config(data: bytes) -> dict[str, Any]:
    """The JSON configuration out of the header of a safetensors file."""
    if len(data) < 8:
        raise ModelMismatchError("model file is too short")
    length = int.from_bytes(data[:8], "little")
    if length > min(MAX_CONFIG, len(data) - 8):
        raise ModelMismatchError("model file has an oversized header")
    try:
        config = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["config"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelMismatchError("model file has no readable configuration") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise ModelMismatchError(f"model file is not of format {FORMAT}")
    return config


def load_bytes(data: bytes, expected_sha256: str | None = None, name: str = "?") -> Model:
    """Parse a model file that is in memory; the digest is checked before anything is parsed.

    Args:
        name: of a model that does not say its own, as those of imported networks do not.
    """
    digest = hashlib.sha256(data).hexdigest()
    if expected_sha256 is not None and digest != expected_sha256:
        raise ModelMismatchError(f"model file has sha256 {digest[:16]}..., expected {expected_sha256[:16]}...")
    config = read_config(data)
    try:
        tensors = dequantise(parse_tensors(data))
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise ModelMismatchError(f"model file is damaged: {error}") from error
    name = str(config.get("name", name))[:64]
    if config.get("basis") == STYLESPACE:
        generator, space = build_stylespace(config)
        parts: dict[str, nn.Module] = {"generator": generator}
        if isinstance(space.pose, FlowPose):
            parts["styleflow"] = space.pose.flow
        elif space.pose is not None:
            parts["pose"] = space.pose
        _fill(parts, tensors)
        space.mean.copy_(generator.w_avg)
        return Model(name, digest, config, generator, space.eval(), None, None, torch.ones(space.rank))
    generator, latents, inverter, aligner = build(config)
    parts = {"generator": generator, "latents": latents, "inverter": inverter, "aligner": aligner}
    shared = build_shared(config, latents.params)
    if shared is not None:
        parts["shared"] = shared
    _fill(parts, tensors)
    scale = tensors.get("identity_scale")
    if scale is None or scale.shape != (latents.rank,):
        raise ModelMismatchError("model file lacks identity_scale")
    try:
        tuning = {str(k): float(v) for k, v in config.get("tuning_scale", {}).items()}
    except UNUSABLE as error:
        raise ModelMismatchError(f"model configuration is not usable: {error}") from error
    return Model(name, digest, config, generator, latents, inverter, aligner, scale, tuning, shared)


def _fill(parts: dict[str, nn.Module], tensors: dict[str, Tensor]) -> None:
    """Weights by their prefixes into the networks, which are for use only from then on."""
    for prefix, module in parts.items():
        own = {k[len(prefix) + 1 :]: v for k, v in tensors.items() if k.startswith(prefix + ".")}
        for key, value in module.state_dict().items():
            if value.dtype == torch.int64:  # a counter of batch normalisation, unused at run time
                own.setdefault(key, value)
        try:
            module.load_state_dict(own)
        except RuntimeError as error:
            raise ModelMismatchError(f"model file does not fit its configuration ({prefix})") from error
        module.eval().requires_grad_(False)


def load_model(name_or_path: str | os.PathLike[str] = DEFAULT) -> Model:
    """Load a built-in or imported model by name, or any model file by path.

    Raises:
        FevError: when there is none.
        ModelMismatchError: when its digest or content is wrong.
    """
    path, expected = library.find(name_or_path)
    if path.stat().st_size > MAX_FILE:
        raise ModelMismatchError(f"{path}: model file is larger than {MAX_FILE >> 20} MiB")
    try:
        model = load_bytes(path.read_bytes(), expected, path.name.removesuffix(library.ENDING))
    except ModelMismatchError as error:
        raise ModelMismatchError(f"{path}: {error.message}") from None
    model.rates = rates_beside(path, model.sha256)
    return model


def load_for(sha256: str, name_or_path: str | os.PathLike[str] | None = None) -> Model:
    """The model that a `.fev` header asks for by its sha256."""
    if name_or_path is not None:
        model = load_model(name_or_path)
        if model.sha256 != sha256:
            raise ModelMismatchError(f"the file needs model {sha256[:16]}..., {name_or_path} is {model.sha256[:16]}...")
        return model
    name = library.holding(sha256)
    if name is not None:
        return load_model(name)
    raise ModelMismatchError(
        f"the file needs model {sha256[:16]}..., which is not installed; name it with --model FILE"
    )
