"""Newton-Schulz against its definition: the polynomial applied to the singular values, in float64."""

import math

import pytest
import torch

from arsbench import ops
from arsbench.ops.reference.newton_schulz import newton_schulz as reference

SHAPES = [
    (64, 64),
    (33, 65),  # wide, odd
    (65, 33),  # tall, odd
    (1, 9),
    (9, 1),
    (1, 1),
    (3, 20, 12),
    (2, 2, 5, 8),
    (300, 290),  # symmetric products in bands
    (257, 513),
    (530, 261),
]
DTYPES = [torch.float64, torch.float32, torch.bfloat16]


def make(shape, dtype=torch.float32):
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, dtype=torch.float64, generator=generator).to(dtype)


def truth(x, steps, coefficients=ops.QUINTIC):
    a, b, c = coefficients
    U, sigma, Vh = torch.linalg.svd(x.double(), full_matrices=False)
    sigma = sigma / (torch.linalg.vector_norm(sigma, dim=-1, keepdim=True) + 1e-7)
    for _ in range(steps):
        sigma = a * sigma + b * sigma**3 + c * sigma**5
    return U @ torch.diag_embed(sigma) @ Vh


@pytest.mark.parametrize("shape", [*SHAPES, (0, 3), (3, 0), (0, 4, 4)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_opcheck(shape, dtype):
    x = make(shape, dtype)
    for steps in (0, 1, 5):
        torch.library.opcheck(torch.ops.arsbench.newton_schulz.default, (x, steps, list(ops.QUINTIC)))


# 1.2: bfloat16 products round where the reference rounds, and may sum in another order. The float32 products
# of bfloat16 values round less: measured errors are 0.26 to 1.00 of the reference's, 0.45 at five steps.
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("steps", [0, 1, 5, 8])
def test_parity(shape, dtype, steps, compiled, assert_as_good_as):
    compiled("newton_schulz")
    x = make(shape, dtype)
    mine, theirs = ops.newton_schulz(x, steps), reference(x, steps, ops.QUINTIC)
    assert mine.is_contiguous()
    if dtype == torch.float64:
        # Both are right to the last few digits, and how many is chance: the condition of the polynomial's
        # powers (485 = 3.4445⁵ after five steps) times float64's rounding.
        torch.testing.assert_close(mine, truth(x, steps), rtol=1e-11, atol=1e-11)
    else:
        assert_as_good_as(mine, theirs, truth(x, steps), factor=1.2)


def test_other_coefficients():
    x = make((20, 31), torch.float64)
    torch.testing.assert_close(ops.newton_schulz(x, 3, (1.5, -0.5, 0.0)), truth(x, 3, (1.5, -0.5, 0.0)))


@pytest.mark.parametrize("shape", [(48, 200), (200, 48), (260, 512)])
def test_singular_values_come_near_one(shape):
    sigma = torch.linalg.svdvals(ops.newton_schulz(make(shape)))
    assert 0.6 < sigma.min() <= sigma.max() < 1.3


@pytest.mark.parametrize("dtype", DTYPES)
def test_layout_does_not_matter(dtype):
    x = make((3, 40, 28), dtype)
    expected = ops.newton_schulz(x)
    for other in (
        x.mT.contiguous().mT,
        torch.stack([x, -x], dim=-1)[..., 0],
        x.permute(1, 2, 0).contiguous().permute(2, 0, 1),
    ):
        assert not other.is_contiguous()
        assert torch.equal(ops.newton_schulz(other), expected)


def test_a_batch_equals_its_matrices(threads):
    x = make((4, 130, 70))
    one_by_one = torch.stack([ops.newton_schulz(matrix) for matrix in x])
    for count in (1, 2, 8):
        threads(count)
        # Matrix products may sum in another order with another number of threads.
        torch.testing.assert_close(ops.newton_schulz(x), one_by_one, rtol=0, atol=0.02)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_scale_does_not_overflow(scale):
    x = make((24, 40), torch.float64)
    got = ops.newton_schulz((x * scale).float())
    assert got.isfinite().all()
    if scale > 1:
        torch.testing.assert_close(got, ops.newton_schulz(x.float()), rtol=0, atol=0.02)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_not_a_number_stays_in_its_matrix(dtype, bad):
    x = make((3, 20, 30), dtype)
    x[1, 4, 5] = bad
    got = ops.newton_schulz(x)
    assert got[1].isnan().all()
    assert got[0].isfinite().all()
    assert got[2].isfinite().all()


def test_zeros_stay_zeros():
    assert torch.equal(ops.newton_schulz(torch.zeros(300, 300)), torch.zeros(300, 300))


def test_the_argument_is_left_alone():
    x = make((300, 280))
    before = x.clone()
    for steps in (0, 5):
        result = ops.newton_schulz(x, steps)
        assert torch.equal(x, before)
        assert result.data_ptr() != x.data_ptr()


def test_compiles_whole():
    x = make((40, 24))
    compiled = torch.compile(lambda x: ops.newton_schulz(2 * x) + 1, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), ops.newton_schulz(2 * x) + 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((torch.ones(3),), "shape"),
        ((torch.ones(3, 3, dtype=torch.float16),), "float16"),
        ((torch.ones(3, 3), -1), "steps"),
        ((torch.ones(3, 3), 5, (1.0, 2.0)), "three coefficients"),
    ],
)
def test_wrong_arguments(arguments, words):
    with pytest.raises(ValueError, match=words):
        ops.newton_schulz(*arguments)


def test_the_kernel_checks_for_itself(compiled):
    compiled("newton_schulz")
    op = torch.ops.arsbench.newton_schulz
    for x, steps, coefficients in (
        (torch.ones(3), 5, (1, 2, 3)),
        (torch.ones(3, 3), 5, (1, 2)),
        (torch.ones(3, 3), -1, (1, 2, 3)),
    ):
        with pytest.raises(ValueError, match="newton_schulz"):
            op(x, steps, coefficients)
