"""The linear layer of mixed precision against float64."""

import pytest
import torch
from torch.nn import functional

from arsbench import ops

# (..., K) and N.
CASES = [((7, 5), 3), ((1, 1), 1), ((2, 17, 130), 64), ((0, 4), 6), ((3, 0, 4), 2), ((255, 96), 65)]


def make_inputs(case, dtype=torch.float32):
    shape, N = case
    generator = torch.Generator().manual_seed(sum(shape))
    sizes = (shape, (N, shape[-1]), (*shape[:-1], N))
    return [torch.randn(size, dtype=torch.float64, generator=generator).to(dtype) for size in sizes]


def run(function, x, weight, grad, autocast=False):
    x, weight = x.clone().requires_grad_(), weight.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        out = function(x, weight)
    return [out.detach(), *torch.autograd.grad(out, (x, weight), grad.to(out.dtype))]


@pytest.mark.parametrize("case", CASES)
def test_parity(case, compiled, assert_as_good_as):
    compiled("linear", "linear_backward")
    # Values that bfloat16 holds exactly: what is judged is the product.
    x, weight, grad = (t.bfloat16().float() for t in make_inputs(case))
    mine, theirs = (run(f, x, weight, grad, autocast=True) for f in (ops.linear, functional.linear))
    truth = run(functional.linear, *(t.double() for t in (x, weight, grad)))
    assert [t.dtype for t in mine] == [torch.bfloat16, torch.float32, torch.float32]
    for kernel, plain, true in zip(mine, theirs, truth, strict=True):
        assert_as_good_as(kernel, plain, true, computed_in=torch.bfloat16)
    if truth[2].numel() and not ops.build_info()["bf16_products"]:
        # Products in float32 leave the weight's gradient unrounded.
        assert (mine[2] - truth[2]).norm() <= 1e-5 * truth[2].norm()


@pytest.mark.parametrize("case", CASES)
def test_parity_without_autocast(case, compiled, assert_as_good_as):
    compiled("linear", "linear_backward")
    inputs = make_inputs(case)
    mine, theirs = (run(f, *inputs) for f in (ops.linear, functional.linear))
    truth = run(functional.linear, *(t.double() for t in inputs))
    assert [t.dtype for t in mine] == [torch.float32] * 3
    for kernel, plain, true in zip(mine, theirs, truth, strict=True):
        assert_as_good_as(kernel, plain, true)


def test_in_float64_it_is_torchs():
    inputs = [t.double() for t in make_inputs(CASES[2])]
    mine, theirs = (run(f, *inputs) for f in (ops.linear, functional.linear))
    assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))


def test_inputs_with_gaps():
    x, weight, grad = make_inputs(CASES[2])
    expected = run(ops.linear, x, weight, grad, autocast=True)
    x, grad = (t.transpose(0, 1).contiguous().transpose(0, 1) for t in (x, grad))
    got = run(ops.linear, x, weight.T.contiguous().T, grad, autocast=True)
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0.01, atol=0.01)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtypes", [(torch.bfloat16, torch.float32), (torch.float32, torch.float32)])
def test_opcheck(case, dtypes):
    x, weight, grad = make_inputs(case)
    x, weight, grad = x.to(dtypes[0]), weight.to(dtypes[1]), grad.to(dtypes[0])
    torch.library.opcheck(torch.ops.arsbench.linear, (x.requires_grad_(), weight.requires_grad_()))
    torch.library.opcheck(torch.ops.arsbench.linear_backward, (grad, x.detach(), weight.detach()))


def test_second_derivative_is_refused():
    x, weight, _ = make_inputs(CASES[0])
    x.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        out = ops.linear(x, weight)
    (grad,) = torch.autograd.grad(out.sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative"):
        grad.sum().backward()


def test_the_kernel_checks_for_itself(compiled):
    compiled("linear")
    x, weight, _ = make_inputs(CASES[0])
    with pytest.raises(ValueError, match="linear takes x"):
        torch.ops.arsbench.linear(x, weight[:, :3])
    with pytest.raises(ValueError, match="does not go with"):
        torch.ops.arsbench.linear(x, weight.bfloat16())
