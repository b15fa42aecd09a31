"""The ops: each has a schema, a reference in plain PyTorch and, in a compiled install, kernels."""

from __future__ import annotations

from collections.abc import Set

from arsbench._native import build_info, fallbacks, has_kernel
from arsbench.ops._register import calls
from arsbench.ops.ars_moments import (
    ars_adamw,
    ars_apply,
    ars_dots,
    ars_perturb,
    ars_residual,
    ars_restore,
    ars_whiten,
    empty_block,
    state_dtype,
)
from arsbench.ops.linear import linear
from arsbench.ops.linear_cross_entropy import linear_cross_entropy
from arsbench.ops.newton_schulz import QUINTIC, newton_schulz
from arsbench.ops.reference.ars_moments import ZERO_NORM_EPS
from arsbench.ops.rms_norm import RMS_NORM_EPS, rms_norm
from arsbench.ops.rope_attention import rope_attention
from arsbench.ops.swiglu_linear import swiglu_linear

__all__ = [
    "QUINTIC",
    "RMS_NORM_EPS",
    "ZERO_NORM_EPS",
    "ars_adamw",
    "ars_apply",
    "ars_dots",
    "ars_perturb",
    "ars_residual",
    "ars_restore",
    "ars_whiten",
    "backends",
    "build_info",
    "calls",
    "empty_block",
    "has_kernel",
    "linear",
    "linear_cross_entropy",
    "newton_schulz",
    "rms_norm",
    "rope_attention",
    "state_dtype",
    "swiglu_linear",
]

# The ops of each file that have compiled kernels.
_OPS = {
    "newton_schulz": ("newton_schulz",),
    "ars_moments": (
        "ars_perturb",
        "ars_restore",
        "ars_dots",
        "ars_residual",
        "ars_whiten",
        "ars_adamw",
        "ars_apply",
    ),
    "rope_attention": ("rope_attention", "rope_attention_backward"),
    "linear_cross_entropy": ("linear_cross_entropy",),
    "linear": ("linear", "linear_backward"),
    "swiglu_linear": ("swiglu_linear", "swiglu_linear_backward"),
    "rms_norm": ("rms_norm", "rms_norm_backward"),
}


def backends(device: str = "cpu", called: Set[str] | None = None) -> dict[str, str]:
    """The implementation that runs each op on `device`, for reports.

    Args:
        device: "cpu" or "cuda".
        called: names of `calls`; only files with one of these ops are returned. None: all.

    Returns:
        by file "CPU kernel", "CUDA kernel" or "reference" (plain PyTorch). If a kernel called the reference
        in this process, because of an unsupported dtype for example, the reason follows.
    """
    return {
        stem: _backend(ops, device)
        for stem, ops in _OPS.items()
        if called is None or not called.isdisjoint(ops)
    }


def _backend(ops: tuple[str, ...], device: str) -> str:
    if not all(has_kernel(op, device) for op in ops):
        return "reference"
    # CPU kernels support every call.
    reasons = [f"{op} for {why}" for op, why in fallbacks().items() if op in ops and device == "cuda"]
    return f"{device.upper()} kernel" + (f", but the reference of {', '.join(reasons)}" if reasons else "")
