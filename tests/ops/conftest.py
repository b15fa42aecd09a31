"""How good a kernel must be: measured against float64, and judged by what plain PyTorch achieves."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from arsbench import ops

ARS_SHAPES = [(5,), (3, 7), (16384 + 5,), (0, 4), (2, 3, 4, 5), (), (1, 33)]


def pytest_make_parametrize_id(config: pytest.Config, val: object) -> str | None:
    """Tests can be chosen by dtype: `-k bfloat16`."""
    return str(val).removeprefix("torch.") if isinstance(val, torch.dtype) else None


def _relative_error(value: Tensor, truth: Tensor) -> float:
    return (
        torch.linalg.vector_norm(value.double() - truth) / (torch.linalg.vector_norm(truth) + 1e-300)
    ).item()


@pytest.fixture
def assert_as_good_as() -> Callable[..., None]:
    """The kernel's error in 2-norm is at most `factor` times that of the reference in the same dtype.

    `computed_in` is for results that are stored in a wider dtype than they are computed in. The floor is for
    results that plain PyTorch happens to get exactly right: two rounding units, and in float64, where the
    truth itself is rounded, what long sums in another order may differ by.
    """

    def check(
        kernel: Tensor,
        reference: Tensor,
        truth: Tensor,
        factor: float = 2.0,
        computed_in: torch.dtype | None = None,
    ) -> None:
        assert kernel.shape == reference.shape
        assert kernel.dtype == reference.dtype
        if truth.numel() == 0:
            return
        precision = computed_in or kernel.dtype
        floor = 1e-12 if precision == torch.float64 else 2 * torch.finfo(precision).eps
        mine, theirs = _relative_error(kernel, truth), _relative_error(reference, truth)
        assert mine <= factor * theirs + floor, f"error {mine:.3e}, plain PyTorch {theirs:.3e}"

    return check


@pytest.fixture
def compiled() -> Callable[..., None]:
    """Require kernels for the CPU: without them a comparison with the reference proves nothing."""

    def require(*names: str) -> None:
        if not ops.build_info()["native"]:
            pytest.skip("arsbench was installed without its compiled module")
        for name in names:
            assert ops.has_kernel(name, "cpu"), f"{name} has no kernel for the CPU"

    return require


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Sets the number of threads for the rest of the test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


class Inputs:
    """Arguments of the element-wise ARS ops: random tensors, with the same values in every layout."""

    def __init__(self, dtype, layout="contiguous", shapes=ARS_SHAPES):
        self.generator = torch.Generator().manual_seed(0)
        self.layout = layout
        self.shapes = shapes
        state = ops.state_dtype(dtype)
        self.params, self.grads, self.others = (self.draw(dtype) for _ in range(3))
        self.exp_avgs, self.flats = self.draw(state, 0.1), self.draw(state)
        self.backups, self.directions = self.draw(dtype), self.draw(state)  # to be overwritten
        self.exp_avg_sqs = [v.abs_() for v in self.draw(state, 0.01)]
        self.strengths = torch.rand(len(shapes), dtype=torch.float64, generator=self.generator)

    def draw(self, dtype, scale=1.0):
        values = (
            scale * torch.randn(shape, dtype=torch.float64, generator=self.generator) for shape in self.shapes
        )
        return [self.laid_out(value.to(dtype)) for value in values]

    def laid_out(self, x):
        if x.dim() == 0 or self.layout == "contiguous":
            return x
        if self.layout == "permuted":  # dense, in another order
            return x.movedim(0, -1).contiguous().movedim(-1, 0)
        return torch.stack([x, x], dim=-1)[..., 0]  # "strided": with gaps


@pytest.fixture
def make_inputs() -> type[Inputs]:
    """Makes arguments of the element-wise ARS ops."""
    return Inputs
