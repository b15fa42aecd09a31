"""Registration of the ops in the namespace `arsbench` with PyTorch, and autocast at their boundary."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from arsbench import _native  # noqa: F401  (loading it registers the compiled kernels)

_calls: Counter[str] = Counter()


def calls() -> dict[str, int]:
    """The number of calls of each op in this process, by its name without the namespace."""
    return dict(_calls)


def register(name: str, schema: str, *, reference: Callable, fake: Callable) -> Callable[..., Any]:
    """Define the op `arsbench::<name>`, and return a function that calls it and counts the calls.

    The op `arsbench::<name>_reference`, which always runs the reference, is defined too: compiled kernels
    call it for unsupported inputs (dtypes, older GPUs).

    Args:
        name: the op's name.
        schema: arguments and results, in torch.library's notation.
        reference: plain PyTorch, for devices without a compiled kernel.
        fake: shapes, dtypes and layouts of the results, for tracing.
    """
    # "default" is CompositeExplicitAutograd: a kernel registered for one device takes precedence. References
    # record no gradients, like compiled kernels: register_autograd defines the derivatives.
    implementation = torch.no_grad()(reference)
    for qualified in (f"arsbench::{name}", f"arsbench::{name}_reference"):
        torch.library.define(qualified, schema)
        torch.library.impl(qualified, "default", implementation)
        torch.library.register_fake(qualified, fake)
    overload = getattr(torch.ops.arsbench, name).default

    def call(*arguments: Any) -> Any:
        # torch.compile would guard on the count, and compile again after every call.
        if not torch.compiler.is_compiling():
            _calls[name] += 1
        return overload(*arguments)

    return call


def register_gradient(
    name: str,
    schema: str,
    *,
    reference: Callable,
    setup_context: Callable | None = None,
    backward: Callable | None = None,
) -> Callable[..., Any]:
    """Define `arsbench::<name>_backward`, make it the derivative of `arsbench::<name>`, and return a
    function that calls it, as `register` does.

    It has no derivative itself: differentiating a gradient raises RuntimeError instead of treating the
    gradient as a constant.

    Args:
        name: the forward op's.
        schema: the backward op's. Its results, at least two, are the gradients of the tensors after its first
            argument.
        reference: the backward in plain PyTorch.
        setup_context, backward: as of torch.library.register_autograd. By default only the first result is
            differentiable, and the backward op is called with its gradient, all input tensors, the results of
            an op with several, and the other inputs.
    """

    def fake(grad: Tensor, *inputs: Any) -> tuple[Tensor, ...]:
        return tuple(x.new_empty(x.shape) for x in inputs[:gradients])

    op = register(f"{name}_backward", schema, reference=without_autocast(reference), fake=fake)
    gradients = len(getattr(torch.ops.arsbench, f"{name}_backward").default._schema.returns)

    def save(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.numbers = [x for x in inputs if not isinstance(x, Tensor)]
        results = output if isinstance(output, tuple) else ()
        ctx.mark_non_differentiable(*results[1:])
        ctx.set_materialize_grads(not results)  # zeros for all unused results would be large
        ctx.save_for_backward(*inputs[: len(inputs) - len(ctx.numbers)], *results)

    def call_op(ctx: Any, grad: Tensor | None, *_: Tensor | None) -> tuple[Tensor | None, ...]:
        grads = (None,) * gradients if grad is None else op(grad, *ctx.saved_tensors, *ctx.numbers)
        return *grads, *(None for _ in ctx.numbers)

    def refuse(ctx: Any, *grads: Tensor) -> None:
        raise RuntimeError(f"{name} has no second derivative; do not differentiate its gradient")

    autograd = torch.library.register_autograd
    autograd(f"arsbench::{name}", backward or call_op, setup_context=setup_context or save)
    autograd(f"arsbench::{name}_backward", refuse)
    return op


def is_autocast(x: Tensor) -> bool:
    """Whether autocast is on for the device of `x`; torch raises for the device "meta", which has none."""
    return x.device.type != "meta" and torch.is_autocast_enabled(x.device.type)


def autocast(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors in the autocast dtype of their device if autocast is on, otherwise unchanged.

    As in torch's autocast, float64 tensors are not cast.
    """
    if not is_autocast(tensors[0]):
        return tensors
    dtype = torch.get_autocast_dtype(tensors[0].device.type)
    return tuple(x if x.dtype == torch.float64 else x.to(dtype) for x in tensors)


def without_autocast(function: Callable) -> Callable:
    """`function` with autocast off on the device of its first argument, a tensor.

    A reference consists of ordinary ops, which an active autocast would cast again: float32 sums would become
    bfloat16.
    """

    @functools.wraps(function)
    def run(tensor: Tensor, *args):
        with torch.autocast(tensor.device.type, enabled=False):
            return function(tensor, *args)

    return run
