"""The basis of imported networks: 32 channels of StyleSpace, and yaw, pitch and roll.

    styles = A(pose(w; yaw, pitch)) + sum_k alpha_k e_k

A: the generator's affine layers.  e_k: one channel of one style layer, in the 26-layer numbering
with toRGB.  pose: StyleFlow, or two straight directions of W+ where there is none.  These are the
35 parameters of Oorloff and Yacoob (arXiv 2203.14512).  StyleFlow has no roll, so theirs turns the
picture in its plane.  Here the placement turns it, and roll moves nothing and costs nothing.

A face is its W+ code, written as what it adds to the mean of W.  `inverter.LatentSpace` is the
other basis.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...format.errors import ModelMismatchError
from .styleflow import CONDITIONS, POSE_WS, StyleFlow
from .stylegan2 import Drive, GeneratorConfig, layer_table

# Supplement, Tab. 1: channels of stylegan2-ffhq-config-f by what they move.
CONFIG_F = {
    "mouth": (
        (6, 113), (6, 202), (6, 214), (6, 259), (6, 378), (6, 501), (11, 6), (11, 41), (11, 78), (11, 86), (11, 313),
        (11, 361), (11, 365), (8, 17), (8, 387), (14, 12), (15, 45),
    ),
    "jaw": ((5, 50), (5, 505), (6, 131), (8, 390)),
    "eyes": ((9, 63), (11, 257), (12, 82), (12, 414), (14, 239), (17, 28)),
    "brows": ((8, 6), (8, 28), (9, 30), (11, 320)),
    "gaze": ((9, 409),),
}  # fmt: skip
POSE = ("yaw", "pitch", "roll")
MAX_CHANNELS = 200
IDENTITY_UNIT = 0.25  # of W, for one unit of an identity coefficient
Channel = tuple[int, int]


@dataclass(frozen=True)
class Basis:
    """What a StyleSpace model's parameters are.

    Args:
        channels: style layer and channel of each facial parameter.
        attributes: the name of each one's attribute.
        pose: (2, rows, w_dim), W+ for one degree of yaw and of pitch; None where StyleFlow turns
            the head, or nothing.
    """

    channels: tuple[Channel, ...]
    attributes: tuple[str, ...]
    pose: Tensor | None = None

    @classmethod
    def of_config_f(cls) -> Basis:
        rows = [(name, channel) for name, group in CONFIG_F.items() for channel in group]
        return cls(tuple(c for _, c in rows), tuple(name for name, _ in rows))

    @classmethod
    def read(cls, text: str) -> Basis:
        """From the JSON that `fev.tools.lab.discover` writes.

        Raises:
            ModelMismatchError: where it is none.
        """
        try:
            value = json.loads(text)
            channels = tuple((int(layer), int(channel)) for layer, channel in value["channels"])
            attributes = tuple(str(name) for name in value["attributes"])
            pose = torch.tensor(value["pose"], dtype=torch.float32) if value.get("pose") is not None else None
        except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, RecursionError) as error:
            raise ModelMismatchError(f"the basis is not usable: {error}") from error
        if not 1 <= len(channels) <= MAX_CHANNELS or len(channels) != len(attributes):
            raise ModelMismatchError(f"a basis of {len(channels)} channels and {len(attributes)} attributes")
        if not set(attributes) <= CONFIG_F.keys() or (pose is not None and (pose.ndim != 3 or len(pose) != 2)):
            raise ModelMismatchError("the basis is not usable")
        return cls(channels, attributes, pose)


def is_config_f(config: GeneratorConfig) -> bool:
    """Whether a generator has the sizes of stylegan2-ffhq-config-f, for which Tab. 1 was found.
    That it has its weights cannot be told from them.
    """
    return config.channels == (512, 512, 512, 512, 512, 256, 128, 64, 32) and config.w_dim == 512


class LinearPose(nn.Module):
    """Yaw and pitch as two directions of W+: (2, rows, w_dim), for one degree."""

    def __init__(self, rows: int, w_dim: int):
        super().__init__()
        self.directions = nn.Parameter(torch.zeros(2, rows, w_dim))

    @property
    def rows(self) -> int:
        return self.directions.shape[1]

    def turned(self, ws: Tensor, pose: Tensor) -> Tensor:
        """W+ (1, num_ws, w_dim) under poses (N, 2) -> (N, num_ws, w_dim)."""
        shift = torch.einsum("np,pkw->nkw", pose, self.directions)
        still = ws[:, self.rows :].expand(len(pose), -1, -1)
        return torch.cat([ws[:, : self.rows] + shift, still], 1)


class FlowPose(nn.Module):
    """Yaw and pitch through StyleFlow.

    The flow also wants lights and attributes, which the paper took from services that are not to be
    had.  They are the same before and after and only the pose differs, so all are left at nought,
    and so is the pose of the face at rest: the identity is chosen near frontal, and a parameter
    counts from there.
    """

    rows = POSE_WS

    def __init__(self, flow: StyleFlow):
        super().__init__()
        self.flow = flow

    def turned(self, ws: Tensor, pose: Tensor) -> Tensor:
        return self.flow.turned(ws, ws.new_zeros(1, len(CONDITIONS)), pose)


class StyleSpace(nn.Module):
    """A latent space whose parameters are channels of StyleSpace and the head's pose.

    Args:
        channels: one style layer and channel for each facial parameter, in order.

    Attributes:
        mean: (num_ws, w_dim), where identities are counted from.

    Raises:
        ValueError: where the generator has no such channel.
    """

    mean: Tensor

    def __init__(self, config: GeneratorConfig, channels: Sequence[Channel], pose: LinearPose | FlowPose | None = None):
        super().__init__()
        table = layer_table(config)
        for layer, channel in channels:
            if not 0 <= layer < len(table) or not 0 <= channel < table[layer].in_channels:
                raise ValueError(f"the generator has no channel {channel} in style layer {layer}")
        self.channels = tuple((int(a), int(b)) for a, b in channels)
        self.num_ws, self.w_dim = config.num_ws, config.w_dim
        self.pose = pose
        self.register_buffer("mean", torch.zeros(config.num_ws, config.w_dim))
        self._widths = [spec.in_channels for spec in table]
        self._layers = {
            layer: [(k, c) for k, (at, c) in enumerate(self.channels) if at == layer] for layer, _ in self.channels
        }

    @property
    def params(self) -> int:
        return len(self.channels) + len(POSE)

    @property
    def rank(self) -> int:
        return self.num_ws * self.w_dim

    def base(self, identity: Tensor) -> Tensor:
        """Coefficients (rank,) -> W+ (num_ws, w_dim)."""
        return self.mean + identity.view(self.num_ws, self.w_dim) * IDENTITY_UNIT

    def coefficients(self, ws: Tensor) -> Tensor:
        """W+ (num_ws, w_dim) -> coefficients (rank,)."""
        return ((ws - self.mean) / IDENTITY_UNIT).flatten()

    def drive(self, base: Tensor, motion: Tensor) -> Drive:
        """What a generator draws a face (num_ws, w_dim) at parameters (N, params) from."""
        count = len(self.channels)
        pose = motion[:, count : count + 2]
        ws, moving = base[None], 0
        if self.pose is not None and (pose.requires_grad or bool((pose != 0).any())):
            ws, moving = self.pose.turned(ws, pose), self.pose.rows
        added = {}
        for layer, entries in self._layers.items():
            place = torch.tensor([c for _, c in entries], device=motion.device)
            still = motion.new_zeros(len(motion), self._widths[layer])
            added[layer] = still.index_copy(1, place, motion[:, [k for k, _ in entries]])
        return Drive(ws, moving, added)
