"""torch's layers on our ops, without biases and without torch's initialisation: the model has its own."""

from __future__ import annotations

from torch import Tensor, nn

from arsbench.ops import linear, rms_norm


class Linear(nn.Linear):
    """(..., K) → (..., N), without bias; see `ops.linear`."""

    def __init__(self, in_features: int, out_features: int):
        super().__init__(in_features, out_features, bias=False)

    def reset_parameters(self) -> None:
        """Nothing; `Transformer.reset_parameters` draws every weight."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., K) → (..., N)."""
        return linear(x, self.weight)


class Embedding(nn.Embedding):
    """torch's."""

    def reset_parameters(self) -> None:
        """Nothing; `Transformer.reset_parameters` draws every weight."""


class RMSNorm(nn.RMSNorm):
    """(..., E) → (..., E); see `ops.rms_norm`."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., E) → (..., E)."""
        return rms_norm(x, self.weight, self.eps)
