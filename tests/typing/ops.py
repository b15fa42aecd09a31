"""Uses of `arsbench.ops` with the types that callers see. Never run: type checkers read it."""

from collections.abc import Sequence
from typing import assert_type

from torch import Tensor

from arsbench import ops


def layers(x: Tensor, weight: Tensor, target: Tensor) -> None:
    assert_type(ops.rms_norm(x, weight, eps=ops.RMS_NORM_EPS), Tensor)
    assert_type(ops.linear(x, weight), Tensor)
    assert_type(ops.swiglu_linear(x, x, weight), Tensor)
    assert_type(ops.rope_attention(x, x, x, weight, weight, theta=10_000.0), Tensor)
    result = ops.linear_cross_entropy(x, weight, target, reduction="sum")
    assert_type(result.loss, Tensor)
    loss, token_loss, entropy = result
    for tensor in (loss, token_loss, entropy):
        assert_type(tensor, Tensor)


def optimizer_parts(tensors: list[Tensor]) -> None:
    assert_type(ops.newton_schulz(tensors[0], steps=5, coefficients=ops.QUINTIC), Tensor)
    assert_type(ops.ars_dots(tensors, tensors), Tensor)
    assert_type(ops.ars_residual(tensors, tensors), Sequence[Tensor])
    backups = ops.ars_perturb(
        tensors, tensors, tensors, rho=0.1, beta2=0.999, eps=1e-8, step=1, adaptive=True
    )
    assert_type(backups, Sequence[Tensor])
    ops.ars_restore(tensors, backups)
    whitened = ops.ars_whiten(tensors, tensors, tensors, beta1=0.9, beta2=0.999, eps=1e-8, step=1)
    assert_type(whitened, tuple[list[Tensor], Tensor, Tensor])


def information() -> None:
    assert_type(ops.has_kernel("linear", "cpu"), bool)
    assert_type(ops.backends(called={"linear"}), dict[str, str])
    assert_type(ops.calls(), dict[str, int])
    assert_type(ops.build_info(), dict[str, object])
