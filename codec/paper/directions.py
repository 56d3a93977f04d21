"""The direction matrix of "Finding Directions in GAN's Latent Space for Neural Face Reenactment"
(Bounareli et al.
2022): one linear map from a change of pose and expression to a shift of W+.

Theirs has 15 parameters (yaw, pitch, roll, jaw, 11 expressions) and shifts the first 8 vectors.

Keys as in the released checkpoints under `A_matrix`.  `fev.tools.lab.train.directions` trains one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ...format.errors import ModelMismatchError
from ..model.modelfile import FORMAT

MAX_INPUTS, MAX_ROWS, MAX_WIDTH = 256, 18, 1024
MAX_EXTRA = 1 << 16  # of what a file says about its matrix, as JSON


class DirectionMatrix(nn.Module):
    """From a change of pose and expression to a shift of W+.

    Args:
        inputs: parameters of pose and expression.
        rows: W+ vectors that move, from the first.
    """

    def __init__(self, inputs: int = 15, rows: int = 8, w_dim: int = 512):
        super().__init__()
        self.rows, self.w_dim = rows, w_dim
        self.linear = nn.Linear(inputs, rows * w_dim)

    @classmethod
    def sized(cls, shape: tuple[int, ...], w_dim: int = 512) -> DirectionMatrix:
        """An empty one for a weight of this shape.

        Raises:
            ModelMismatchError: where there can be none.
        """
        rows = shape[0] // w_dim if len(shape) == 2 and 0 < w_dim <= MAX_WIDTH else 0
        if not (1 <= rows <= MAX_ROWS and shape[0] == rows * w_dim and 1 <= shape[1] <= MAX_INPUTS):
            raise ModelMismatchError(f"a direction matrix of shape {tuple(shape)} for a W of {w_dim} cannot be")
        return cls(shape[1], rows, w_dim)

    def forward(self, change: Tensor) -> Tensor:
        """Change of the parameters (N, inputs) -> shift (N, rows, w_dim)."""
        out: Tensor = self.linear(change).view(-1, self.rows, self.w_dim)
        return out

    def shifted(self, ws: Tensor, change: Tensor) -> Tensor:
        """W+ (N, num_ws, w_dim) moved by a change (N, inputs)."""
        out = ws.clone()
        out[:, : self.rows] += self(change)
        return out


def directions_extra(config: Any) -> dict[str, Any]:
    """What the configuration of a file of networks says about its matrix; `w_dim`, where it is
    there, is a number.

    Raises:
        ModelMismatchError.
    """
    extra = config.get("extra") if isinstance(config, dict) else None
    extra = extra.get("directions") if isinstance(extra, dict) else None
    extra = extra if isinstance(extra, dict) else {}
    if type(extra.get("w_dim", 512)) is not int or len(json.dumps(extra)) > MAX_EXTRA:
        raise ModelMismatchError("what it says about its direction matrix cannot be used")
    return extra


def read_own(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a matrix that `fev.tools.lab.train.directions` made, of any size, and what its
    file says about it.

    Raises:
        ModelMismatchError: where it is another file.
    """
    try:
        with safe_open(path, "pt") as file:
            config = json.loads((file.metadata() or {}).get("config", "null"))
            tensors = {k: file.get_tensor(f"directions.{k}").float() for k in ("linear.weight", "linear.bias")}
    except (SafetensorError, ValueError, RecursionError) as error:
        raise ModelMismatchError(f"a safetensors file, but of no direction matrix: {error}") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise ModelMismatchError(f"not of format {FORMAT}")
    extra = directions_extra(config)
    expected = DirectionMatrix.sized(tuple(tensors["linear.weight"].shape), extra.get("w_dim", 512)).state_dict()
    if tensors["linear.bias"].shape != expected["linear.bias"].shape:
        raise ModelMismatchError("the matrix's linear.bias does not fit its linear.weight")
    return tensors, extra
