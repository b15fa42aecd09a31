"""torch's layers on our ops, without biases; `Transformer.reset_parameters` draws their weights."""

from __future__ import annotations

from torch import Tensor, nn

from arsbench.ops import linear, rms_norm


class Linear(nn.Linear):
    """(..., K) → (..., N), without bias; see `ops.linear`."""

    def __init__(self, in_features: int, out_features: int):
        super().__init__(in_features, out_features, bias=False)

    def reset_parameters(self) -> None:
        """Nothing: torch's own initialisation would be thrown away."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., K) → (..., N)."""
        return linear(x, self.weight)


class Embedding(nn.Embedding):
    """(...) int64 → (..., E), torch's lookup."""

    def reset_parameters(self) -> None:
        """Nothing: torch's own initialisation would be thrown away."""


class RMSNorm(nn.RMSNorm):
    """(..., E) → (..., E), its weight ones to begin with; see `ops.rms_norm`."""

    def __init__(self, size: int, eps: float):
        super().__init__(size, eps)

    def forward(self, x: Tensor) -> Tensor:
        """(..., E) → (..., E)."""
        return rms_norm(x, self.weight, self.eps)
