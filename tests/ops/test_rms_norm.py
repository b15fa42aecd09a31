"""RMSNorm against torch's own in float64."""

import math

import pytest
import torch
from torch.nn import functional

from arsbench import ops
from arsbench.ops.reference import rms_norm as reference

SHAPES = [(5, 16), (1, 1), (7,), (2, 130, 33), (0, 8), (65, 512)]
EPS = 1e-6


def make_inputs(shape, dtype=torch.float64):
    generator = torch.Generator().manual_seed(sum(shape))
    x, grad = (torch.randn(shape, dtype=torch.float64, generator=generator).to(dtype) for _ in range(2))
    weight = 1 + 0.3 * torch.randn(shape[-1], dtype=torch.float64, generator=generator)
    return x, weight.to(dtype), grad


def run(x, weight, grad, function=ops.rms_norm):
    x, weight = x.clone().requires_grad_(), weight.clone().requires_grad_()
    out = function(x, weight, EPS)
    return [out.detach(), *torch.autograd.grad(out, (x, weight), grad)]


def textbook(x, weight, eps):
    return functional.rms_norm(x, x.shape[-1:], weight, eps)


@pytest.mark.parametrize("shape", SHAPES)
def test_float64_equals_torch(shape):
    inputs = make_inputs(shape)
    for got, expected in zip(run(*inputs), run(*inputs, textbook), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_parity(shape, dtype, compiled, assert_as_good_as):
    compiled("rms_norm", "rms_norm_backward")
    x, weight, grad = make_inputs(shape, dtype)
    theirs = [reference.rms_norm(x, weight, EPS), *reference.rms_norm_backward(grad, x, weight, EPS)]
    truth = run(*(t.double() for t in (x, weight, grad)), textbook)
    for kernel, plain, true in zip(run(x, weight, grad), theirs, truth, strict=True):
        if true.norm() > 1e-12:  # a row of one element has no gradient: what is left is rounding
            assert_as_good_as(kernel, plain, true)


def test_float32_weight_beside_bfloat16():
    x, weight, grad = make_inputs((5, 16), torch.bfloat16)
    results = run(x, weight.float(), grad)
    assert [t.dtype for t in results] == [torch.bfloat16, torch.bfloat16, torch.float32]
    torch.testing.assert_close(results[2], run(x, weight, grad)[2].float(), rtol=0.01, atol=0.01)


def test_layout_does_not_matter():
    x, weight, grad = make_inputs((12, 33))
    expected = run(x, weight, grad)
    got = run(x.T.contiguous().T, torch.stack((weight, weight), -1)[:, 0], grad.T.contiguous().T)
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


def test_the_number_of_threads_does_not_matter(threads):
    inputs = make_inputs((500, 96), torch.float32)
    threads(1)
    expected = run(*inputs)
    threads(2)
    assert all(torch.equal(a, b) for a, b in zip(run(*inputs), expected, strict=True))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_bad_row_stays_alone(bad):
    x, weight, _ = make_inputs((6, 40), torch.float32)
    x[2, 3] = bad
    out = ops.rms_norm(x, weight, EPS)
    assert out[2].isnan().any()
    assert out[[0, 1, 3, 4, 5]].isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", SHAPES[:5])
def test_opcheck(shape, dtype):
    x, weight, grad = make_inputs(shape, dtype)
    leaves = (x.requires_grad_(), weight.requires_grad_(), EPS)
    torch.library.opcheck(torch.ops.arsbench.rms_norm, leaves)
    torch.library.opcheck(torch.ops.arsbench.rms_norm_backward, (grad, x.detach(), weight.detach(), EPS))


def test_gradcheck_and_no_second_derivative():
    x, weight, _ = (t.requires_grad_() for t in make_inputs((3, 5)))
    torch.autograd.gradcheck(lambda *args: ops.rms_norm(*args, EPS), (x, weight))
    (grad,) = torch.autograd.grad(ops.rms_norm(x, weight, EPS).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative"):
        grad.sum().backward()


def test_wrong_arguments():
    x, weight, _ = make_inputs((3, 5))
    with pytest.raises(ValueError, match=r"weight \(E,\), not"):
        ops.rms_norm(x, weight[:4])
    with pytest.raises(ValueError, match="with a weight of the same"):
        ops.rms_norm(x, weight.float())
    with pytest.raises(ValueError, match="rms_norm"):
        torch.ops.arsbench.rms_norm(x, weight[:4], EPS)
