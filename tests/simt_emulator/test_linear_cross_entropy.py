"""linear_cross_entropy's CUDA kernels on the host: rows of logits against softmax in float64."""

from __future__ import annotations

import math
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

DTYPES = [torch.float32, torch.bfloat16]
IGNORED = -100
FACTOR = 0.125
# Shared memory of a block: enough for every row in these tests, or for none.
SHARED = {"resident": 227 * 1024, "read-twice": 0}
BESIDE = 7.0  # the value of the memory after each row's logits

every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)
every_way = pytest.mark.parametrize("way", SHARED)


class Result(NamedTuple):
    loss: Tensor
    entropy: Tensor
    gradient: Tensor


def make(rows, vocabulary, dtype, scale=3.0):
    generator = torch.Generator().manual_seed(vocabulary)
    logits = (scale * torch.randn(rows, vocabulary, generator=generator)).to(dtype)
    target = torch.randint(vocabulary, (rows,), generator=generator)
    target[-1] = vocabulary - 1
    target[1::3] = IGNORED
    return logits, target


def by_pytorch(logits, target, dtype):
    """The reference op on logits, in `dtype`; the gradient has the logits' dtype or a wider one."""
    kept = target != IGNORED
    label = target.where(kept, 0)[:, None]
    log_p = torch.log_softmax(logits, -1, dtype=dtype)
    p = log_p.exp()
    loss = -log_p.gather(1, label)[:, 0].where(kept, 0)
    entropy = -torch.bmm(p[:, None], log_p[:, :, None])[:, 0, 0]
    gradient = FACTOR * p.scatter_add(1, label, p.new_full(label.shape, -1.0)) * kept[:, None]
    return Result(loss, entropy, gradient if dtype == torch.float64 else gradient.to(logits.dtype))


@pytest.fixture
def by_kernel(host_kernels):
    """by_kernel(logits, target, way): the kernels' results; without a gradient, the logits take its place."""
    library = host_kernels("linear_cross_entropy")

    def call(logits, target, way="resident", gradient=True, schedule=(0, 0), ignored=IGNORED):
        rows, vocabulary = logits.shape
        elements = 16 // logits.element_size()
        vectors = -(-vocabulary // elements) * elements
        memory = torch.full((rows, vectors + elements), BESIDE, dtype=logits.dtype)
        memory[:, :vocabulary] = logits
        loss, entropy = (torch.full((rows,), math.nan) for _ in range(2))
        library.schedule(*schedule)
        sizes = rows, memory.stride(0), vocabulary, ignored, int(gradient), SHARED[way]
        bfloat16 = int(logits.dtype == torch.bfloat16)
        library("softmax_rows", bfloat16, memory, target, loss, entropy, torch.tensor(FACTOR), *sizes)
        assert (memory[:, vectors:] == BESIDE).all()
        return Result(loss, entropy, memory[:, :vocabulary].clone())

    return call


def assert_as_good_as_pytorch(actual, logits, target):
    truth, peer = (by_pytorch(logits, target, dtype) for dtype in (torch.float64, torch.float32))
    for name, by_kernel, by_torch, exact in zip(Result._fields, actual, peer, truth, strict=True):
        error, allowed = ((x.double() - exact).norm() for x in (by_kernel, by_torch))
        # The floor is one rounding: the reference may be exact by chance.
        floor = torch.finfo(torch.float32).eps * exact.norm()
        print(f"{name}: error {error:.3g}, of pytorch {allowed:.3g}")
        assert error <= 2 * allowed + floor, name


@pytest.mark.parametrize("shape", [(7, 1), (5, 8), (7, 17), (6, 1000), (5, 4099), (3, 50257)], ids=str)
@every_dtype
@every_way
def test_parity(shape, dtype, way, by_kernel):
    logits, target = make(*shape, dtype)
    assert_as_good_as_pytorch(by_kernel(logits, target, way), logits, target)


@every_dtype
@every_way
def test_without_gradient_the_logits_stay(dtype, way, by_kernel):
    logits, target = make(5, 1000, dtype)
    result, full = by_kernel(logits, target, way, gradient=False), by_kernel(logits, target, way)
    assert torch.equal(result.gradient, logits)
    assert torch.equal(result.loss, full.loss)
    assert torch.equal(result.entropy, full.entropy)


@every_dtype
def test_logits_far_apart(dtype, by_kernel):
    """Distant logits do not overflow, where PyTorch's float32 softmax is NaN."""
    logits, target = make(4, 300, dtype)
    target[:] = 5
    logits[:, 5] = torch.tensor([12.0, 1e4, -1e4, 3e38])
    logits[3, 6] = -3e38
    result = by_kernel(logits, target)
    truth = by_pytorch(logits, target, torch.float64)
    torch.testing.assert_close(result.loss.double(), truth.loss, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(result.entropy.double(), truth.entropy, rtol=1e-6, atol=1e-7)
    rtol = 1e-5 if dtype == torch.float32 else 0.01
    torch.testing.assert_close(result.gradient.double(), truth.gradient, rtol=rtol, atol=1e-8)


@every_dtype
@every_way
def test_all_ignored(dtype, way, by_kernel):
    logits, target = make(3, 1000, dtype)
    target[:] = IGNORED
    result = by_kernel(logits, target, way)
    assert not result.loss.any()
    assert not result.gradient.any()
    torch.testing.assert_close(
        result.entropy.double(), by_pytorch(logits, target, torch.float64).entropy, rtol=1e-5, atol=0
    )


def test_an_entry_may_be_the_ignored_one(by_kernel):
    logits, _ = make(2, 50, torch.float32)
    result = by_kernel(logits, torch.tensor([0, 1]), ignored=0)
    assert result.loss[0] == 0
    assert result.loss[1] > 0
    assert not result.gradient[0].any()
    assert result.gradient[1].all()


@every_dtype
@every_way
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_not_finite_is_nan_in_its_row(dtype, way, bad, by_kernel):
    logits, target = make(3, 1000, dtype)
    target[:] = 3
    clean = by_kernel(logits, target, way)
    logits[1, 900] = bad
    for actual, before in zip(by_kernel(logits, target, way), clean, strict=True):
        assert actual[1].isnan().all()
        assert torch.equal(actual[::2], before[::2])


@every_dtype
@every_way
def test_minus_infinity_is_a_probability_of_zero(dtype, way, by_kernel):
    logits, target = make(4, 1000, dtype)
    target[:] = torch.tensor([3, 3, 990, 3])
    logits[0, :3] = -math.inf
    logits[1, 8:] = -math.inf  # all the elements of most threads
    logits[2, 990] = -math.inf  # the target
    logits[3] = -math.inf
    result = by_kernel(logits, target, way)
    truth = by_pytorch(logits.clamp_min(-1e30), target, torch.float64)
    for actual, exact in zip(result, truth, strict=True):
        torch.testing.assert_close(actual[:2].double(), exact[:2], rtol=1e-2, atol=1e-5)
        assert actual[3].isnan().all()
    assert result.loss[2] == math.inf
    assert result.gradient[2, 990] == -FACTOR
    torch.testing.assert_close(result.gradient[2].double(), truth.gradient[2], rtol=1e-2, atol=1e-5)


@every_dtype
@pytest.mark.parametrize("target", [-1, 1000, 2**40])
def test_a_target_out_of_range_is_nan(dtype, target, by_kernel):
    logits, targets = make(3, 1000, dtype)
    targets[0] = target
    result = by_kernel(logits, targets)
    assert result.loss[0].isnan()
    assert result.gradient[0].isnan().all()
    assert result.entropy.isfinite().all()
    assert result.gradient[1:].isfinite().all()


@pytest.fixture(scope="module")
def first_results():
    """The results under the first schedule, by case."""
    return {}


@every_dtype
@every_way
def test_schedules(dtype, way, schedule, by_kernel, first_results):
    result = by_kernel(*make(5, 5003, dtype), way, schedule=schedule)
    for actual, first in zip(result, first_results.setdefault((dtype, way), result), strict=True):
        assert torch.equal(actual, first)


@pytest.mark.parametrize(
    ("targets", "kept"),
    [([5], 1), ([IGNORED], 0), ([IGNORED, 3] * 1500, 1500), (list(range(1025)), 1025)],
    ids=["one", "none", "half", "all"],
)
def test_counting(targets, kept, schedule, host_kernels):
    library = host_kernels("linear_cross_entropy")
    library.schedule(*schedule)
    number, factor = torch.full((1,), math.nan), torch.full((1,), math.nan)
    library("count_kept", torch.tensor(targets), len(targets), IGNORED, number, factor)
    assert number.item() == kept
    assert factor.item() == torch.tensor(1 / max(1, kept)).item()


def test_under_address_sanitizer(run_under):
    done = run_under("address", "run_linear_cross_entropy")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_under_thread_sanitizer(run_under):
    done = run_under("thread", "run_linear_cross_entropy")
    assert done.returncode == 0, done.stdout + done.stderr
