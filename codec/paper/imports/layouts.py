"""The generator in the layouts of its two public PyTorch implementations, and every official file
by its keys.

Renaming and reshaping only; sizes follow from the tensors.  The rows of the table in `_pairs` are
the names of one tensor: ours, rosinality's, NVlabs's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from ....format.errors import ModelMismatchError
from ...model.stylegan2 import RESOLUTIONS, GeneratorConfig, blur_kernel, layer_table

State = Mapping[str, Tensor]
ROSINALITY, NVLABS = 1, 2  # columns of the table
MAX_WIDTH, MAX_MAPPING = 1024, 16


def _pairs(config: GeneratorConfig) -> Iterator[tuple[str, str, str, tuple[int, ...]]]:
    """Name here, in rosinality's layout and in NVlabs's, and the shape here."""
    widths = [config.z_dim] + [config.w_dim] * config.mapping_layers
    for i in range(config.mapping_layers):
        for part, shape in (("weight", (widths[i + 1], widths[i])), ("bias", (widths[i + 1],))):
            yield f"mapping.layers.{i}.{part}", f"style.{i + 1}.{part}", f"mapping.fc{i}.{part}", shape
    yield "const", "input.input", "synthesis.b4.const", (1, config.channels[0], 4, 4)
    noise = 0
    for index, spec in enumerate(layer_table(config)):
        k = {"rgb": "torgb", "up": "conv0", "conv": "conv1"}[spec.kind]
        level = spec.size.bit_length() - 4  # 0 at 8x8
        if spec.kind == "rgb":
            theirs = "to_rgb1" if spec.size == 4 else f"to_rgbs.{level}"
        elif spec.size == 4:
            theirs = "conv1"
        else:
            theirs = f"convs.{2 * level + (spec.kind == 'conv')}"
        ours, nv, kernel = f"layers.{index}", f"synthesis.b{spec.size}.{k}", 1 if spec.kind == "rgb" else 3
        inputs, outputs = spec.in_channels, spec.out_channels
        yield f"{ours}.affine.weight", f"{theirs}.conv.modulation.weight", f"{nv}.affine.weight", (inputs, config.w_dim)
        yield f"{ours}.affine.bias", f"{theirs}.conv.modulation.bias", f"{nv}.affine.bias", (inputs,)
        yield f"{ours}.weight", f"{theirs}.conv.weight", f"{nv}.weight", (outputs, inputs, kernel, kernel)
        if spec.kind == "rgb":
            yield f"{ours}.bias", f"{theirs}.bias", f"{nv}.bias", (3,)
        else:
            yield f"{ours}.bias", f"{theirs}.activate.bias", f"{nv}.bias", (outputs,)
            yield f"{ours}.noise", f"noises.noise_{noise}", f"{nv}.noise_const", (1, 1, spec.size, spec.size)
            yield f"{ours}.noise_strength", f"{theirs}.noise.weight", f"{nv}.noise_strength", ()
            noise += 1


def _converted(state: State, config: GeneratorConfig, column: int, known: tuple[str, ...]) -> dict[str, Tensor]:
    """Tensors by our names.

    Args:
        known: endings of keys that need not be in the table.
    """
    out, used = {}, set()
    for row in _pairs(config):
        name, shape, theirs = row[0], row[3], row[1] if column == ROSINALITY else row[2]
        value = state.get(theirs)
        if value is None:
            raise ModelMismatchError(f"the generator lacks {theirs}")
        count = 1
        for side in shape:
            count *= side
        if value.numel() != count or [s for s in value.shape if s > 1] != [s for s in shape if s > 1]:
            raise ModelMismatchError(f"the generator's {theirs} has shape {tuple(value.shape)}, expected {shape}")
        out[name] = value.detach().float().reshape(shape)
        used.add(theirs)
    strange = sorted(k for k in state if k not in used and not k.endswith(known))
    if strange:
        raise ModelMismatchError(f"the generator has a tensor too many: {strange[0]}")
    return out


def _filters(state: State, endings: tuple[str, ...], gain: float) -> None:
    """Every filter in the file must be the [1, 3, 3, 1] that the code here has."""
    for key, value in state.items():
        same = value.shape == (4, 4) and torch.allclose(value.float(), blur_kernel(gain), atol=1e-6)
        if key.endswith(endings) and not same:
            raise ModelMismatchError(f"the generator's filter {key} is not the usual one")


def _size(state: State, key: str, axis: int) -> int:
    value = state.get(key)
    if value is None or value.ndim <= abs(axis):
        raise ModelMismatchError(f"the generator lacks {key}, or it has too few axes")
    size = int(value.shape[axis])
    if not 1 <= size <= MAX_WIDTH:
        raise ModelMismatchError(f"the generator's {key} is out of range")
    return size


def _checked(resolution: int, **sizes: object) -> GeneratorConfig:
    if resolution not in RESOLUTIONS:
        raise ModelMismatchError(f"a generator of {resolution} pixels; {RESOLUTIONS} are known")
    return GeneratorConfig(resolution, **sizes)  # type: ignore[arg-type]


def rosinality(state: State, latent_avg: Tensor | None) -> tuple[GeneratorConfig, dict[str, Tensor]]:
    """The generator of `g_ema` in a rosinality checkpoint, or of `decoder.` in e4e's.

    Args:
        latent_avg: (w_dim,), the mean of W; zeros where the file has none.

    Raises:
        ModelMismatchError.
    """
    levels = sum(k.startswith("to_rgbs.") and k.endswith(".conv.weight") for k in state) + 1
    mapping = sum(k.startswith("style.") and k.endswith(".weight") for k in state)
    if levels > len(RESOLUTIONS) + 3 or mapping > MAX_MAPPING:
        raise ModelMismatchError("the generator has too many layers")
    channels = [_size(state, "input.input", 1)]
    channels += [_size(state, f"convs.{2 * i}.conv.weight", -4) for i in range(levels - 1)]
    w_dim = _size(state, "conv1.conv.modulation.weight", 1)
    config = _checked(
        4 << (levels - 1),
        channels=tuple(channels),
        w_dim=w_dim,
        z_dim=_size(state, "style.1.weight", 1) if mapping else w_dim,
        mapping_layers=mapping,
    )
    _filters(state, ("blur.kernel", "upsample.kernel"), 4.0)
    tensors = _converted(state, config, ROSINALITY, ("blur.kernel", "upsample.kernel"))
    return config, tensors | {"w_avg": _mean(latent_avg, w_dim)}


def nvlabs(state: State, conv_clamp: float | None) -> tuple[GeneratorConfig, dict[str, Tensor]]:
    """The generator of `G_ema` in a stylegan2-ada-pytorch or stylegan3 snapshot.

    Args:
        conv_clamp: the limit of its activations, which is not among the tensors.

    Raises:
        ModelMismatchError.
    """
    resolution = max((int(k.split(".")[1][1:]) for k in state if k.endswith(".torgb.weight")), default=0)
    if resolution not in RESOLUTIONS:
        raise ModelMismatchError(f"a generator of {resolution} pixels; {RESOLUTIONS} are known")
    mapping = sum(k.startswith("mapping.fc") and k.endswith(".weight") for k in state)
    if mapping > MAX_MAPPING:
        raise ModelMismatchError("the generator has too many layers")
    sizes = [8 << i for i in range(resolution.bit_length() - 3)]
    channels = [_size(state, "synthesis.b4.const", 0)]
    channels += [_size(state, f"synthesis.b{r}.conv0.weight", 0) for r in sizes]
    w_dim = _size(state, "synthesis.b4.conv1.affine.weight", 1)
    config = _checked(
        resolution,
        channels=tuple(channels),
        w_dim=w_dim,
        z_dim=_size(state, "mapping.fc0.weight", 1) if mapping else w_dim,
        mapping_layers=mapping,
        conv_clamp=conv_clamp,
    )
    _filters(state, ("resample_filter",), 1.0)
    tensors = _converted(state, config, NVLABS, ("resample_filter", "mapping.w_avg"))
    return config, tensors | {"w_avg": _mean(state.get("mapping.w_avg"), w_dim)}


def _mean(latent_avg: Tensor | None, w_dim: int) -> Tensor:
    if latent_avg is None:
        return torch.zeros(w_dim)
    rows = latent_avg.detach().float().reshape(-1, latent_avg.shape[-1] if latent_avg.ndim else 1)
    if rows.shape[-1] != w_dim or not bool((rows == rows[:1]).all()):
        raise ModelMismatchError(f"the mean latent has shape {tuple(latent_avg.shape)}, expected ({w_dim},)")
    return rows[0].clone()
