"""torch's layers on our ops, without biases; `Transformer.reset_parameters` draws their weights."""

from __future__ import annotations

from typing import Any

import torch
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

    def tied(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """The lookup, and the weight for the output projection that shares it.

        Use the second result for nothing else: gradients with respect to it may be written to.
        """
        return _Tied.apply(self.weight, ids)


class _Tied(torch.autograd.Function):
    """A weight's two uses. By itself autograd would make a second gradient as large as the weight, all but a
    few rows of it zero, and add it to the first, which is much of the memory and time of a small batch."""

    @staticmethod
    def forward(weight: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        return nn.functional.embedding(ids, weight), weight.view_as(weight)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: tuple[Tensor, Tensor]) -> None:
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx: Any, grad_rows: Tensor, grad_weight: Tensor) -> tuple[Tensor, None]:
        (ids,) = ctx.saved_tensors
        rows = grad_rows.reshape(-1, grad_rows.shape[-1]).to(grad_weight.dtype)
        if torch.is_grad_enabled() or not grad_weight.is_contiguous():  # has a graph, or may be an expansion
            grad_weight = grad_weight.clone(memory_format=torch.contiguous_format)
        return _add_rows(grad_weight, ids.flatten(), rows), None


def _add_rows(total: Tensor, ids: Tensor, rows: Tensor) -> Tensor:
    """total[ids[i]] += rows[i] in place, with the same bits every time."""
    # On a GPU index_add_ adds atomically, in whatever order, and index_put_ sorts first; on the CPU it is
    # index_put_ that adds in whatever order.
    if total.is_cuda:
        return total.index_put_((ids,), rows, accumulate=True)
    return total.index_add_(0, ids, rows)


class RMSNorm(nn.RMSNorm):
    """(..., E) → (..., E), its weight ones to begin with; see `ops.rms_norm`."""

    def __init__(self, size: int, eps: float):
        super().__init__(size, eps)

    def forward(self, x: Tensor) -> Tensor:
        """(..., E) → (..., E)."""
        return rms_norm(x, self.weight, self.eps)
