"""newton_schulz's CUDA kernels on the host, against the polynomial in float64."""

from __future__ import annotations

import math

import pytest
import torch

from arsbench.ops import QUINTIC
from arsbench.ops.reference.newton_schulz import newton_schulz as reference

FORMS = {"direct": 0, "gram": 1}
# The number of multiprocessors decides between tiles of 128 and of 64.
TILES = {128: 1, 64: 10**6}

# (batch, rows, columns): whole tiles; sizes that are not multiples of 8, 32 or a tile; tall and wide.
SHAPES = [
    (1, 16, 16),
    (2, 17, 33),
    (1, 64, 64),
    (3, 33, 70),
    (1, 100, 31),
    (2, 65, 129),
    (1, 160, 96),
    (1, 96, 250),
    (1, 133, 131),
]


def make(shape, dtype, spectrum="flat"):
    generator = torch.Generator().manual_seed(sum(shape))
    x = torch.randn(shape, dtype=torch.float64, generator=generator)
    if spectrum == "decaying":
        U, sigma, Vh = torch.linalg.svd(x, full_matrices=False)
        decay = torch.logspace(0, -4, sigma.shape[-1], dtype=torch.float64)
        x = U * decay @ Vh
    elif spectrum == "mean":
        x += 3 * torch.randn(*shape[:-1], 1, dtype=torch.float64, generator=generator)
    return x.to(dtype)


@pytest.fixture
def by_kernel(host_kernels):
    """by_kernel(x, steps, form, tile): the kernels' result for x."""
    library = host_kernels("newton_schulz")

    def call(x, steps=5, form="direct", tile=64, coefficients=QUINTIC, schedule=(0, 0)):
        out = torch.full(x.shape, math.nan, dtype=x.dtype)
        library.schedule(*schedule)
        bfloat16 = int(x.dtype == torch.bfloat16)
        library("newton_schulz", bfloat16, x, out, *x.shape, steps, *coefficients, FORMS[form], TILES[tile])
        return out

    return call


def relative_error(value, truth):
    return (torch.linalg.vector_norm(value.double() - truth) / torch.linalg.vector_norm(truth)).item()


def assert_as_good_as_bfloat16(actual, x, steps, coefficients=QUINTIC):
    truth = reference(x.double(), steps, coefficients)
    error, peer = (relative_error(y, truth) for y in (actual, reference(x, steps, coefficients)))
    print(f"error {error:.3g}, of the reference {peer:.3g}, ratio {error / peer:.2f}")
    assert error <= 1.2 * peer


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_parity(shape, dtype, form, by_kernel):
    x = make(shape, dtype)
    assert_as_good_as_bfloat16(by_kernel(x, form=form), x, 5)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", [(1, 140, 300), (2, 257, 129)], ids=str)
def test_large_tiles(shape, form, by_kernel):
    x = make(shape, torch.float32)
    assert_as_good_as_bfloat16(by_kernel(x, 3, form, tile=128), x, 3)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 6, 8])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("spectrum", ["decaying", "mean"])
def test_steps_and_spectra(steps, form, spectrum, by_kernel):
    x = make((2, 40, 90), torch.float32, spectrum)
    assert_as_good_as_bfloat16(by_kernel(x, steps, form), x, steps)


def test_other_coefficients(by_kernel):
    x, coefficients = make((1, 24, 50), torch.float32), (1.5, -0.5, 0.0)
    for form in FORMS:
        assert_as_good_as_bfloat16(by_kernel(x, 3, form, coefficients=coefficients), x, 3, coefficients)


def test_no_steps_only_normalise(by_kernel):
    for x in (make((2, 33, 17), torch.float32), 1e30 * make((1, 5, 70), torch.float32)):
        truth = reference(x.double(), 0, QUINTIC)
        torch.testing.assert_close(by_kernel(x, 0).double(), truth, rtol=2e-7, atol=0)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_stays_in_its_matrix(form, bad, by_kernel):
    x = make((3, 20, 41), torch.float32)
    clean = by_kernel(x, 2, form)
    x[1, 13, 7] = bad
    out = by_kernel(x, 2, form)
    assert out[1].isnan().all()
    torch.testing.assert_close(out[::2], clean[::2], rtol=0, atol=0)


def test_zero_stays_zero(by_kernel):
    assert not by_kernel(torch.zeros(1, 20, 40), form="gram").any()


@pytest.fixture(scope="module")
def first_results():
    """The results under the first schedule, by case."""
    return {}


# Two steps use all kernels of either form; three tiles of a symmetric result, at least four along the depth.
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("tile", "shape"), [(64, (2, 70, 141)), (128, (1, 130, 137))], ids=str)
def test_schedules(form, tile, shape, schedule, by_kernel, first_results):
    result = by_kernel(make(shape, torch.float32), 2, form, tile, schedule=schedule).view(torch.int32)
    assert torch.equal(result, first_results.setdefault((form, tile), result))


def test_choice_of_form(host_kernels):
    library = host_kernels("newton_schulz")
    direct, gram, cublas = 0, 1, 2
    for shape, steps, expected in [
        ((768, 768), 5, direct),
        ((768, 1535), 5, direct),
        ((768, 1536), 5, gram),
        ((3072, 768), 5, gram),
        ((3072, 768), 2, gram),
        ((3072, 768), 1, direct),
        ((3072, 768), 0, direct),
        ((15, 4096), 5, cublas),
        ((4096, 15), 5, cublas),
        ((16, 16), 5, direct),
    ]:
        form = torch.zeros(1, dtype=torch.int64)
        library("choose_form", *shape, steps, form)
        assert form.item() == expected, (shape, steps)


def test_under_address_sanitizer(run_under):
    done = run_under("address", "run_newton_schulz")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_under_thread_sanitizer(run_under):
    done = run_under("thread", "run_newton_schulz")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("tile", TILES)
def test_larger_matrices(form, tile, by_kernel):
    x = make((2, 300, 700), torch.bfloat16)
    assert_as_good_as_bfloat16(by_kernel(x, 5, form, tile), x, 5)
