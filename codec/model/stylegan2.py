"""The StyleGAN2 generator in plain PyTorch, with styles as a first-class input.

`fev.codec.model.modelfile` loads and stores its weights; `fev.codec.decoder` drives it.

Layer numbering follows the StyleSpace paper (Wu et al. 2021): one index `l` over all style
layers, toRGB included.  At 1024x1024 that gives 26 layers, at 256x256 20 layers:
`l=0` is 4x4/Conv, `l=1` is 4x4/ToRGB, and every further resolution adds Conv0_up, Conv1, ToRGB.

Two implementations of the modulated convolution live side by side: `impl="ref"` modulates the
weights of every sample, as the StyleGAN2 paper writes it (section 2.2, eq. 1-3); `impl="fast"`
modulates the activations, which is the same arithmetic in another order and lets one convolution
serve the whole batch.  Where all samples share one style, the fast path folds it into the weights.
"""

from __future__ import annotations

import math
from collections import abc
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SQRT2 = math.sqrt(2.0)
RESOLUTIONS = (32, 64, 128, 256, 512, 1024)
BLUR = (1.0, 3.0, 3.0, 1.0)


@dataclass(frozen=True)
class GeneratorConfig:
    """Shape of a generator.

    Args:
        resolution: output size in pixels, a power of two from 32 to 1024.
        channels: feature channels at 4, 8, ..., resolution (one entry each).
        w_dim: width of W.  z_dim and mapping_layers describe the mapping network; 0 layers means
            none.
        noise_size: the largest layer that has a noise picture; official networks have them
            everywhere (0).
        conv_clamp: limit of every layer's output, as NVlabs's half precision networks have; None
            for none.
    """

    resolution: int
    channels: tuple[int, ...]
    w_dim: int = 512
    z_dim: int = 512
    mapping_layers: int = 8
    noise_size: int = 0
    conv_clamp: float | None = None

    def __post_init__(self) -> None:
        if self.resolution not in RESOLUTIONS:
            raise ValueError(f"resolution {self.resolution} is not one of {RESOLUTIONS}")
        if len(self.channels) != self.levels or min(self.channels) < 1:
            raise ValueError(f"{self.levels} positive channel counts expected, got {self.channels}")

    @property
    def levels(self) -> int:
        return int(math.log2(self.resolution)) - 1

    @property
    def num_ws(self) -> int:
        """Number of W+ vectors: 2 a resolution."""
        return 2 * self.levels


@dataclass(frozen=True)
class LayerSpec:
    """What style layer `l` is: its kind, picture size, channels and the W+ vector that feeds it."""

    kind: str  # "conv", "up" or "rgb"
    size: int
    in_channels: int
    out_channels: int
    w_index: int


def layer_table(config: GeneratorConfig) -> list[LayerSpec]:
    """The style layers of a generator in order: 26 at 1024 pixels, toRGB included."""
    ch = config.channels
    table = [LayerSpec("conv", 4, ch[0], ch[0], 0), LayerSpec("rgb", 4, ch[0], 3, 1)]
    for level in range(1, config.levels):
        size = 4 << level
        w = 2 * level - 1
        table.append(LayerSpec("up", size, ch[level - 1], ch[level], w))
        table.append(LayerSpec("conv", size, ch[level], ch[level], w + 1))
        table.append(LayerSpec("rgb", size, ch[level], 3, w + 2))
    return table


@lru_cache
def blur_kernel(gain: float, device: torch.device | None = None) -> Tensor:
    with torch.inference_mode(False):  # it is kept, and training may want it after inference has
        k = torch.tensor(BLUR, device=device)
        k = k[:, None] * k[None, :]
        return k / k.sum() * gain


@dataclass(frozen=True)
class Drive:
    """What moves a generator: the arguments of its `forward`.

    Args:
        ws: W+ (N or 1, num_ws, w_dim).
        moving: W+ vectors from this index on are those of the first sample for all.
        added: style layer -> change of its styles (N, C_l).
    """

    ws: Tensor
    moving: int
    added: abc.Mapping[int, Tensor] = field(default_factory=dict)

    def part(self, first: int, end: int) -> Drive:
        """Of some of the samples; what is shared by all of them stays."""

        def some(values: Tensor) -> Tensor:
            return values if len(values) == 1 else values[first:end]

        return Drive(some(self.ws), self.moving, {layer: some(change) for layer, change in self.added.items()})


def _wide(values: Tensor) -> Tensor:
    """At least float32: sums of squares in bf16 would not do, and float64 stays what it is."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


class EqualLinear(nn.Module):
    """Linear layer with equalised learning rate: the stored weight has unit variance."""

    def __init__(self, inputs: int, outputs: int, bias_init: float = 0.0, lr_mul: float = 1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / lr_mul)
        self.bias = nn.Parameter(torch.full((outputs,), bias_init))
        self.gain = lr_mul / math.sqrt(inputs)
        self.lr_mul = lr_mul

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.gain, self.bias * self.lr_mul)


class StyleLayer(nn.Module):
    """One style layer: affine from W, modulated convolution, and for non-RGB noise and activation."""

    noise: Tensor

    def __init__(self, spec: LayerSpec, w_dim: int, noise_size: int = 0, clamp: float | None = None):
        super().__init__()
        self.spec, self.clamp = spec, clamp
        self.has_noise = spec.kind != "rgb" and (not noise_size or spec.size <= noise_size)
        k = 1 if spec.kind == "rgb" else 3
        self.affine = EqualLinear(w_dim, spec.in_channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(spec.out_channels, spec.in_channels, k, k))
        self.bias = nn.Parameter(torch.zeros(spec.out_channels))
        self.gain = 1.0 / math.sqrt(spec.in_channels * k * k)
        self._kept: tuple[Tensor, int, Tensor] | None = None  # weights, their version and power
        if self.has_noise:
            self.register_buffer("noise", torch.randn(1, 1, spec.size, spec.size))
            self.noise_strength = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, style: Tensor, impl: str = "fast") -> Tensor:
        """x: (N, C, h, w).  style: (N, C), or (1, C) when shared by the batch."""
        if self.spec.kind == "rgb":
            y = self._rgb(x, style)
        else:
            y = self._conv_ref(x, style) if impl == "ref" else self._conv_fast(x, style)
        return y if self.clamp is None else y.clamp(-self.clamp, self.clamp)

    def _rgb(self, x: Tensor, style: Tensor) -> Tensor:
        weight = _wide(self.weight) * self.gain  # (3, C, 1, 1)
        dtype = x.dtype
        if style.shape[0] == 1:
            folded = weight * _wide(style)[0, None, :, None, None]
            return F.conv2d(x, folded.to(dtype), self.bias.to(dtype))
        x = x * style.to(dtype)[:, :, None, None]
        return F.conv2d(x, weight.to(dtype), self.bias.to(dtype))

    def _conv_ref(self, x: Tensor, style: Tensor) -> Tensor:
        n = x.shape[0]
        style = style.expand(n, -1)
        weight = self.weight * self.gain  # (O, C, 3, 3)
        weight = weight[None] * style[:, None, :, None, None]  # (N, O, C, 3, 3)
        weight = weight * torch.rsqrt(weight.square().sum((2, 3, 4), keepdim=True) + 1e-8)
        rows = []
        for i in range(n):
            if self.spec.kind == "up":
                y = F.conv_transpose2d(x[i : i + 1], weight[i].transpose(0, 1), stride=2)
                kernel = blur_kernel(4.0, x.device)[None, None].expand(y.shape[1], 1, 4, 4)
                y = F.conv2d(F.pad(y, (1, 1, 1, 1)), kernel, groups=y.shape[1])
            else:
                y = F.conv2d(x[i : i + 1], weight[i], padding=1)
            rows.append(y)
        y = torch.cat(rows)
        if self.has_noise:
            y = y + self.noise * self.noise_strength
        return F.leaky_relu(y + self.bias[None, :, None, None], 0.2) * SQRT2

    def _conv_fast(self, x: Tensor, style: Tensor) -> Tensor:
        dtype = x.dtype
        weight = _wide(self.weight)
        style = _wide(style) * self.gain  # a pass over the style instead of one over the weights
        demod = torch.rsqrt(style.square() @ self._power().t() + 1e-8) * SQRT2  # (N, O)
        bias = self.bias * SQRT2
        noise = (self.noise * (self.noise_strength * SQRT2)).to(dtype) if self.has_noise else None
        if style.shape[0] == 1:
            weight = weight * (style * demod.t())[:, :, None, None]
            y = self._bare(x, weight.to(dtype), bias.to(dtype))
            if noise is not None:
                y.add_(noise)  # a fresh picture of 1024 x 1024 x 32 costs more than the sum
        else:
            y = self._bare(x * style.to(dtype)[:, :, None, None], weight.to(dtype), None)
            shift = bias.to(dtype)[None, :, None, None]
            y = torch.addcmul(shift if noise is None else shift + noise, y, demod.to(dtype)[:, :, None, None])
        return F.leaky_relu(y, 0.2, inplace=True)

    def _power(self) -> Tensor:
        """Squares of the weights, summed over the kernel: (O, C), float32 or wider.

        While nothing is learnt they are kept until the weights are others or were written to: at
        1024x1024 they would be 30 million squares a picture.
        """
        weight = self.weight
        if torch.compiler.is_compiling() or weight.is_inference() or (torch.is_grad_enabled() and weight.requires_grad):
            return _wide(weight).square().sum((2, 3))
        if self._kept is None or self._kept[0] is not weight or self._kept[1] != weight._version:
            self._kept = (weight, weight._version, _wide(weight).square().sum((2, 3)))
        return self._kept[2]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> StyleLayer:
        self._kept = None  # `to` moves the weights without writing to them
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch gives it no types
        return self

    def _bare(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The convolution alone, with the upsampling and its blur where the layer has them."""
        if self.spec.kind == "conv":
            return F.conv2d(x, weight, bias, padding=1)
        if x.device.type == "cuda":  # cuDNN's grouped convolutions take longer than four times the work
            return self._widened(x, weight, bias)
        y = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
        kernel = blur_kernel(4.0, x.device).to(x.dtype)[None, None].expand(y.shape[1], 1, 4, 4)
        return F.conv2d(y, kernel, bias, padding=1, groups=y.shape[1])

    @staticmethod
    def _widened(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The layer that upsamples, in another order: blurred and upsampled first, convolved at the
        larger size.

        Bilinear interpolation has the blur's very taps; the border shows it the zeros that it would
        see.
        """
        wide = F.pad(x, (2, 2, 2, 2))
        wide = F.interpolate(wide, scale_factor=2, mode="bilinear", align_corners=False)[..., 3:-3, 3:-3]
        return F.conv2d(wide, weight.flip(2, 3), bias)


def upsample_rgb(rgb: Tensor) -> Tensor:
    """Skip connection of the RGB image to the next resolution, with the [1,3,3,1] filter."""
    # bilinear interpolation has these very taps; the zero border is what the filter sees outside
    padded = F.pad(rgb, (1, 1, 1, 1))
    return F.interpolate(padded, scale_factor=2, mode="bilinear", align_corners=False)[..., 2:-2, 2:-2]


class Mapping(nn.Module):
    """Z to W: pixel norm, then equalised linear layers with leaky ReLU (StyleGAN section 2)."""

    def __init__(self, config: GeneratorConfig):
        super().__init__()
        widths = [config.z_dim] + [config.w_dim] * config.mapping_layers
        self.layers = nn.ModuleList(EqualLinear(a, b, lr_mul=0.01) for a, b in pairwise(widths))

    def forward(self, z: Tensor) -> Tensor:
        x = z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-8)
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2) * SQRT2
        return x


class Generator(nn.Module):
    """StyleGAN2 with skip RGB and constant noise (arXiv 1912.04958, configuration E/F)."""

    w_avg: Tensor  # the mean of W

    def __init__(self, config: GeneratorConfig):
        super().__init__()
        self.config = config
        self.table = layer_table(config)
        self.mapping = Mapping(config) if config.mapping_layers else None
        self.register_buffer("w_avg", torch.zeros(config.w_dim))
        self.const = nn.Parameter(torch.randn(1, config.channels[0], 4, 4))
        self.layers = nn.ModuleList(
            StyleLayer(spec, config.w_dim, config.noise_size, config.conv_clamp) for spec in self.table
        )

    @property
    def style_layers(self) -> list[StyleLayer]:
        """`layers`, by their type."""
        return [layer for layer in self.layers if isinstance(layer, StyleLayer)]

    def truncated(self, w: Tensor, psi: float = 0.7, cutoff: int | None = None) -> Tensor:
        """W (N, w_dim) at `psi` of its way from the mean -> W+ (N, num_ws, w_dim); from `cutoff` on
        the whole way.
        """
        near = self.w_avg + psi * (w - self.w_avg)
        count = self.config.num_ws if cutoff is None else cutoff
        return torch.stack([near if index < count else w for index in range(self.config.num_ws)], 1)

    def styles(self, ws: Tensor, moving: int | None = None) -> list[Tensor]:
        """W+ (N, num_ws, w_dim) -> one style (N, C_l) for each style layer l.

        Args:
            moving: W+ vectors from this index on are those of the first sample for the whole batch,
                and the styles that they feed have shape (1, C_l), which the fast path folds into
                the weights.
        """
        if ws.ndim != 3 or ws.shape[1:] != (self.config.num_ws, self.config.w_dim):
            expected = (self.config.num_ws, self.config.w_dim)
            raise ValueError(f"W+ of shape (N, {expected[0]}, {expected[1]}) expected, got {tuple(ws.shape)}")
        shared = self.config.num_ws if moving is None else moving
        return [
            layer.affine(ws[:, spec.w_index] if spec.w_index < shared else ws[:1, spec.w_index])
            for layer, spec in zip(self.style_layers, self.table, strict=True)
        ]

    def synthesis(
        self,
        styles: list[Tensor],
        *,
        size: int | None = None,
        dtype: torch.dtype = torch.float32,
        impl: str = "fast",
    ) -> Tensor:
        """Styles -> picture (N, 3, size, size), float32 (float64 where `dtype` is), about -1 to 1.

        A style of batch 1 beside others of batch N is shared by the whole batch.

        Args:
            size: stop at this resolution (the skip image there); default the full resolution.
        """
        size = size or self.config.resolution
        n = max(s.shape[0] for s in styles)
        x = self.const.to(dtype).expand(n, -1, -1, -1).contiguous(memory_format=torch.channels_last)
        rgb: Tensor | None = None
        for layer, spec, style in zip(self.layers, self.table, styles, strict=True):
            if spec.size > size:
                break
            if spec.kind != "rgb":
                x = layer(x, style, impl)
            else:
                y = _wide(layer(x, style))
                rgb = y if rgb is None else upsample_rgb(rgb) + y
        if rgb is None or rgb.shape[-1] != size:
            raise ValueError(f"size {size} is not a resolution of this generator")
        return rgb

    def forward(
        self, ws: Tensor, moving: int | None = None, added: abc.Mapping[int, Tensor] | None = None, **options: Any
    ) -> Tensor:
        """W+ -> picture; the options are those of `styles` and `synthesis`.

        Args:
            added: style layer -> what its styles change by, (N, C_l): moves in StyleSpace.
        """
        styles = self.styles(ws, moving)
        for layer, change in (added or {}).items():
            styles[layer] = styles[layer] + change
        return self.synthesis(styles, **options)
