"""Fused projection and cross-entropy against torch's own in float64."""

import functools
import itertools
import math
import sys

import pytest
import torch
from torch.nn import functional

from arsbench import ops
from arsbench.ops.reference import linear_cross_entropy as reference
from arsbench.ops.reference.dtypes import compute_dtype

# (N, E, V): odd sizes, one token, one entry, none at all.
CASES = [(7, 5, 11), (1, 8, 3), (33, 16, 257), (4, 3, 1), (0, 4, 6)]
IGNORED = -100


@pytest.fixture(params=[None, 3], ids=["one chunk", "chunks of 3"])
def chunk(request, monkeypatch):
    """Sets the number of tokens a chunk for a vocabulary and dtype; the last chunk is mostly smaller."""

    def choose(vocabulary, dtype):
        if request.param is not None:
            itemsize = compute_dtype(dtype).itemsize
            monkeypatch.setattr(reference, "CHUNK_BYTES", request.param * vocabulary * itemsize)

    return choose


def make_inputs(case, dtype=torch.float64, ignored=True):
    N, E, V = case
    generator = torch.Generator().manual_seed(N)
    hidden = torch.randn(N, E, dtype=torch.float64, generator=generator).to(dtype)
    weight = torch.randn(V, E, dtype=torch.float64, generator=generator).to(dtype)
    target = torch.randint(V, (N,), generator=generator)
    if ignored:
        target[1::3] = IGNORED
    return hidden.requires_grad_(), weight.requires_grad_(), target


def textbook(hidden, weight, target, ignore_index=IGNORED, reduction="mean"):
    logits = hidden @ weight.T
    log_p = logits.log_softmax(-1)
    token_loss = functional.cross_entropy(logits, target, ignore_index=ignore_index, reduction="none")
    loss = functional.cross_entropy(logits, target, ignore_index=ignore_index, reduction=reduction)
    return loss, token_loss.detach(), -(log_p.exp() * log_p).sum(-1).detach()


def run(function, hidden, weight, target, **options):
    loss, token_loss, entropy = function(hidden, weight, target, **options)
    return [loss, token_loss, entropy, *torch.autograd.grad(3 * loss, (hidden, weight))]


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("case", CASES)
def test_float64_equals_torch(case, reduction, chunk):
    chunk(case[2], torch.float64)
    inputs = make_inputs(case)
    got = run(ops.linear_cross_entropy, *inputs, reduction=reduction)
    expected = run(textbook, *inputs, reduction=reduction)
    for a, b in zip(got, expected, strict=True):
        # Sums of at most 257 terms in float64.
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("case", [(33, 16, 257), (64, 128, 1001)])
def test_error_is_at_most_twice_plain_pytorchs(case, dtype, chunk):
    chunk(case[2], dtype)
    hidden, weight, target = make_inputs(case, dtype)
    exact = [x.detach().double().requires_grad_() for x in (hidden, weight)]
    truth = run(textbook, *exact, target)
    plain = run(textbook, hidden, weight, target)
    got = run(ops.linear_cross_entropy, hidden, weight, target)
    assert [x.dtype for x in got] == [torch.float32] * 3 + [dtype] * 2
    for a, b, expected in zip(got, plain, truth, strict=True):
        # The floor is one rounding of the largest entry: plain PyTorch may be exact by luck.
        floor = torch.finfo(a.dtype).eps * expected.abs().max()
        assert (a - expected).abs().max() <= 2 * (b - expected).abs().max() + floor


def test_many_chunks_do_not_erode_a_bfloat16_gradient(monkeypatch):
    # 4,096 equal tokens add up in float32; bfloat16 would stop growing at 256 times one contribution.
    monkeypatch.setattr(reference, "CHUNK_BYTES", 4 * 4)
    hidden = torch.ones(4096, 1, dtype=torch.bfloat16)
    weight = torch.zeros(4, 1, dtype=torch.bfloat16, requires_grad=True)
    target = torch.zeros(4096, dtype=torch.int64)
    ops.linear_cross_entropy(hidden, weight, target, reduction="sum").loss.backward()
    torch.testing.assert_close(weight.grad[:, 0].float(), 4096 * torch.tensor([-0.75, 0.25, 0.25, 0.25]))


DTYPES = [torch.float32, torch.bfloat16, torch.float64]
# One token more than a chunk of the kernel, which holds 64 MiB of logits, has place for.
TWO_CHUNKS = [((2**26 // (200_003 * dtype.itemsize) + 1, 3, 200_003), dtype) for dtype in DTYPES]


@pytest.mark.parametrize(
    ("case", "dtype"), [*itertools.product([*CASES, (17, 64, 1001)], DTYPES), *TWO_CHUNKS]
)
def test_parity(case, dtype, compiled, assert_as_good_as):
    compiled("linear_cross_entropy")
    hidden, weight, target = make_inputs(case, dtype, ignored=case[0] > 1)
    truth = run(textbook, *(x.detach().double().requires_grad_() for x in (hidden, weight)), target)
    theirs = run(textbook, hidden, weight, target)
    for kernel, plain, true in zip(
        run(ops.linear_cross_entropy, hidden, weight, target), theirs, truth, strict=True
    ):
        if true.norm() > 1e-9:  # with one entry, every loss and gradient is 0
            assert_as_good_as(kernel.detach(), plain.detach().to(kernel.dtype), true, computed_in=dtype)


def test_denormal_gradients_are_zero(compiled):
    """A product of denormal numbers takes many times as long, and they change nothing."""
    compiled("linear_cross_entropy")
    weight = torch.tensor([[85e3], [0.0]]).requires_grad_()
    # The second entry's probability is e^-85 = 1e-37, its gradient a thousandth of that.
    ops.linear_cross_entropy(torch.tensor([[1e-3]]), weight, torch.tensor([0])).loss.backward()
    assert weight.grad[1] == 0


def test_float16_goes_through_float32(compiled):
    compiled("linear_cross_entropy")
    hidden, weight, target = (x.detach() for x in make_inputs((33, 16, 257), torch.float16))
    wide = ops.linear_cross_entropy(hidden.float(), weight.float(), target)
    assert all(
        torch.equal(a, b) for a, b in zip(ops.linear_cross_entropy(hidden, weight, target), wide, strict=True)
    )


def test_padding_as_ignored_token():
    hidden, weight, target = make_inputs((7, 5, 11), ignored=False)
    target[:3] = 1
    got = run(ops.linear_cross_entropy, hidden, weight, target, ignore_index=1)
    for a, b in zip(got, run(textbook, hidden, weight, target, ignore_index=1), strict=True):
        torch.testing.assert_close(a, b)
    assert (got[1][:3] == 0).all()
    assert (got[2][:3] > 0).all()


def test_all_ignored_is_nan_with_zero_gradient_as_in_torch():
    hidden, weight, target = make_inputs((7, 5, 11))
    target.fill_(IGNORED)
    got, expected = (run(f, hidden, weight, target) for f in (ops.linear_cross_entropy, textbook))
    assert got[0].isnan()
    assert expected[0].isnan()
    assert all((x == 0).all() for x in (*got[3:], *expected[3:]))


def test_huge_logits_do_not_overflow():
    hidden = torch.tensor([[1000.0], [-1000.0]], requires_grad=True)
    weight = torch.tensor([[1.0], [0.0], [-1.0]], requires_grad=True)
    loss, token_loss, entropy = ops.linear_cross_entropy(hidden, weight, torch.tensor([0, 0]))
    loss.backward()
    assert token_loss.tolist() == [0.0, 2000.0]
    assert entropy.tolist() == [0.0, 0.0]
    assert hidden.grad.isfinite().all()


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_a_bad_token_is_seen(poison):
    hidden, weight, target = (x.detach() for x in make_inputs((7, 5, 11)))
    hidden[3] = poison
    result = ops.linear_cross_entropy(hidden, weight, target)
    assert result.loss.isnan() or target[3] == IGNORED
    assert result.entropy.isnan().nonzero().flatten().tolist() == [3]


def test_inputs_with_gaps():
    hidden, weight, target = make_inputs((33, 16, 257))
    expected = run(ops.linear_cross_entropy, hidden, weight, target)
    hidden, weight = (x.detach().T.contiguous().T.requires_grad_() for x in (hidden, weight))
    got = run(ops.linear_cross_entropy, hidden, weight, torch.stack((target, target), -1)[:, 0])
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b)


def test_only_the_loss_is_differentiable():
    result = ops.linear_cross_entropy(*make_inputs((7, 5, 11)))
    assert [x.requires_grad for x in result] == [True, False, False]


@pytest.mark.parametrize("frozen", [0, 1])
def test_one_side_frozen(frozen):
    inputs = list(make_inputs((7, 5, 11)))
    expected = run(textbook, *inputs)[3 + (1 - frozen)] / 3
    inputs[frozen] = inputs[frozen].detach()
    ops.linear_cross_entropy(*inputs).loss.backward()
    torch.testing.assert_close(inputs[1 - frozen].grad, expected)


def test_evaluation_forms_no_gradient(monkeypatch):
    asked = []
    module = sys.modules[ops.linear_cross_entropy.__module__]
    monkeypatch.setattr(module, "_op", lambda *args: asked.append(args[-1]) or (None,) * 5)
    hidden, weight, target = make_inputs((7, 5, 11))
    with torch.no_grad():
        ops.linear_cross_entropy(hidden, weight, target)
    ops.linear_cross_entropy(hidden.detach(), weight.detach(), target)
    ops.linear_cross_entropy(hidden, weight, target)
    assert asked == [False, False, True]


def test_backward_twice_through_a_kept_graph():
    hidden, weight, target = make_inputs((7, 5, 11))
    loss = ops.linear_cross_entropy(hidden, weight, target).loss
    first = torch.autograd.grad(loss, (hidden, weight), retain_graph=True)
    second = torch.autograd.grad(2 * loss, (hidden, weight))
    assert all(torch.equal(2 * a, b) for a, b in zip(first, second, strict=True))


def test_second_derivative_is_refused():
    hidden, weight, target = make_inputs((7, 5, 11))
    loss = ops.linear_cross_entropy(hidden, weight, target).loss
    (grad,) = torch.autograd.grad(loss, hidden, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative"):
        grad.sum().backward()


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_gradcheck(reduction, chunk):
    chunk(11, torch.float64)
    hidden, weight, target = make_inputs((7, 5, 11))
    function = functools.partial(ops.linear_cross_entropy, target=target, reduction=reduction)
    torch.autograd.gradcheck(lambda h, w: function(h, w).loss, (hidden, weight))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("case", CASES[:3])
def test_opcheck(case, dtype):
    inputs = make_inputs(case, dtype)
    torch.library.opcheck(torch.ops.arsbench.linear_cross_entropy, (*inputs, IGNORED, "mean", True))
    detached = [x.detach() for x in inputs]
    torch.library.opcheck(torch.ops.arsbench.linear_cross_entropy, (*detached, IGNORED, "sum", False))
    hidden, weight, _ = detached
    backward = (torch.tensor(2.0), hidden, weight, torch.randn_like(hidden), torch.randn_like(weight))
    torch.library.opcheck(torch.ops.arsbench.linear_cross_entropy_backward, backward)


def test_autocast_casts_the_operands_and_nothing_inside():
    hidden, weight, target = make_inputs((33, 16, 257), torch.float32)
    rounded = [x.detach().bfloat16().requires_grad_() for x in (hidden, weight)]
    with torch.autocast("cpu", torch.bfloat16):
        # The backward inside as well, as a careless user would.
        got = run(ops.linear_cross_entropy, hidden, weight, target)
    expected = run(ops.linear_cross_entropy, *rounded, target)
    assert all(torch.equal(a, b.float()) for a, b in zip(got[:4], expected[:4], strict=True))
    # The float32 weight's gradient is not rounded.
    assert got[4].dtype == torch.float32
    torch.testing.assert_close(got[4], expected[4].float(), rtol=0.01, atol=1e-6)


def test_a_gradient_of_the_loss_other_than_one():
    hidden, weight, target = make_inputs((33, 16, 257))
    whole = torch.autograd.grad(ops.linear_cross_entropy(hidden, weight, target).loss, (hidden, weight))
    tenth = torch.autograd.grad(0.1 * ops.linear_cross_entropy(hidden, weight, target).loss, (hidden, weight))
    for a, b in zip(tenth, whole, strict=True):
        torch.testing.assert_close(a, 0.1 * b, rtol=1e-14, atol=0)


@pytest.mark.parametrize("bad", [-1, 11, -101])
def test_target_out_of_range(bad):
    hidden, weight, target = make_inputs((7, 5, 11))
    target[2] = bad
    with pytest.raises(ValueError, match=f"target {bad} is no row of a weight of 11 rows"):
        ops.linear_cross_entropy(hidden, weight, target)


def test_wrong_arguments():
    hidden, weight, target = make_inputs((7, 5, 11))
    with pytest.raises(ValueError, match="takes hidden"):
        ops.linear_cross_entropy(hidden, weight[:, :4], target)
    with pytest.raises(ValueError, match="one int64 target a token"):
        ops.linear_cross_entropy(hidden, weight, target[:6])
    with pytest.raises(ValueError, match="one int64 target a token"):
        ops.linear_cross_entropy(hidden, weight, target.int())
    with pytest.raises(ValueError, match=r"a weight of torch\.float32 does not go with"):
        ops.linear_cross_entropy(hidden, weight.float(), target)
    with pytest.raises(ValueError, match="reduction must be"):
        ops.linear_cross_entropy(hidden, weight, target, reduction="none")


def test_the_kernel_checks_for_itself(compiled):
    compiled("linear_cross_entropy")
    hidden, weight, target = (x.detach() for x in make_inputs((7, 5, 11)))
    with pytest.raises(ValueError, match="hidden must be float16"):
        torch.ops.arsbench.linear_cross_entropy(hidden.char(), weight.char(), target, IGNORED, "mean", True)
