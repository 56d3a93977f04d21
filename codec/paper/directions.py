"""The direction matrix of "Finding Directions in GAN's Latent Space for Neural Face Reenactment" (Bounareli et al.
2022): one linear map from a change of pose and expression to a shift of W+ (research/paper.md section 5).

Keys as in the released checkpoints under `A_matrix`.
"""

from __future__ import annotations

from torch import Tensor, nn


class DirectionMatrix(nn.Module):
    """inputs: parameters of pose and expression.  rows: W+ vectors that move, from the first."""

    def __init__(self, inputs: int = 15, rows: int = 8, w_dim: int = 512):
        super().__init__()
        self.rows, self.w_dim = rows, w_dim
        self.linear = nn.Linear(inputs, rows * w_dim)

    def forward(self, change: Tensor) -> Tensor:
        """Change of the parameters (N, inputs) -> shift (N, rows, w_dim)."""
        return self.linear(change).view(-1, self.rows, self.w_dim)

    def shifted(self, ws: Tensor, change: Tensor) -> Tensor:
        """W+ (N, num_ws, w_dim) moved by a change (N, inputs)."""
        out = ws.clone()
        out[:, : self.rows] += self(change)
        return out
