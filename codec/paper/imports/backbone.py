"""LPIPS from a file: the backbone that a user names, or has in torch's cache already."""

from __future__ import annotations

import os
from pathlib import Path

from torch import Tensor

from ....format.errors import FevError, ModelMismatchError
from ..perceptual import BACKBONES, Perceptual, cached
from .official import read_official


def read_backbone(path: str | os.PathLike[str], net: str) -> dict[str, Tensor]:
    """`features.*` of a torchvision file.

    Args:
        net: a key of `BACKBONES`.

    Raises:
        FevError: where the file cannot be read, or is of another network.
    """
    for found in read_official(path):
        if found.network == f"lpips-{net}":
            return found.tensors
    raise ModelMismatchError(f"{Path(path).name} is no {BACKBONES[net][0]}")


def load_perceptual(net: str = "alex", file: str | os.PathLike[str] | None = None) -> Perceptual:
    """LPIPS on the backbone in a file; in torch's cache by default.

    Args:
        net: a key of `BACKBONES`.

    Raises:
        FevError: where there is no such file.
    """
    path = file or cached(net)
    if path is None:
        name, files = BACKBONES[net]
        raise FevError(
            f"LPIPS ({net}) is not there: it needs torchvision's {name}, a file {files[0]}; name it, or import it "
            f"with `fev-models import`"
        )
    return Perceptual(net, read_backbone(path, net))
