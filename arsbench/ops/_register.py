"""How every op of the namespace `arsbench` is made known to PyTorch."""

from __future__ import annotations

from collections.abc import Callable

import torch

from arsbench import _native  # noqa: F401  (loading it registers the compiled kernels)


def register(name: str, schema: str, *, reference: Callable, fake: Callable) -> torch._ops.OpOverload:
    """Define `arsbench::<name>` and return it, ready to be called.

    Args:
        name: the op's name.
        schema: arguments and results, in torch.library's notation.
        reference: plain PyTorch, run on every device that has no compiled kernel.
        fake: shapes, dtypes and layouts of the results, for tracing.
    """
    qualified = f"arsbench::{name}"
    torch.library.define(qualified, schema)
    # "default" is CompositeExplicitAutograd: a kernel registered for one device goes before it. Like compiled
    # kernels, references record no gradients: derivatives are the business of register_autograd.
    torch.library.impl(qualified, "default", torch.no_grad()(reference))
    torch.library.register_fake(qualified, fake)
    return getattr(torch.ops.arsbench, name).default
