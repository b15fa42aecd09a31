"""The fused attention against an independent truth: autograd through textbook formulas in float64."""

import math

import pytest
import torch
from torch.nn import functional

from arsbench import ops
from arsbench.ops.reference import rope_attention as reference

# (B, T, H, Hkv, D, fused): odd lengths around the reference's block of 64 rows, one position, grouped heads,
# small and large heads, nothing at all; fused ones are views of a single (B, T, (H + 2·Hkv)·D) projection.
CASES = [
    (2, 5, 2, 2, 16, False),
    (1, 1, 3, 1, 8, False),
    (2, 65, 4, 2, 64, True),
    (1, 130, 6, 6, 128, True),
    (1, 67, 2, 1, 256, False),
    (0, 7, 2, 2, 16, False),
    (2, 0, 2, 1, 16, False),
]
THETA = 10000.0
EPS = 1e-6


def make_inputs(case, dtype=torch.float64):
    B, T, H, Hkv, D, fused = case
    generator = torch.Generator().manual_seed(T)
    if fused:
        projection = torch.randn(B, T, (H + 2 * Hkv) * D, dtype=dtype, generator=generator)
        q, k, v = projection.unflatten(-1, (-1, D)).split([H, Hkv, Hkv], dim=2)
        assert not q.is_contiguous()
    else:
        q, k, v = (torch.randn(B, T, heads, D, dtype=dtype, generator=generator) for heads in (H, Hkv, Hkv))
    q_weight, k_weight = (1 + 0.3 * torch.randn(D, dtype=dtype, generator=generator) for _ in "qk")
    return [x.detach().requires_grad_() for x in (q, k, v, q_weight, k_weight)]


def textbook(q, k, v, q_weight, k_weight):
    """Rotation as multiplication of complex numbers, softmax over an explicit mask."""
    _, T, H, D = q.shape
    real = torch.promote_types(q.dtype, torch.float32)

    def prepare(x, weight):
        x = (functional.rms_norm(x, (D,), eps=EPS) * weight).transpose(1, 2)  # (B, heads, T, D)
        z = torch.complex(x[..., : D // 2].to(real), x[..., D // 2 :].to(real))
        frequency = THETA ** -(torch.arange(0, D, 2, dtype=torch.float64) / D)
        angle = torch.arange(T, dtype=torch.float64)[:, None] * frequency
        z = z * torch.polar(torch.ones_like(angle), angle).to(z.dtype)
        return torch.cat((z.real, z.imag), -1).to(q.dtype)

    q, k = prepare(q, q_weight), prepare(k, k_weight)
    k, v = (x.repeat_interleave(H // x.shape[1], dim=1) for x in (k, v.transpose(1, 2)))
    scores = q @ k.mT / math.sqrt(D) + torch.full((T, T), -math.inf, dtype=q.dtype).triu(1)
    return (scores.softmax(-1) @ v).transpose(1, 2)  # (B, T, H, D)


def run(function, inputs, grad):
    out = function(*inputs)
    return [out, *torch.autograd.grad(out, inputs, grad.to(out.dtype))]


def make_grad(q):
    return torch.randn(q.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def ours(*inputs):
    return ops.rope_attention(*inputs, THETA, EPS)


@pytest.mark.parametrize("case", CASES)
def test_float64_equals_the_textbook(case):
    inputs = make_inputs(case)
    grad = make_grad(inputs[0])
    for got, expected in zip(run(ours, inputs, grad), run(textbook, inputs, grad), strict=True):
        # Both sides round in float64; sums of up to 130 terms leave about 1e-14.
        torch.testing.assert_close(got, expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("case", [case for case in CASES if case[0] * case[1]])
def test_error_is_at_most_twice_plain_pytorchs(case, dtype):
    exact = [x.to(dtype).double().requires_grad_() for x in make_inputs(case)]
    inputs = [x.detach().to(dtype).requires_grad_() for x in exact]
    grad = make_grad(inputs[0]).to(dtype).double()
    truth = run(textbook, exact, grad)
    plain = run(textbook, inputs, grad)
    # Root-mean-square errors: in float32 ours measures 1.0 to 1.9 times plain PyTorch's (probabilities from
    # the saved lse, not from a softmax of their own), in bfloat16 0.3 to 0.6. The floor is for T = 1, where
    # the true gradients of queries and keys are 0 and what is left is one rounding of terms that cancelled.
    floor = torch.finfo(dtype).eps * grad.norm()
    for got, other, expected in zip(run(ours, inputs, grad), plain, truth, strict=True):
        assert got.dtype == dtype
        assert (got - expected).norm() <= 2 * (other - expected).norm() + floor


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("case", [*CASES, (2, 255, 6, 6, 128, True), (1, 17, 3, 1, 64, False)])
def test_parity(case, dtype, compiled, assert_as_good_as):
    compiled("rope_attention", "rope_attention_backward")
    inputs = [x.detach().to(dtype) for x in make_inputs(case)]
    grad = make_grad(inputs[0]).to(dtype)
    leaves = [x.requires_grad_() for x in inputs]
    theirs = run(textbook, leaves, grad)
    truth = run(textbook, [x.detach().double().requires_grad_() for x in inputs], grad.double())
    for kernel, plain, true in zip(run(ours, leaves, grad), theirs, truth, strict=True):
        if true.norm() > 1e-9:  # at T = 1 the gradients of queries and keys are 0
            assert_as_good_as(kernel.detach(), plain.detach(), true)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_number_of_threads_does_not_matter(dtype, threads):
    inputs = make_inputs(CASES[2], dtype)
    grad = make_grad(inputs[0])
    threads(1)
    expected = run(ours, inputs, grad)
    threads(2)
    assert all(torch.equal(a, b) for a, b in zip(run(ours, inputs, grad), expected, strict=True))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_bad_key_is_seen_by_those_who_may_look(bad):
    inputs = [x.detach() for x in make_inputs((2, 65, 2, 1, 64, False), torch.float32)]
    inputs[1][1, 40, 0, 7] = bad
    out = ours(*inputs)
    assert out[0].isfinite().all()
    assert out[1, :40].isfinite().all()
    assert out[1, 40:].isnan().flatten(1).any(1).all()


def test_float16_goes_through_float32(compiled):
    compiled("rope_attention")
    inputs = [x.detach().half() for x in make_inputs(CASES[2])]
    wide = ours(*(x.float() for x in inputs))
    assert torch.equal(ours(*inputs), wide.half())


def test_float32_weights_beside_bfloat16_heads():
    inputs = make_inputs(CASES[2])
    dtypes = [torch.bfloat16] * 3 + [torch.float32] * 2
    mixed = [x.detach().to(dtype).requires_grad_() for x, dtype in zip(inputs, dtypes, strict=True)]
    grad = make_grad(inputs[0])
    results = run(ours, mixed, grad)
    assert [x.dtype for x in results] == [torch.bfloat16] * 4 + [torch.float32] * 2
    assert all(x.isfinite().all() for x in results)


def test_lse_is_that_of_the_scaled_scores():
    q, k, v, q_weight, k_weight = (x.detach() for x in make_inputs((1, 1, 2, 1, 8, False)))
    _, lse = torch.ops.arsbench.rope_attention(q, k, v, q_weight, k_weight, THETA, EPS)
    q, k = (functional.rms_norm(x, (8,), weight, EPS) for x, weight in ((q, q_weight), (k, k_weight)))
    # One position: nothing is rotated, and the log-sum-exp is the only score.
    torch.testing.assert_close(lse[:, :, 0], (q * k).sum(-1)[:, 0] / math.sqrt(8))


def test_the_block_size_decides_nothing(monkeypatch):
    inputs = make_inputs(CASES[3])
    grad = make_grad(inputs[0])
    whole = run(ours, inputs, grad)
    monkeypatch.setattr(reference, "QUERY_BLOCK", 7)
    for got, expected in zip(run(ours, inputs, grad), whole, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-11, atol=1e-12)


def test_a_later_position_changes_nothing_earlier():
    inputs = [x.detach() for x in make_inputs(CASES[3])]
    before = ours(*inputs)
    for x in inputs[:3]:
        x[:, 100:] = 50 * torch.randn_like(x[:, 100:])
    after = ours(*inputs)
    assert torch.equal(after[:, :100], before[:, :100])
    assert (after[:, 100:] != before[:, 100:]).all()


@pytest.mark.parametrize("case", CASES[:2])
def test_gradcheck(case):
    torch.autograd.gradcheck(ours, make_inputs(case))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("case", CASES[:3])
def test_opcheck(case, dtype):
    inputs = [x.detach().to(dtype).requires_grad_() for x in make_inputs(case)]
    torch.library.opcheck(torch.ops.arsbench.rope_attention, (*inputs, THETA, EPS))
    q, k, v, q_weight, k_weight = (x.detach() for x in inputs)
    out, lse = torch.ops.arsbench.rope_attention(q, k, v, q_weight, k_weight, THETA, EPS)
    backward = (torch.randn_like(out), q, k, v, q_weight, k_weight, out, lse, THETA, EPS)
    torch.library.opcheck(torch.ops.arsbench.rope_attention_backward, backward)


def test_autocast_casts_the_heads_and_nothing_inside():
    inputs = [x.detach().float().requires_grad_() for x in make_inputs(CASES[2])]
    rounded = [x.detach().bfloat16().requires_grad_() for x in inputs[:3]] + inputs[3:]
    grad = make_grad(inputs[0])
    with torch.autocast("cpu", torch.bfloat16):
        # The backward inside as well, as a careless user would.
        got = run(ours, inputs, grad)
    expected = run(ours, rounded, grad)
    assert got[0].dtype == torch.bfloat16
    assert all(torch.equal(a, b.to(a.dtype)) for a, b in zip(got, expected, strict=True))


def test_second_derivative_is_refused():
    inputs = make_inputs(CASES[0])
    (grad,) = torch.autograd.grad(ours(*inputs).sum(), inputs[0], create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative"):
        grad.sum().backward()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({0: (2, 5, 2)}, r"takes q \(B, T, H, D\)"),
        ({1: (2, 5, 2, 16), 2: (2, 5, 1, 16)}, "of one shape"),
        ({1: (2, 6, 2, 16), 2: (2, 6, 2, 16)}, "differ in B, T or D"),
        ({0: (2, 5, 3, 16)}, "3 query heads are no multiple of 2"),
        ({0: (2, 5, 2, 15), 1: (2, 5, 2, 15), 2: (2, 5, 2, 15)}, "even, not 15"),
        ({3: (8,)}, "weights must be"),
    ],
)
def test_wrong_shapes(change, message):
    inputs = make_inputs(CASES[0])
    for position, shape in change.items():
        inputs[position] = torch.zeros(shape, dtype=torch.float64)
    with pytest.raises(ValueError, match=message):
        ours(*inputs)


def test_wrong_dtypes():
    q, k, v, q_weight, k_weight = (x.detach() for x in make_inputs(CASES[0]))
    with pytest.raises(ValueError, match="share a float dtype"):
        ours(q, k.float(), v, q_weight, k_weight)
    with pytest.raises(ValueError, match="norm's weight of"):
        ours(q, k, v, q_weight.bfloat16(), k_weight)


def test_the_kernel_checks_for_itself(compiled):
    compiled("rope_attention", "rope_attention_backward")
    op, backward = torch.ops.arsbench.rope_attention, torch.ops.arsbench.rope_attention_backward
    inputs = [x.detach() for x in make_inputs(CASES[0])]
    with pytest.raises(ValueError, match="q must be float16"):
        op(*(x.to(torch.int8) for x in inputs), THETA, EPS)
    out, lse = op(*inputs, THETA, EPS)
    with pytest.raises(ValueError, match="lse must be"):
        backward(out, *inputs, out, lse[:, :, :2], THETA, EPS)
