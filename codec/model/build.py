"""Empty networks of a model's configuration; every number is bounded before anything is allocated."""

from __future__ import annotations

from typing import Any

from ...format.errors import ModelMismatchError
from .aligner import Aligner
from .inverter import Inverter, LatentSpace
from .shared import SharedModes
from .styleflow import WIDTH as STYLEFLOW_WIDTH
from .styleflow import StyleFlow
from .stylegan2 import Generator, GeneratorConfig
from .stylespace import MAX_CHANNELS, FlowPose, LinearPose, StyleSpace

MAX_PLANE = 256  # side of a shared mode
UNUSABLE = (AttributeError, KeyError, TypeError, ValueError, OverflowError)  # what JSON of a stranger can raise


def build_shared(config: dict[str, Any], params: int) -> SharedModes | None:
    """Empty shared modes of a configuration, or None where it has none."""
    if "shared" not in config:
        return None
    try:
        texture, grid = int(config["shared"]["texture"]), int(config["shared"]["grid"])
    except UNUSABLE as error:
        raise ModelMismatchError(f"model configuration is not usable: {error}") from error
    if not 2 <= texture <= MAX_PLANE or texture % 2 or not 2 <= grid <= MAX_PLANE:
        raise ModelMismatchError("model configuration is out of range")
    return SharedModes(params, texture, grid)


def build_generator(config: dict[str, Any]) -> Generator:
    """An empty generator of a configuration; every number is bounded before anything is allocated."""
    try:
        g = config["generator"]
        clamp = g.get("conv_clamp")
        shape = GeneratorConfig(
            int(g["resolution"]),
            tuple(int(c) for c in g["channels"]),
            int(g["w_dim"]),
            int(g["z_dim"]),
            int(g["mapping_layers"]),
            int(g["noise_size"]),
            None if clamp is None else float(clamp),
        )
    except UNUSABLE as error:
        raise ModelMismatchError(f"model configuration is not usable: {error}") from error
    bounds = ((shape.w_dim, 1024), (shape.z_dim, 1024), (shape.mapping_layers, 16), (max(shape.channels), 1024))
    if any(not 0 <= value <= limit for value, limit in bounds):
        raise ModelMismatchError("model configuration is out of range")
    return Generator(shape)


def build(config: dict[str, Any]) -> tuple[Generator, LatentSpace, Inverter, Aligner]:
    """Empty networks of a configuration of the basis `directions`."""
    generator = build_generator(config)
    shape = generator.config
    try:
        rank, motion_ws = int(config["rank"]), int(config["motion_ws"])
    except UNUSABLE as error:
        raise ModelMismatchError(f"model configuration is not usable: {error}") from error
    if not 0 <= rank <= 4096 or not 0 < motion_ws <= shape.num_ws:
        raise ModelMismatchError("model configuration is out of range")
    return generator, LatentSpace(shape.num_ws, shape.w_dim, rank, motion_ws), Inverter(rank), Aligner()


def build_stylespace(config: dict[str, Any]) -> tuple[Generator, StyleSpace]:
    """Empty networks of a configuration of the basis `stylespace`."""
    generator = build_generator(config)
    shape = generator.config
    try:
        channels = [(int(layer), int(channel)) for layer, channel in config["channels"]]
        networks = [str(n) for n in config["networks"]]
        rows = int(config.get("pose_rows", 0))
        if not 1 <= len(channels) <= MAX_CHANNELS or not 0 <= rows <= shape.num_ws:
            raise ValueError("the basis is out of range")
        if "styleflow" in networks and shape.w_dim != STYLEFLOW_WIDTH:
            raise ValueError(f"StyleFlow is for a W of {STYLEFLOW_WIDTH}, the generator's has {shape.w_dim}")
        pose: FlowPose | LinearPose | None = LinearPose(rows, shape.w_dim) if rows else None
        if "styleflow" in networks:
            pose = FlowPose(StyleFlow())
        return generator, StyleSpace(shape, channels, pose)
    except KeyError as error:
        raise ModelMismatchError(
            "no channels of StyleSpace are known for this generator; import it with --basis"
        ) from error
    except UNUSABLE as error:
        raise ModelMismatchError(f"model configuration is not usable: {error}") from error
