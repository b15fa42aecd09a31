"""Output projection and cross-entropy in one op that never stores the logits of all tokens, (N, V).

    loss_i = −log softmax(weight · hidden_i)[target_i],   entropy_i = −Σ_j p_ij log p_ij

The forward pass computes the gradients from the logits of one chunk of tokens at a time. The backward pass
scales them. Shapes: N tokens, E embedding size, V vocabulary size.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from arsbench.ops._register import autocast, register, register_gradient, without_autocast
from arsbench.ops.reference import linear_cross_entropy as reference
from arsbench.ops.reference.dtypes import compute_dtype


class CrossEntropy(NamedTuple):
    """Result of `linear_cross_entropy`, in float32 (float64 for float64 inputs).

    Attributes:
        loss: (), mean or sum of the kept tokens' losses in nats; differentiable.
        token_loss: (N,), each token's loss in nats, 0 where ignored; not differentiable.
        entropy: (N,), entropy in nats of each token's prediction, ignored or not; not differentiable.
    """

    loss: Tensor
    token_loss: Tensor
    entropy: Tensor


def linear_cross_entropy(
    hidden: Tensor, weight: Tensor, target: Tensor, ignore_index: int = -100, reduction: str = "mean"
) -> CrossEntropy:
    """Cross-entropy of `hidden @ weight.T` against `target`.

    Loss, entropy and the sum of the weight's gradient are computed in float32 or float64. Under autocast
    hidden is cast to the autocast dtype. Gradients are only computed if one is required.

    Args:
        hidden: (N, E) in float16, bfloat16, float32 or float64.
        weight: (V, E), one row per vocabulary entry, in hidden's dtype or in float32. A float32 weight is
            rounded to a narrower dtype of hidden, and its gradient is float32.
        target: (N,) int64, rows of `weight`, or `ignore_index`.
        ignore_index: target of the tokens to ignore.
        reduction: "mean" over the other tokens (NaN without any, as in torch) or "sum".

    Raises:
        ValueError: shapes, dtypes or reduction do not fit, or a target is out of range. (CUDA kernels do not
            wait for the device to check it: the token's loss and gradient are NaN.)
        RuntimeError: the gradient is itself differentiated.
    """
    (hidden,) = autocast(hidden)
    if hidden.dim() != 2 or weight.dim() != 2 or hidden.shape[1] != weight.shape[1]:
        raise ValueError(
            f"linear_cross_entropy takes hidden (N, E) and weight (V, E), not {tuple(hidden.shape)} and "
            f"{tuple(weight.shape)}"
        )
    if target.shape != hidden.shape[:1] or target.dtype != torch.int64:
        raise ValueError(
            f"linear_cross_entropy takes one int64 target a token, ({hidden.shape[0]},), not "
            f"{tuple(target.shape)} of {target.dtype}"
        )
    if not hidden.is_floating_point() or weight.dtype not in (hidden.dtype, compute_dtype(hidden.dtype)):
        raise ValueError(
            f"linear_cross_entropy: a weight of {weight.dtype} does not go with hidden of {hidden.dtype}"
        )
    if reduction not in ("mean", "sum"):
        raise ValueError(f'linear_cross_entropy\'s reduction must be "mean" or "sum", not {reduction!r}')
    with_grad = torch.is_grad_enabled() and (hidden.requires_grad or weight.requires_grad)
    return CrossEntropy(*_op(hidden, weight, target, ignore_index, reduction, with_grad)[:3])


def _fake(hidden, weight, target, ignore_index, reduction, with_grad):
    dtype = compute_dtype(hidden.dtype)
    loss, token_loss, entropy = (hidden.new_empty(s, dtype=dtype) for s in ((), target.shape, target.shape))
    grad_hidden, grad_weight = (x.new_empty(x.shape if with_grad else 0) for x in (hidden, weight))
    return loss, token_loss, entropy, grad_hidden, grad_weight


_op = register(
    "linear_cross_entropy",
    "(Tensor hidden, Tensor weight, Tensor target, int ignore_index, str reduction, bool with_grad)"
    " -> (Tensor loss, Tensor token_loss, Tensor entropy, Tensor grad_hidden, Tensor grad_weight)",
    reference=without_autocast(reference.linear_cross_entropy),
    fake=_fake,
)


def _setup_context(ctx, inputs, output) -> None:
    hidden, weight, target, ctx.ignore_index, ctx.reduction, ctx.with_grad = inputs
    _, *others = output
    ctx.mark_non_differentiable(*others)
    # Otherwise each of them gets a gradient of zeros, one of the weight's size.
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(hidden, weight, target)
    ctx.grads = others[2:]


def _backward(ctx, grad_loss: Tensor | None, *_others):
    if grad_loss is None:
        return (None,) * 6
    if not ctx.with_grad:
        raise RuntimeError("linear_cross_entropy was called with with_grad=False and has no gradients")
    hidden, weight, target = ctx.saved_tensors
    # Used once: a retained graph computes them again.
    grads = ctx.grads or _op(hidden, weight, target, ctx.ignore_index, ctx.reduction, True)[3:]
    ctx.grads = None
    # In place, and not at all for a gradient of 1, that of `loss.backward()`: a copy of the weight's gradient
    # would raise the peak memory of a training step. Fake tensors of torch.compile, and gradients with a
    # graph of their own, use the op.
    if torch.is_grad_enabled() or type(grad_loss) is not Tensor:
        grads = _backward_op(grad_loss, hidden, weight, *grads)
    elif not (grad_loss.is_cpu and grad_loss.item() == 1):
        for grad in grads:
            grad.mul_(grad_loss)
    return *grads, None, None, None, None


# The op does not read hidden and weight. They tell autograd that the gradients depend on them: a second
# derivative is an error instead of 0.
_backward_op = register_gradient(
    "linear_cross_entropy",
    "(Tensor grad_loss, Tensor hidden, Tensor weight, Tensor grad_hidden, Tensor grad_weight)"
    " -> (Tensor, Tensor)",
    reference=reference.linear_cross_entropy_backward,
    setup_context=_setup_context,
    backward=_backward,
)
