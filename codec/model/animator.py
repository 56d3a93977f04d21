"""The animator: StyleGAN2 draws a face that was seen once, in one picture, at other parameters.

    pivot picture --PivotEncoder--> W+ of the face at rest, features at 32, 64, 128, 256
    35 parameters --directions-->   shift of W+ against the pivot's own parameters
    the generator at the shifted W+ draws, size by size, a flow, two masks and its own picture:
        its features are mixed with the pivot's warped ones (`seen`),
        its picture is mixed with the warped pivot (`own`)

At the pivot's own parameters the pivot itself comes back, exactly.  The generator is the class and
the layer numbering of `fev.codec.model.stylegan2`; what draws flow and masks are layers of its kind
"rgb", one a size.  Sources: LIA (arXiv 2203.09043: linear orthogonal directions, flow and mask at
every size), StyleHEAT (2203.04036: flow on StyleGAN2's features), GFPGAN (2101.04061: features of
a picture beside StyleGAN2's own).  `fev.tools.lab.animator` trains it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .stylegan2 import SQRT2, EqualLinear, Generator, GeneratorConfig, LayerSpec, StyleLayer

PARAMS = 35
HIDDEN = 512
FLOW_UNIT = 0.1  # of half a picture: what a layer draws as 1; larger ones tear at the start of training
REST = 0.05  # norm of the change of parameters within which the picture fades into the pivot


@dataclass(frozen=True)
class AnimatorConfig:
    """Shape of an animator.

    Args:
        channels: of the generator at 4, 8, ..., 256.
        motion_ws: W+ vectors that the parameters move.
        encoder, motion: widths of the two encoders at 128, 64, 32, 16, 8, 4 pixels.
    """

    channels: tuple[int, ...] = (256, 256, 256, 128, 64, 32, 16)
    w_dim: int = 256
    motion_ws: int = 9
    params: int = PARAMS
    encoder: tuple[int, ...] = (32, 64, 128, 160, 192, 224)
    motion: tuple[int, ...] = (32, 64, 96, 128, 192, 224)

    @property
    def resolution(self) -> int:
        return 2 << len(self.channels)

    def generator(self) -> GeneratorConfig:
        # Noise that stands still while the face moves would be seen as a dirty window.
        return GeneratorConfig(self.resolution, self.channels, self.w_dim, self.w_dim, 0, noise_size=4)


class EqualConv(nn.Module):
    """Convolution with equalised learning rate; computes in the type of its input.

    Args:
        scale: of what comes out.  An activation's gain is put here: multiplying weights costs
            nothing.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 3,
        stride: int = 1,
        padding: int | None = None,
        scale: float = 1.0,
    ):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.scale, self.gain = scale, scale * (inputs * kernel * kernel) ** -0.5
        self.stride, self.padding = stride, kernel // 2 if padding is None else padding

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = (self.weight * self.gain).to(x.dtype), (self.bias * self.scale).to(x.dtype)
        return F.conv2d(x, weight, bias, stride=self.stride, padding=self.padding)


class Active(EqualConv):
    """The same and leaky ReLU, whose gain keeps the variance."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1):
        super().__init__(inputs, outputs, kernel, stride, scale=SQRT2)

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(super().forward(x), 0.2)


def active(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2) * SQRT2


class Block(nn.Module):
    """Two 3x3 convolutions beside the identity, at one size."""

    def __init__(self, width: int):
        super().__init__()
        self.a, self.b = Active(width, width), EqualConv(width, width, scale=1 / SQRT2)

    def forward(self, x: Tensor) -> Tensor:
        return torch.add(self.b(self.a(x)), x, alpha=1 / SQRT2)


class Down(nn.Module):
    """Picture (N, 3, 256, 256) -> features at 128, 64, 32, 16, 8 and 4."""

    def __init__(self, widths: tuple[int, ...]):
        super().__init__()
        previous = 3
        self.steps, self.blocks = nn.ModuleList(), nn.ModuleList()
        for i, width in enumerate(widths):
            self.steps.append(Active(previous, width, stride=2))
            self.blocks.append(Block(width) if i >= 2 else nn.Identity())
            previous = width

    def forward(self, x: Tensor) -> list[Tensor]:
        out = []
        for step, block in zip(self.steps, self.blocks, strict=True):
            x = block(step(x))
            out.append(x)
        return out


class PivotEncoder(nn.Module):
    """Pivot (N, 3, 256, 256), -1 to 1 -> W+ (N, num_ws, w_dim), features by size (32 and up)."""

    def __init__(self, config: AnimatorConfig):
        super().__init__()
        self.num_ws, self.w_dim = config.generator().num_ws, config.w_dim
        self.down = Down(config.encoder)
        self.hidden = EqualLinear(config.encoder[-1] * 16, HIDDEN)
        self.w = EqualLinear(HIDDEN, self.num_ws * config.w_dim)
        self.sizes = [4 << i for i in range(3, len(config.channels))]
        self.up, self.out = nn.ModuleDict(), nn.ModuleDict()
        wide = config.encoder[3]
        for i, size in enumerate(self.sizes):
            channels = config.channels[3 + i]
            inside = 3 if size == 256 else config.encoder[2 - i]
            self.up[str(size)] = Active(wide + inside, channels)
            self.out[str(size)] = EqualConv(channels, channels)
            wide = channels

    def forward(self, pivot: Tensor, size: int = 256) -> tuple[Tensor, dict[int, Tensor]]:
        """size: the largest features that are wanted."""
        levels = self.down(pivot)
        hidden = active(self.hidden(levels[-1].float().flatten(1)))
        w = self.w(hidden).view(-1, self.num_ws, self.w_dim)
        x, features = levels[3], {}
        for i, side in enumerate(self.sizes):
            if side > size:
                break
            beside = pivot if side == 256 else levels[2 - i]
            wide = F.interpolate(x, scale_factor=2.0, mode="nearest")
            x = self.up[str(side)](torch.cat([wide, beside], 1))
            features[side] = self.out[str(side)](x)
        return w, features


class MotionEncoder(nn.Module):
    """Frame (N, 3, 256, 256), -1 to 1 -> the 35 parameters (N, 35).  The sender alone needs it."""

    def __init__(self, config: AnimatorConfig):
        super().__init__()
        self.down = Down(config.motion)
        self.hidden = EqualLinear(config.motion[-1] * 16, HIDDEN)
        self.out = EqualLinear(HIDDEN, config.params)

    def forward(self, frame: Tensor) -> Tensor:
        out: Tensor = self.out(active(self.hidden(self.down(frame)[-1].float().flatten(1))))
        return out


def places(size: int, device: torch.device) -> Tensor:
    """(1, size, size, 2): where the pixels of a picture lie, -1 to 1, x before y."""
    axis = (torch.arange(size, device=device) + 0.5) * (2 / size) - 1
    return torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1)[None]


def fetch(picture: Tensor, flow: Tensor) -> Tensor:
    """Every pixel of (N or 1, C, S, S) from a place (N, 2, S, S) away, in half picture sides.

    In float32: bf16 has not the digits that places need.
    """
    grid = places(flow.shape[-1], flow.device) + flow.float().permute(0, 2, 3, 1)
    wide = picture.float().expand(len(flow), -1, -1, -1)
    return F.grid_sample(wide, grid, mode="bilinear", padding_mode="border", align_corners=False)


def grow(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


@dataclass
class PivotFeatures:
    """What is known of a pivot once it has been looked at.

    Args:
        picture: (N or 1, 3, 256, 256).
        w: (N or 1, num_ws, w_dim).
        features: size -> (N or 1, C, size, size).
    """

    picture: Tensor
    w: Tensor
    features: dict[int, Tensor]


@dataclass
class AnimatorOutput:
    """What the animator drew.

    Args:
        picture: (N, 3, S, S), float32.
        alone: (N, 3, S, S), what the generator draws itself.
        moved: (N, 3, S, S), the warped pivot.
        flow: (N, 2, S, S), half picture sides.
        own: (N, 1, S, S), share of `alone` in `picture`.
    """

    picture: Tensor
    alone: Tensor
    moved: Tensor
    flow: Tensor
    own: Tensor


class Animator(nn.Module):
    """Generator, the layers that draw flow and masks, directions, and both encoders."""

    def __init__(self, config: AnimatorConfig | None = None):
        super().__init__()
        self.config = config = config or AnimatorConfig()
        self.generator = Generator(config.generator())
        self.encoder = PivotEncoder(config)
        self.motion = MotionEncoder(config)
        self.directions = nn.Parameter(torch.randn(config.params, config.motion_ws, config.w_dim))
        table = self.generator.table
        # One a size from 8 on: flow across, flow down, seen, own.  It has the W+ of the convolution
        # before it.
        self.flows = nn.ModuleDict(
            {
                str(s.size): StyleLayer(LayerSpec("rgb", s.size, s.out_channels, 4, s.w_index), config.w_dim)
                for s in table
                if s.kind == "conv" and s.size >= 8
            }
        )
        for layer in self.flows.values():
            nn.init.zeros_(cast(StyleLayer, layer).weight)  # the pivot stands still at first
        for layer in self.generator.style_layers:
            if layer.spec.kind == "rgb" and layer.spec.size > 8:
                nn.init.zeros_(layer.weight)

    def look(self, pivot: Tensor, size: int = 256, dtype: torch.dtype = torch.float32) -> PivotFeatures:
        """pivot: (N, 3, 256, 256), -1 to 1.  size: of the largest picture that will be drawn."""
        w, features = self.encoder(pivot.to(dtype), size)
        return PivotFeatures(pivot, w, features)

    def shift(self, change: Tensor) -> Tensor:
        """Change of the parameters (N, 35) -> change of the first W+ vectors (N, motion_ws, w_dim)."""
        scale = 0.3 * self.config.params**-0.5
        out: Tensor = torch.einsum("np,pkw->nkw", change, self.directions) * scale
        return out

    def draw(
        self, seen: PivotFeatures, change: Tensor, size: int = 256, dtype: torch.dtype = torch.float32
    ) -> AnimatorOutput:
        """change: (N, 35), parameters minus the pivot's."""
        moving = self.config.motion_ws
        shifted = seen.w[:, :moving] + self.shift(change)
        still = seen.w[:, moving:]
        rest = (1 - torch.exp(-change.float().square().sum(1) / REST**2)).view(-1, 1, 1, 1)
        x = self.generator.const.to(dtype).expand(len(change), -1, -1, -1)
        x = x.contiguous(memory_format=torch.channels_last)
        alone = change.new_zeros(len(change), 3, 4, 4)
        maps = change.new_zeros(len(change), 4, 4, 4)
        maps[:, 2] = 1.0  # the pivot's features are used
        maps[:, 3] = -1.0  # and its pixels
        first = True
        for layer in self.generator.style_layers:
            spec = layer.spec
            if spec.size > size:
                break
            w = shifted[:, spec.w_index] if spec.w_index < moving else still[:, spec.w_index - moving]
            style = layer.affine(w)
            if spec.kind == "rgb":
                y = layer(x, style).float()
                alone = y if first else grow(alone) + y
                first = False
                continue
            if spec.kind == "up":
                maps = grow(maps)
            x = layer(x, style)
            if spec.kind == "up" and spec.size in seen.features:
                seen_here = torch.sigmoid(maps[:, 2:3])
                warped = fetch(seen.features[spec.size], maps[:, :2] * rest)
                x = torch.lerp(x, warped.to(dtype), seen_here.to(dtype))
            if spec.kind == "conv" and spec.size >= 8:
                head = cast(StyleLayer, self.flows[str(spec.size)])
                y = head(x, head.affine(w)).float()
                maps = maps + torch.cat([y[:, :2] * FLOW_UNIT, y[:, 2:]], 1)
        flow, own = maps[:, :2] * rest, torch.sigmoid(maps[:, 3:]) * rest
        pivot = seen.picture.float()
        if pivot.shape[-1] != size:
            pivot = F.interpolate(pivot, size=size, mode="area")
        moved = fetch(pivot, flow)
        return AnimatorOutput(torch.lerp(moved, alone, own), alone, moved, flow, own)

    def forward(
        self, pivot: Tensor, change: Tensor, size: int = 256, dtype: torch.dtype = torch.float32
    ) -> AnimatorOutput:
        return self.draw(self.look(pivot, size, dtype), change, size, dtype)
