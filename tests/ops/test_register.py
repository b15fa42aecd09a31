"""How ops are made known: each with a twin that is always its reference."""

import pytest
import torch

from arsbench import _native, ops
from arsbench.ops import _OPS
from arsbench.ops.reference import ars_moments as reference

NAMES = [*(name for names in _OPS.values() for name in names), "linear_cross_entropy_backward"]


def op_named(name):
    return getattr(torch.ops.arsbench, name).default


@pytest.mark.parametrize("name", NAMES)
def test_every_op_has_its_reference_beside_it(name):
    op, twin = op_named(name), op_named(f"{name}_reference")
    assert str(twin._schema).replace("_reference(", "(") == str(op._schema)
    for device in ("cpu", "cuda"):
        assert not _native.has_kernel(f"{name}_reference", device)


def test_the_twin_runs_the_reference(make_inputs):
    x, y = make_inputs(torch.bfloat16), make_inputs(torch.bfloat16)
    options = (0.9, 0.99, 1e-8, 3, "plain")
    mine = op_named("ars_whiten_reference")(
        x.grads, x.exp_avgs, x.exp_avg_sqs, x.directions, x.flats, x.strengths, *options
    )
    expected = reference.ars_whiten(
        y.grads, y.exp_avgs, y.exp_avg_sqs, y.directions, y.flats, y.strengths, *options
    )
    assert all(torch.equal(a, b) for a, b in zip(mine, expected, strict=True))
    for name in ("exp_avgs", "exp_avg_sqs", "directions"):
        assert all(torch.equal(a, b) for a, b in zip(getattr(x, name), getattr(y, name), strict=True))
    torch.library.opcheck(op_named("ars_dots_reference"), (x.grads, x.flats))


def test_calls_are_counted_by_name_backward_too():
    before = ops.calls()
    x, weight = torch.randn(3, 4, requires_grad=True), torch.ones(4)
    ops.rms_norm(x, weight).sum().backward()
    ops.rms_norm(x, weight)
    counted = {name: n - before.get(name, 0) for name, n in ops.calls().items()}
    assert {name: n for name, n in counted.items() if n} == {"rms_norm": 2, "rms_norm_backward": 1}


def test_a_compiler_sees_no_counting():
    """It would guard on the count, and compile again after every call."""
    compiled = torch.compile(lambda x: ops.newton_schulz(x, steps=1), backend="eager", fullgraph=True)
    before = ops.calls()
    compiled(torch.ones(2, 3))
    assert ops.calls() == before


def test_the_twin_of_a_derivative_runs_under_autocast():
    # References switch autocast off; so must what stands in for a kernel.
    grad, x, weight = torch.randn(3, 5), torch.randn(3, 4), torch.randn(5, 4)
    with torch.autocast("cpu", torch.bfloat16):
        results = op_named("linear_backward_reference")(grad, x, weight)
    for mine, plain in zip(results, (grad @ weight, grad.T @ x), strict=True):
        torch.testing.assert_close(mine, plain)
