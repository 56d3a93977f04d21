"""LPIPS: how different two pictures look (Zhang et al. 2018), through the lpips package.

The package brings the linear weights and would fetch the backbone's when it is made.  Nothing here
uses a network: the backbone is a torchvision file that the user names, or imported (`fev-models
import`), or has in torch's cache already; without one the distance is missing, not guessed.
`imports.backbone` reads the files.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ...format.errors import ModelMismatchError

# net of lpips -> network of torchvision, and the names of its files in torch's cache, newest first
BACKBONES = {
    "alex": ("alexnet", ("alexnet-owt-7be5be79.pth", "alexnet-owt-4df8aa71.pth")),
    "vgg": ("vgg16", ("vgg16-397923af.pth",)),
    "squeeze": ("squeezenet1_1", ("squeezenet1_1-b8a52dc0.pth", "squeezenet1_1-f364aa15.pth")),
}


class Backbone(nn.Module):
    """The features of a torchvision network, empty; keys as in its files."""

    def __init__(self, net: str):
        super().__init__()
        import torchvision

        self.features = getattr(torchvision.models, BACKBONES[net][0])(weights=None).features


def cached(net: str) -> Path | None:
    """The backbone's file in torch's cache, if the user has it."""
    for name in BACKBONES[net][1]:
        path = Path(torch.hub.get_dir()) / "checkpoints" / name
        if path.is_file():
            return path
    return None


class Perceptual(nn.Module):
    """LPIPS version 0.1.

    Args:
        features: `features.*` of the backbone.
    """

    def __init__(self, net: str, features: Mapping[str, Tensor]):
        super().__init__()
        import lpips

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torchvision's older names for what pnet_rand asks for
            self.lpips = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
        trunk = self.lpips.net
        state = {}
        for key in trunk.state_dict():  # slice2.3.weight: module 3 of the features
            name = f"features.{key.split('.', 1)[1]}"
            if name not in features:
                raise ModelMismatchError(f"the backbone of LPIPS lacks {name}")
            state[key] = features[name]
        trunk.load_state_dict(state)
        self.eval().requires_grad_(False)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Pictures (N, 3, H, W), -1 to 1, sides of at least 32 -> distances (N,)."""
        out: Tensor = self.lpips(a, b).flatten()
        return out
