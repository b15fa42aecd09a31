"""torch's layers on the built-in ops, without biases; `Transformer.reset_parameters` draws their weights."""

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
        """Nothing: torch's initialisation would be overwritten."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., K) → (..., N)."""
        return linear(x, self.weight)


class Embedding(nn.Embedding):
    """(...) int64 → (..., E), torch's lookup."""

    def reset_parameters(self) -> None:
        """Nothing: torch's initialisation would be overwritten."""

    def tied(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """The lookup, and the weight for the output projection that shares it.

        Use the second result only for that: its gradient may be changed in place.
        """
        return _Tied.apply(self.weight, ids)


class _Tied(torch.autograd.Function):
    """The two uses of a tied weight. By default autograd makes a second gradient as large as the weight, with
    few rows that are not zero, and adds it to the first: a large part of a small batch's memory and time."""

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
        if torch.is_grad_enabled() or not grad_weight.is_contiguous():  # has a graph, or is expanded
            grad_weight = grad_weight.clone(memory_format=torch.contiguous_format)
        return _add_rows(grad_weight, ids.flatten(), rows), None


def _add_rows(total: Tensor, ids: Tensor, rows: Tensor) -> Tensor:
    """total[ids[i]] += rows[i] in place, deterministically."""
    # On a GPU index_add_ adds atomically in any order, and index_put_ sorts first; on the CPU index_put_ adds
    # in any order.
    if total.is_cuda:
        return total.index_put_((ids,), rows, accumulate=True)
    return total.index_add_(0, ids, rows)


class RMSNorm(nn.RMSNorm):
    """(..., E) → (..., E), its weight initialised to ones; see `ops.rms_norm`."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., E) → (..., E)."""
        return rms_norm(x, self.weight, self.eps)
