"""Output projection and cross-entropy in plain PyTorch, a chunk of tokens at a time.

The logits of all tokens, (N, V), are never stored: loss, entropy and gradients are computed chunk by chunk.
Memory is two (chunk, V) buffers, and forward and backward together are three matrix multiplications.
"""

from __future__ import annotations

import torch
from torch import Tensor

from arsbench.ops.reference.dtypes import compute_dtype

# Bytes of one (chunk, V) buffer. Every chunk reads and writes the whole weight gradient once: large chunks
# are faster, small chunks need less memory. At V = 40,479 a chunk has 207 tokens in float32.
CHUNK_BYTES = 32 * 2**20


def linear_cross_entropy(
    hidden: Tensor, weight: Tensor, target: Tensor, ignore_index: int, reduction: str, with_grad: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Forward, with the gradients of the loss if `with_grad`.

    Returns:
        loss: (), compute dtype.
        token_loss: (N,), compute dtype, 0 for ignored tokens.
        entropy: (N,), compute dtype, nats.
        grad_hidden: (N, E), dtype of hidden, of the reduced loss; (0,) without `with_grad`.
        grad_weight: (V, E), dtype of weight, of the reduced loss; (0,) without `with_grad`.

    Raises:
        ValueError: a target is neither a row of `weight` nor `ignore_index`.
    """
    N = hidden.shape[0]
    V = weight.shape[0]
    dtype = compute_dtype(hidden.dtype)
    kept = target != ignore_index
    _check_targets(target, kept, V)
    weight_dtype, weight = weight.dtype, weight.to(hidden.dtype)
    label = torch.where(kept, target, 0)
    total = kept.sum().to(dtype)
    # d loss / d token_loss. Without kept tokens the mean is 0/0, as in torch, and its gradient 0.
    scale = kept.to(dtype)
    if reduction == "mean":
        scale /= total.clamp(min=1)

    token_loss, entropy = (hidden.new_empty(N, dtype=dtype) for _ in range(2))
    grad_hidden = hidden.new_empty(hidden.shape if with_grad else 0)
    grad_weight = weight.new_zeros(weight.shape if with_grad else 0, dtype=dtype)
    size = max(1, min(N, CHUNK_BYTES // (max(1, V) * dtype.itemsize)))
    logits, log_p = hidden.new_empty(size, V), hidden.new_empty(size, V, dtype=dtype)
    for start in range(0, N, size):
        rows = slice(start, min(start + size, N))
        h, y = hidden[rows], label[rows, None]
        x, lp = logits[: len(h)], log_p[: len(h)]
        torch.mm(h, weight.T, out=x)
        torch.log_softmax(x, -1, dtype=dtype, out=lp)
        token_loss[rows] = -lp.gather(1, y)[:, 0]
        # In float32 the probabilities overwrite the logits; bfloat16 is too coarse for the entropy.
        p = torch.exp(lp, out=x) if x.dtype == dtype else lp.exp()
        entropy[rows] = -torch.bmm(p[:, None], lp[:, :, None])[:, 0, 0]
        if with_grad:
            # Scale the (chunk, E) operands instead of the (chunk, V) one.
            s = scale[rows, None]
            d = p.scatter_add_(1, y, p.new_full((1, 1), -1.0).expand(len(h), 1))
            d = d if d is x else x.copy_(d)
            grad_hidden[rows] = torch.mm(d, weight) * s
            _accumulate(grad_weight, d, (h * s).to(h.dtype))
    token_loss.masked_fill_(~kept, 0.0)
    loss = token_loss.sum()
    if reduction == "mean":
        loss = loss / total
    return loss, token_loss, entropy, grad_hidden, grad_weight.to(weight_dtype)


def linear_cross_entropy_backward(
    grad_loss: Tensor, hidden: Tensor, weight: Tensor, grad_hidden: Tensor, grad_weight: Tensor
) -> tuple[Tensor, Tensor]:
    """The forward's gradients times grad_loss, (), as new tensors, so that a graph may be used again.

    A 0-dimensional factor does not promote dtypes. `hidden` and `weight` are not read.
    """
    return grad_hidden * grad_loss, grad_weight * grad_loss


def _accumulate(total: Tensor, d: Tensor, h: Tensor) -> None:
    """total (V, E) += dᵀ·h; the product of half-precision matrices is half precision."""
    if d.dtype == total.dtype:
        total.addmm_(d.T, h)
    else:
        total.add_(torch.mm(d.T, h))


def _check_targets(target: Tensor, kept: Tensor, vocabulary: int) -> None:
    outside = kept & ((target < 0) | (target >= vocabulary))
    if outside.any():
        raise ValueError(
            f"linear_cross_entropy: target {target[outside][0].item()} is no row of a weight of "
            f"{vocabulary} rows"
        )
