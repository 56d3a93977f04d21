"""The Inception of the Fréchet inception distance (Heusel et al. 2017), that of 2015-12-05, through torch-fidelity.

That library has the network with the resizing of TensorFlow 1, and would fetch its weights or unpickle a file of them.
Neither happens here: it is made empty and filled with what the safe reader finds in the file that the user names.
"""

from __future__ import annotations

import io
import os
from typing import Any

import torch
from torch import Tensor, nn

from ...codec.paper.imports.official import read_into
from ...format.errors import FevError

FEATURES = 2048
NEEDED = (
    "the Inception of 2015-12-05, a file weights-inception-2015-12-05-6726825d.pth, published at "
    "github.com/toshas/torch-fidelity (Apache 2.0, from TensorFlow's)"
)


def _empty() -> nn.Module:
    """The network without weights.  Raises FevError where the library is not there."""
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError as error:
        raise FevError("FID needs the package torch-fidelity: pip install 'fev[evaluate]'") from error

    class Empty(FeatureExtractorInceptionV3):  # type: ignore[misc]  # the library has no types
        """The constructor loads a file; ours says nothing, and is passed over."""

        def load_state_dict(self, state: Any, *rest: Any, **options: Any) -> Any:
            return super().load_state_dict(state, *rest, **options) if state else None

    nothing = io.BytesIO()
    torch.save({}, nothing)
    nothing.seek(0)
    return Empty("inception", [str(FEATURES)], nothing)


class Inception:
    """features(pictures) of the last pooling.  sha256: of the file."""

    def __init__(self, file: str | os.PathLike[str], device: torch.device | str = "cpu"):
        """Raises FevError where the library is missing or the file cannot be read, ModelMismatchError where it is no
        Inception."""
        net, self.sha256 = read_into(file, "Inception", _empty)
        self.net = net.to(device)

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> Tensor:
        """Pictures (N, 3, H, W) of bytes -> features (N, 2048)."""
        features: Tensor = self.net(pictures)[0]
        return features
