"""The device tests run on the GPU, or on ARSBENCH_TEST_DEVICE: "cpu" checks the tests themselves."""

from __future__ import annotations

import os

import pytest
import torch


@pytest.fixture(scope="session")
def device() -> torch.device:
    name = os.environ.get("ARSBENCH_TEST_DEVICE", "cuda")
    if name == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU; docs/gpu.md says what these tests verify")
    return torch.device(name)


@pytest.fixture
def assert_as_good_as():
    """The kernel's error against float64, in 2-norm, is at most `factor` times that of plain PyTorch."""

    def check(kernel, plain, truth, factor=2.0):
        def error(x):
            return ((x.double().cpu() - truth.cpu()).norm() / (truth.norm().cpu() + 1e-300)).item()

        assert kernel.shape == plain.shape
        # Norms are stored in float64, but computed in float32.
        floor = 2 * max(torch.finfo(dtype).eps for dtype in (plain.dtype, torch.float32))
        assert error(kernel) <= factor * error(plain) + floor, (
            f"{error(kernel):.3e}, plain {error(plain):.3e}"
        )

    return check
