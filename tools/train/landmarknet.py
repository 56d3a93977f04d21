"""A small network that finds 68 landmarks in an aligned face, and its file: a source of landmarks for `landmarkshape`.

`landmarks` trains it, on nothing but aligned faces and the template; no landmarks of anybody else's are in it.
"""

from __future__ import annotations

import hashlib
import json
import os
from itertools import pairwise
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
FORMAT = "fev-landmarks/1"


class LandmarkNet(nn.Module):
    """Pictures -> landmarks, as a change of the template's.  error: what to expect of each, (68,), half sides."""

    name = "a landmark network of our own, trained on warped faces"
    error: Tensor

    def __init__(self, width: int = 16):
        super().__init__()
        widths = [3, width, 2 * width, 4 * width, 8 * width, 12 * width]
        layers: list[nn.Module] = []
        for i, (a, b) in enumerate(pairwise(widths)):
            layers += [nn.Conv2d(a, b, 3, stride=2, padding=1), nn.BatchNorm2d(b), nn.SiLU()]
            if i:
                layers += [nn.Conv2d(b, b, 3, padding=1, groups=b), nn.BatchNorm2d(b), nn.SiLU()]
        self.body = nn.Sequential(*layers)
        self.hidden = nn.Linear(widths[-1] * (INPUT // 32) ** 2, 256)
        self.head = nn.Linear(256, 2 * LANDMARKS)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)
        self.register_buffer("error", torch.full((LANDMARKS,), 0.03))

    def of_cut(self, x: Tensor) -> Tensor:
        """Cut pictures (N, 3, INPUT, INPUT) -> (N, 68, 2)."""
        change = self.head(F.silu(self.hidden(self.body(x).flatten(1))))
        return MEAN.to(x)[:, :2] + 0.1 * change.view(-1, LANDMARKS, 2)

    def forward(self, pictures: Tensor) -> Tensor:
        """FFHQ squares (N, 3, S, S), -1 to 1 -> landmarks (N, 68, 2), half sides of the square."""
        return self.of_cut(cut(pictures))


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
