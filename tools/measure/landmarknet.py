"""A small network that finds 68 landmarks in an aligned face, and its file: a source of landmarks for `landmarkshape`.

`landmarks` trains it, on nothing but aligned faces and the template; no landmarks of anybody else's are in it.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ...format.errors import FevError, ModelMismatchError
from .shape import LANDMARKS
from .template import MEAN

INPUT = 96  # side of the network's input
LEFT, TOP, REACH = -0.8, -0.6, 1.6  # of the FFHQ square (-1 to 1): where the input is cut
NEAR = 0.25  # half sides: how far from the template's a landmark is likely to be, one standard deviation
FORMAT = "fev-landmarks/1"


class LandmarkNet(nn.Module):
    """Pictures -> landmarks: the mean place of 68 maps of where each of them looks to be.

    It sees 27 pixels of its 96 at a time, on purpose. Trained on faces that were turned by a warp,
    a network with the whole face in sight tells those from heads that are truly turned, and learns
    to call the latter straight; a nostril by itself looks much the same in both.

    Attributes:
        error: what to expect of each landmark, (68,), half sides.
    """

    name = "a landmark network of our own, trained on warped faces"
    error: Tensor

    def __init__(self, width: int = 32):
        super().__init__()
        self.fine = nn.Sequential(*_layer(3, width, 2), *_layer(width, width, 1))  # sees 7 pixels
        coarse = [*_layer(width, 2 * width, 2), *_layer(2 * width, 2 * width, 1), *_layer(2 * width, 2 * width, 1)]
        self.coarse = nn.Sequential(*coarse)  # 27
        self.join = nn.Conv2d(2 * width, width, 1)
        self.head = nn.Conv2d(width, LANDMARKS, 1)
        nn.init.zeros_(self.head.weight)
        if self.head.bias is not None:
            nn.init.zeros_(self.head.bias)
        self.register_buffer("error", torch.full((LANDMARKS,), 0.03))

    def of_cut(self, x: Tensor) -> Tensor:
        """Cut pictures (N, 3, INPUT, INPUT) -> (N, 68, 2)."""
        fine = self.fine(x)
        wide = F.interpolate(self.join(self.coarse(fine)), scale_factor=2, mode="bilinear", align_corners=False)
        side = INPUT // 2
        axis = (torch.arange(side) + 0.5).to(x) / side * REACH
        off = torch.stack([axis + LEFT, axis + TOP]) - MEAN.to(x)[:, :2, None]  # (68, 2, side)
        likely = -(off / NEAR).square() / 2
        maps = self.head(F.silu(fine + wide)) + likely[:, 1, :, None] + likely[:, 0, None, :]
        maps = maps.flatten(2).softmax(2).view(len(x), LANDMARKS, side, side)
        return torch.stack([maps.sum(2) @ (axis + LEFT), maps.sum(3) @ (axis + TOP)], 2)

    def forward(self, pictures: Tensor) -> Tensor:
        """FFHQ squares (N, 3, S, S), -1 to 1 -> landmarks (N, 68, 2), half sides of the square."""
        return self.of_cut(cut(pictures))


def _layer(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.SiLU()]


def cut(pictures: Tensor) -> Tensor:
    """FFHQ squares (N, 3, S, S) -> the part that the network sees (N, 3, INPUT, INPUT)."""
    half = pictures.shape[-1] / 2
    left, top, side = round((LEFT + 1) * half), round((TOP + 1) * half), round(REACH * half)
    part = pictures[..., top : top + side, left : left + side]
    return F.interpolate(part, size=(INPUT, INPUT), mode="bilinear", antialias=True, align_corners=False)


def save_net(net: LandmarkNet, path: Path, made: dict[str, object]) -> None:
    """made: how it was trained, kept in the file."""
    config = {"format": FORMAT, "made": made}
    tensors = {k: v.contiguous() for k, v in net.state_dict().items() if v.dtype.is_floating_point}
    temporary = path.with_suffix(".tmp")
    save_file(tensors, temporary, {"config": json.dumps(config, sort_keys=True)})
    temporary.replace(path)


def load_net(path: str | os.PathLike[str]) -> LandmarkNet:
    """The network, named by its digest.  Raises FevError where the file is not there, ModelMismatchError where it is
    another kind of file."""
    path, net = Path(path), LandmarkNet()
    if not path.is_file():
        raise FevError(f"{path}: no such file")
    try:
        with safe_open(path, "pt") as file:
            config = json.loads((file.metadata() or {})["config"])
            tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, KeyError, ValueError, RecursionError) as error:
        raise ModelMismatchError(f"{path.name} is no landmark network: {error}") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise ModelMismatchError(f"{path.name} is not of format {FORMAT}")
    for key, value in net.state_dict().items():
        if not value.dtype.is_floating_point:  # counters of batch normalisation
            tensors.setdefault(key, value)
    try:
        net.load_state_dict(tensors)
    except RuntimeError as error:
        raise ModelMismatchError(f"{path.name} does not fit the landmark network") from error
    net.name += f" (sha256 {hashlib.sha256(path.read_bytes()).hexdigest()[:16]})"
    return net.eval().requires_grad_(False)
