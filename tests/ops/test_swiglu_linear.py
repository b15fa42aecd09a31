"""SwiGLU and its projection against torch's own in float64."""

import math

import pytest
import torch
from torch.nn import functional

from arsbench import ops
from arsbench.ops.reference import swiglu_linear as reference

# (M, I, E): odd sizes, one token, nothing at all.
CASES = [(7, 5, 3), (1, 1, 1), (33, 130, 64), (0, 4, 6), (255, 96, 17)]


def make_inputs(case, dtype=torch.float64):
    M, intermediate, E = case
    generator = torch.Generator().manual_seed(M)
    shapes = ((M, intermediate), (M, intermediate), (E, intermediate), (M, E))
    return [torch.randn(shape, dtype=torch.float64, generator=generator).to(dtype) for shape in shapes]


def textbook(gate, up, weight):
    return functional.linear(functional.silu(gate) * up, weight)


def run(gate, up, weight, grad, function=ops.swiglu_linear):
    leaves = [x.clone().requires_grad_() for x in (gate, up, weight)]
    out = function(*leaves)
    return [out.detach(), *torch.autograd.grad(out, leaves, grad.to(out.dtype))]


@pytest.mark.parametrize("case", CASES)
def test_float64_equals_torch(case):
    inputs = make_inputs(case)
    for got, expected in zip(run(*inputs), run(*inputs, textbook), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_parity(case, dtype, compiled, assert_as_good_as):
    compiled("swiglu_linear", "swiglu_linear_backward")
    gate, up, weight, grad = make_inputs(case, dtype)
    theirs = run(gate, up, weight, grad, textbook)
    truth = run(*(x.double() for x in (gate, up, weight, grad)), textbook)
    for kernel, plain, true in zip(run(gate, up, weight, grad), theirs, truth, strict=True):
        assert_as_good_as(kernel, plain, true)


def test_reference_and_kernel_agree(compiled):
    compiled("swiglu_linear", "swiglu_linear_backward")
    gate, up, weight, grad = make_inputs((33, 130, 64), torch.float32)
    mine = run(gate, up, weight, grad)
    theirs = [reference.swiglu_linear(gate, up, weight)]
    theirs += reference.swiglu_linear_backward(grad, gate, up, weight)
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_autocast_rounds_the_weight_and_keeps_its_gradients_dtype():
    gate, up, weight, grad = make_inputs((33, 130, 64), torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        got = run(gate, up, weight, grad)
    assert [x.dtype for x in got] == [torch.bfloat16] + [torch.float32] * 3
    rounded = run(*(x.bfloat16() for x in (gate, up, weight, grad)))
    assert torch.equal(got[0], rounded[0])
    torch.testing.assert_close(got[3], rounded[3].float(), rtol=0.01, atol=0.1)
    if not ops.build_info().get("bf16_products", True):
        assert (got[3] != rounded[3].float()).any()


@pytest.mark.parametrize("far", [-1e4, 1e4, -math.inf])
def test_far_gates(far):
    gate, up, weight, _ = make_inputs((7, 5, 3), torch.float32)
    gate[2, 1] = far
    got, expected = ops.swiglu_linear(gate, up, weight), textbook(gate, up, weight)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4, equal_nan=True)


def test_layout_does_not_matter():
    gate, up, weight, grad = make_inputs((33, 130, 64))
    other = [x.T.contiguous().T for x in (gate, up, weight, grad)]
    for a, b in zip(run(*other), run(gate, up, weight, grad), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("case", CASES[:4])
def test_opcheck(case, dtype):
    gate, up, weight, grad = make_inputs(case, dtype)
    leaves = [x.clone().requires_grad_() for x in (gate, up, weight)]
    torch.library.opcheck(torch.ops.arsbench.swiglu_linear, leaves)
    torch.library.opcheck(torch.ops.arsbench.swiglu_linear_backward, (grad, gate, up, weight))


def test_gradcheck_and_no_second_derivative():
    leaves = [x.requires_grad_() for x in make_inputs((3, 5, 2))[:3]]
    torch.autograd.gradcheck(ops.swiglu_linear, leaves)
    (grad,) = torch.autograd.grad(ops.swiglu_linear(*leaves).sum(), leaves[0], create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative"):
        grad.sum().backward()


def test_wrong_arguments():
    gate, up, weight, _ = make_inputs((7, 5, 3))
    with pytest.raises(ValueError, match="takes gate and up"):
        ops.swiglu_linear(gate, up[:3], weight)
    with pytest.raises(ValueError, match="of one dtype"):
        ops.swiglu_linear(gate, up.float(), weight)
    with pytest.raises(ValueError, match="swiglu_linear"):
        torch.ops.arsbench.swiglu_linear(gate, up[:3], weight)
