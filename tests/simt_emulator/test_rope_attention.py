"""rope_attention's CUDA kernels on the host: forward and backward, their error against plain PyTorch's."""

from __future__ import annotations

import math
from typing import NamedTuple

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from arsbench.ops.reference import rope_attention as reference

THETA, EPS = 10000.0, 1e-6


class Products(NamedTuple):
    """A kind of products: the tensors' dtype, and its number for the entry points."""

    name: str
    dtype: torch.dtype
    number: int


FLOAT32, BFLOAT16, TF32 = PRODUCTS = [
    Products("float32", torch.float32, 0),
    Products("bf16", torch.bfloat16, 1),
    Products("TF32", torch.float32, 2),
]
every_product = pytest.mark.parametrize("products", PRODUCTS, ids=lambda p: p.name)

# (B, T, H, Hkv, D, fused): one position, partial tiles of 16, 32 and 64 rows, grouped heads; fused tensors
# are views of a single (B, T, (H + 2·Hkv)·D) projection.
CASES = [
    (1, 1, 2, 1, 64, False),
    (2, 17, 4, 2, 64, True),
    (1, 64, 2, 2, 128, False),
    (2, 65, 2, 1, 128, True),
    (1, 130, 3, 1, 64, True),
    (1, 255, 1, 1, 128, False),
]
FORWARD_ONLY = [(1, 33, 2, 1, 256, True), (1, 70, 1, 1, 256, False)]


def make_inputs(case, products):
    dtype = products.dtype
    B, T, H, Hkv, D, fused = case
    generator = torch.Generator().manual_seed(T)
    if fused:
        projection = torch.randn(B, T, (H + 2 * Hkv) * D, generator=generator).to(dtype)
        q, k, v = projection.unflatten(-1, (-1, D)).split([H, Hkv, Hkv], dim=2)
        grad = torch.randn(B, H, T, D, generator=generator).to(dtype).transpose(1, 2)
    else:
        q, k, v, grad = (
            torch.randn(B, T, heads, D, generator=generator).to(dtype) for heads in (H, Hkv, Hkv, H)
        )
    q_weight, k_weight = (1 + 0.3 * torch.randn(D, generator=generator) for _ in "qk")
    return [q, k, v, q_weight, k_weight], grad


def strides(*tensors):
    return torch.tensor([x.stride(i) for x in tensors for i in range(3)])


def run_forward(kernels, products, inputs, eps=EPS):
    q, k, v, *weights = inputs
    B, T, H, D = q.shape
    cos, sin = reference._rotation(T, D, THETA, torch.float32, q.device)
    out, lse = torch.full((B, T, H, D), math.nan, dtype=q.dtype), torch.full((B, H, T), math.nan)
    sizes = torch.cat([torch.tensor([B, T, H, k.shape[2], D]), strides(q, k, v)])
    tensors = [q, k, v, *weights, cos, sin, out, lse]
    kernels("rope_attention_forward", products.number, tensors, sizes, eps)
    return out, lse


def run_backward(kernels, products, inputs, grad, out, lse, eps=EPS):
    q, k, v, *weights = inputs
    B, T, H, D = q.shape
    cos, sin = reference._rotation(T, D, THETA, torch.float32, q.device)
    grads = [torch.full(x.shape, math.nan, dtype=x.dtype) for x in inputs]
    sizes = torch.cat([torch.tensor([B, T, H, k.shape[2], D]), strides(q, k, v, grad)])
    tensors = [q, k, v, *weights, cos, sin, out, lse, grad, *grads]
    kernels("rope_attention_backward", products.number, tensors, sizes, eps)
    return grads


def run(kernels, products, inputs, grad, eps=EPS):
    out, lse = run_forward(kernels, products, inputs, eps)
    return [out, lse, *run_backward(kernels, products, inputs, grad, out, lse, eps)]


def textbook(q, k, v, q_weight, k_weight, product=torch.matmul):
    """RMSNorm, rotation and attention as separate ops; returns the result and the scores' log-sum-exp."""
    _, T, H, D = q.shape

    def prepare(x: Tensor, weight: Tensor) -> Tensor:
        x = (functional.rms_norm(x, (D,), eps=EPS) * weight.to(x.dtype)).transpose(1, 2)
        cos, sin = (y.to(x.dtype) for y in reference._rotation(T, D, THETA, torch.float64, x.device))
        a, b = x.chunk(2, -1)
        return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)

    q, k = prepare(q, q_weight), prepare(k, k_weight)
    k, v = (x.repeat_interleave(H // x.shape[1], dim=1) for x in (k, v.transpose(1, 2)))
    scores = product(q, k.mT) / math.sqrt(D) + torch.full((T, T), -math.inf, dtype=q.dtype).triu(1)
    return product(scores.softmax(-1), v).transpose(1, 2), scores.logsumexp(-1)


class Tf32Product(torch.autograd.Function):
    """A matrix product whose operands, in forward and backward, are rounded to TF32."""

    @staticmethod
    def forward(ctx, a, b):
        a, b = rounded_to_tf32(a), rounded_to_tf32(b)
        ctx.save_for_backward(a, b)
        return a @ b

    @staticmethod
    def backward(ctx, grad):
        a, b = ctx.saved_tensors
        grad = rounded_to_tf32(grad)
        return grad @ b.mT, a.mT @ grad


def rounded_to_tf32(x: Tensor) -> Tensor:
    return ((x.contiguous().view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)


def differentiate(inputs, grad, dtype, product=torch.matmul):
    leaves = [x.detach().to(dtype).requires_grad_() for x in inputs]
    out, lse = textbook(*leaves, product)
    return [out, lse, *torch.autograd.grad(out, leaves, grad.to(dtype))]


def assert_as_good_as_plain_pytorch(products, inputs, grad, results):
    dtype = products.dtype
    truth = differentiate(inputs, grad, torch.float64)[: len(results)]
    product = Tf32Product.apply if products is TF32 else torch.matmul
    plain = differentiate(inputs, grad, dtype, product)[: len(results)]
    # The floor is for T = 1, where the true gradients of queries and keys are 0: the terms cancel except for
    # rounding.
    floor = 4 * (2**-10 if products is TF32 else torch.finfo(dtype).eps) * grad.double().norm()
    names = ["out", "lse", "grad_q", "grad_k", "grad_v", "grad_q_weight", "grad_k_weight"]
    for name, actual, other, true in zip(names, results, plain, truth, strict=False):
        error, peer = (actual - true).norm(), (other - true).norm()
        assert error <= 2 * peer + (floor if true.norm() < 1e-9 else 0), f"{name}: {error}, plain {peer}"


@pytest.fixture
def kernels(host_kernels):
    loaded = host_kernels("rope_attention")
    loaded.schedule(0, 0)
    return loaded


@every_product
@pytest.mark.parametrize("case", CASES, ids=str)
def test_parity(case, products, kernels):
    inputs, grad = make_inputs(case, products)
    assert_as_good_as_plain_pytorch(products, inputs, grad, run(kernels, products, inputs, grad))


@every_product
@pytest.mark.parametrize("case", FORWARD_ONLY, ids=str)
def test_forward_of_large_heads(case, products, kernels):
    inputs, grad = make_inputs(case, products)
    assert_as_good_as_plain_pytorch(products, inputs, grad, run_forward(kernels, products, inputs))


def test_tf32_is_no_float32(kernels):
    inputs, grad = make_inputs(CASES[1], TF32)
    truth = differentiate(inputs, grad, torch.float64)
    for exact, fast, true in zip(
        run(kernels, FLOAT32, inputs, grad), run(kernels, TF32, inputs, grad), truth, strict=True
    ):
        assert 20 * (exact - true).norm() < (fast - true).norm() < 2e-3 * true.norm()


@pytest.fixture(scope="module")
def in_order():
    """The results under the first schedule, by case and dtype."""
    return {}


@every_product
@pytest.mark.parametrize("case", [(2, 70, 2, 1, 64, True), (1, 130, 1, 1, 128, False)], ids=str)
def test_the_schedule_does_not_matter(case, products, kernels, schedule, in_order):
    inputs, grad = make_inputs(case, products)
    key = (case, products)
    if key not in in_order:
        in_order[key] = run(kernels, products, inputs, grad)
    kernels.schedule(*schedule)
    assert all(
        torch.equal(a, b) for a, b in zip(run(kernels, products, inputs, grad), in_order[key], strict=True)
    )


@every_product
def test_the_schedule_does_not_matter_to_large_heads(products, kernels, schedule, in_order):
    inputs, _ = make_inputs(FORWARD_ONLY[1], products)
    if products not in in_order:
        in_order[products] = run_forward(kernels, products, inputs)
    kernels.schedule(*schedule)
    assert all(
        torch.equal(a, b)
        for a, b in zip(run_forward(kernels, products, inputs), in_order[products], strict=True)
    )


@pytest.mark.parametrize("rows", [1, 8, 255, 256, 257, 256 * 256 + 3])
def test_sums_of_rows(rows, kernels, schedule):
    shares = torch.randn(rows, 64, generator=torch.Generator().manual_seed(rows))
    expected = shares.double().sum(0)
    floor = torch.finfo(torch.float32).eps * shares.double().abs().sum(0)
    out, spare = torch.full((64,), math.nan), torch.full(((rows + 255) // 256, 64), math.nan)
    kernels.schedule(*schedule)
    kernels("rope_attention_sum_rows", shares, spare, rows, out)
    assert ((out - expected).abs() <= floor).all()


@every_product
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_bad_key_is_seen_by_those_who_may_look(bad, products, kernels):
    inputs, grad = make_inputs((2, 65, 2, 1, 64, False), products)
    inputs[1][1, 40, 0, 7] = bad
    out, lse, grad_q, grad_k, *_, grad_k_weight = run(kernels, products, inputs, grad)
    for x in (out, lse.transpose(1, 2)):
        assert x[0].isfinite().all()
        assert x[1, :40].isfinite().all()
    assert grad_q[0].isfinite().all()
    assert out[1, 40:].isnan().all()
    assert lse[1, :, 40:].isnan().all()
    assert grad_q[1, 40:].isnan().flatten(1).any(1).all()
    assert grad_k[0].isfinite().all()
    assert grad_k[1, 40].isnan().any()
    assert grad_k_weight.isnan().any()


@every_product
def test_a_bad_gradient_stays_in_its_row_of_the_batch(products, kernels):
    inputs, grad = make_inputs((2, 65, 2, 1, 64, False), products)
    grad[1, 40, 1, 7] = math.nan
    _, _, grad_q, grad_k, grad_v, *weights = run(kernels, products, inputs, grad)
    assert all(x[0].isfinite().all() for x in (grad_q, grad_k, grad_v))
    assert grad_q[1, :, 0].isfinite().all()
    assert grad_q[1, 40, 1].isnan().all()
    assert grad_k[1, :41].isnan().all()
    assert grad_v[1, :41, 0, 7].isnan().all()
    assert all(x.isnan().all() for x in weights)


@every_product
def test_a_later_position_changes_nothing_earlier(products, kernels):
    inputs, _ = make_inputs((1, 130, 2, 1, 64, True), products)
    before = run_forward(kernels, products, inputs)[0]
    for x in inputs[:3]:
        x[:, 100:] = 50 * torch.randn_like(x[:, 100:])
    after = run_forward(kernels, products, inputs)[0]
    assert torch.equal(after[:, :100], before[:, :100])
    assert (after[:, 100:] != before[:, 100:]).flatten(1).any()


def test_eps_may_be_zero(kernels):
    inputs, grad = make_inputs((1, 17, 2, 1, 64, False), BFLOAT16)
    results = run(kernels, BFLOAT16, inputs, grad, eps=0.0)
    for x, y in zip(results, run(kernels, BFLOAT16, inputs, grad), strict=True):
        torch.testing.assert_close(x, y, rtol=0.05, atol=0.05)


def test_no_batch_and_no_position_are_no_launch(kernels):
    for case in [(0, 7, 2, 1, 64, False), (2, 0, 2, 1, 64, False)]:
        inputs, _ = make_inputs(case, BFLOAT16)
        assert run_forward(kernels, BFLOAT16, inputs)[0].numel() == 0


def test_clean_under_address_sanitizer(run_under):
    result = run_under("address", "run_rope_attention")
    assert result.returncode == 0, result.stdout + result.stderr[-4000:]


@pytest.mark.slow
def test_clean_under_thread_sanitizer(run_under):
    result = run_under("thread", "run_rope_attention")
    assert result.returncode == 0, result.stdout + result.stderr[-4000:]


@pytest.mark.slow
@every_product
@pytest.mark.parametrize("case", [(2, 255, 6, 6, 128, True), (1, 513, 4, 1, 64, False)], ids=str)
def test_parity_of_long_rows(case, products, kernels):
    inputs, grad = make_inputs(case, products)
    assert_as_good_as_plain_pytorch(products, inputs, grad, run(kernels, products, inputs, grad))
