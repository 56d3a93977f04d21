"""The networks that were imported, by name: where they lie, and each loaded when it is first asked
for.

`imports` wrote the files; `fev-models` is the command over both.
"""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ...format.errors import FevError, ModelMismatchError
from ..model import library
from ..model.build import build_generator
from ..model.styleflow import StyleFlow
from ..model.stylegan2 import Generator
from .arcface import ArcFace
from .bisenet import BiSeNet
from .directions import DirectionMatrix, directions_extra
from .e4e import E4E, NUM_WS
from .imports.backbone import load_perceptual
from .imports.official import FORMAT, NETWORKS, missing
from .perceptual import Perceptual

N = TypeVar("N", bound=nn.Module)


class NetworkFile:
    """One safetensors file of networks.  Raises ModelMismatchError where it is none."""

    def __init__(self, path: Path):
        self.path = path
        try:
            with safe_open(path, "pt") as file:
                config = json.loads((file.metadata() or {})["config"])
                self.keys = set(file.keys())
        except (SafetensorError, OSError, KeyError, ValueError, RecursionError) as error:
            raise ModelMismatchError(f"{path.name} is no file of networks: {error}") from error
        if not isinstance(config, dict) or config.get("format") != FORMAT:
            raise ModelMismatchError(f"{path.name} is not of format {FORMAT}")
        self.config: dict[str, Any] = config

    @property
    def networks(self) -> list[str]:
        return sorted({key.split(".", 1)[0] for key in self.keys} & NETWORKS.keys())

    def tensors(self, network: str) -> dict[str, Tensor]:
        prefix = f"{network}."
        try:
            with safe_open(self.path, "pt") as file:
                return {k[len(prefix) :]: file.get_tensor(k) for k in sorted(self.keys) if k.startswith(prefix)}
        except (SafetensorError, OSError) as error:
            raise ModelMismatchError(f"{self.path.name} is damaged: {error}") from error

    def fill(self, network: str, module: N) -> N:
        """The module with the file's weights, for use only."""
        tensors = self.tensors(network)
        for key, value in module.state_dict().items():
            if key.endswith("num_batches_tracked"):  # a counter of training
                tensors.setdefault(key, value)
        try:
            module.load_state_dict(tensors)
        except RuntimeError as error:
            raise ModelMismatchError(f"{self.path.name} does not fit ({network})") from error
        return module.eval().requires_grad_(False)


class Networks:
    """The networks imported under a name.

    Raises:
        FevError: where nothing was, or a network is asked for that is not there; the message says
            which file it comes in.
    """

    def __init__(self, name: str):
        self.name = name
        self.files = [NetworkFile(p) for p in files_of(name)]
        if not self.files:
            raise FevError(f"nothing was imported under the name {name!r}")

    @property
    def names(self) -> list[str]:
        return sorted({n for file in self.files for n in file.networks})

    def _file(self, network: str) -> NetworkFile:
        for file in self.files:
            if network in file.networks:
                return file
        raise FevError(missing(network))

    @cached_property
    def generator(self) -> Generator:
        file = self._file("generator")
        return file.fill("generator", build_generator(file.config))

    @cached_property
    def e4e(self) -> E4E:
        """The encoder; its mean latent is `latent_avg`."""
        file = self._file("e4e")
        net = E4E()
        net.register_buffer("latent_avg", torch.zeros(NUM_WS, 512))
        return file.fill("e4e", net)

    @cached_property
    def arcface(self) -> ArcFace:
        return self._file("arcface").fill("arcface", ArcFace())

    @cached_property
    def bisenet(self) -> BiSeNet:
        return self._file("bisenet").fill("bisenet", BiSeNet())

    @cached_property
    def directions(self) -> DirectionMatrix:
        return matrix_of(self._file("directions"))

    def perceptual(self, net: str = "alex") -> Perceptual:
        """LPIPS on an imported backbone, or on the one in torch's cache."""
        for file in self.files:
            if f"lpips-{net}" in file.networks:
                return Perceptual(net, file.tensors(f"lpips-{net}"))
        return load_perceptual(net)

    @cached_property
    def styleflow(self) -> StyleFlow:
        return self._file("styleflow").fill("styleflow", StyleFlow())


def matrix_of(file: NetworkFile) -> DirectionMatrix:
    """The direction matrix in a file, of whatever size it is there.  Raises ModelMismatchError."""
    weight = file.tensors("directions").get("linear.weight")
    if weight is None:
        raise ModelMismatchError(f"{file.path.name} holds no direction matrix")
    w_dim = directions_extra(file.config).get("w_dim", 512)
    return file.fill("directions", DirectionMatrix.sized(tuple(weight.shape), w_dim))


def files_of(name: str) -> list[Path]:
    """The files of an imported model: what both ends need, then what only an encoder does."""
    folder = library.folder()
    paths = [folder / f"{name}{ending}{library.ENDING}" for ending in ("", library.ENCODER)]
    return [p for p in paths if p.is_file()]
