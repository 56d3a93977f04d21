"""DISTS (Ding et al. 2020) through piq, without piq's download: its class, filled with files that are there.

It needs two: piq's weights and torchvision's VGG-16.  `scoring` asks for it and says what is lacking.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...codec.paper.imports.backbone import read_backbone
from ...codec.paper.imports.checkpoint import read_checkpoint
from ...codec.paper.imports.official import missing
from ...codec.paper.imports.stored import Stored
from ...codec.paper.networks import Networks
from ...codec.paper.perceptual import cached
from ...format.errors import ModelMismatchError

FILE = "dists_weights.pt"  # piq's name of its weights
LAYERS = ("3", "8", "15", "22", "29")  # of VGG-16's features, behind which DISTS looks
CHANNELS = (3, 64, 128, 256, 512, 512)


def vgg(given: Networks | None) -> tuple[dict[str, Tensor] | None, str]:
    """VGG-16's features and where they are from, or None and what is lacking."""
    for file in given.files if given else ():
        if "lpips-vgg" in file.networks:
            return file.tensors("lpips-vgg"), f"VGG-16 imported as {file.path.name}"
    if path := cached("vgg"):
        return read_backbone(path, "vgg"), f"{path.name} of torch's cache"
    return None, missing("lpips-vgg")


def load(weights: str | os.PathLike[str], backbone: dict[str, Tensor]) -> Any:
    """piq's DISTS without its download: the same class, its weights through our reader.

    Args:
        backbone: `features.*` of torchvision's VGG-16.

    Raises FevError.
    """
    import torchvision
    from piq.perceptual import DISTS, ContentLoss

    content = read_checkpoint(Path(weights).read_bytes())
    parts = []
    for name in ("alpha", "beta"):
        part = content.get(name) if isinstance(content, dict) else None
        if not isinstance(part, Stored):
            raise ModelMismatchError(f"{Path(weights).name} is no file of DISTS: it has no {name}")
        tensor = part.tensor()
        if tensor.shape != (1, sum(CHANNELS), 1, 1):
            raise ModelMismatchError(f"{Path(weights).name} is no file of DISTS: {name} is {tuple(tensor.shape)}")
        parts += tensor.float().split(CHANNELS, dim=1)
    with torch.device("meta"):  # what is not used of VGG-16 has 120 million numbers
        features = torchvision.models.vgg16(weights=None).features
    try:
        features.load_state_dict({k.removeprefix("features."): v for k, v in backbone.items()}, assign=True)
    except RuntimeError as error:
        raise ModelMismatchError("the backbone of DISTS is no VGG-16") from error
    net = DISTS.__new__(DISTS)
    ContentLoss.__init__(
        net, features.eval(), layers=LAYERS, weights=parts, replace_pooling=True, reduction="none",
        allow_layers_weights_mismatch=True,
    )  # fmt: skip
    return net.eval()
