"""How values follow from what the inverter sees in pictures, learnt from a clip's own frames."""

from __future__ import annotations

import torch
from torch import Tensor

SHRINK = 0.2  # of the regression, in units of the features' spread over the identity's frames


def regression(features: Tensor, values: Tensor) -> Tensor:
    """The linear map (F, P) from the change of features (N, F) to the change of values (N, P);
    ridge regression.
    """
    x = (features - features.mean(0)).double()
    spread = x.std(0, correction=0).clamp_min(1e-6)
    x = x / spread
    penalty = SHRINK * len(x) * torch.eye(x.shape[1], dtype=torch.float64)
    solved = torch.linalg.solve(x.t() @ x + penalty, x.t() @ (values - values.mean(0)).double())
    out: Tensor = (solved / spread[:, None]).float()
    return out
