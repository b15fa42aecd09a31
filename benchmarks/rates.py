"""The machine's rates of matrix products and copies, measured in the same rounds as the contenders."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

# Large enough that arithmetic bounds the product, small enough that a round takes a second or two.
PRODUCT_SIZE = 2048
# More than any last-level cache holds.
COPY_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Rates:
    """Measured rates.

    Attributes:
        float32, bfloat16: flop/s of `torch.mm` on square matrices of that dtype.
        copy: bytes/s of a copy, bytes read plus bytes written.
    """

    float32: float
    bfloat16: float
    copy: float

    def products(self, dtype: torch.dtype) -> float:
        """Flop/s of products of `dtype`; bfloat16 products may use float32 where that is faster."""
        return max(self.float32, self.bfloat16) if dtype == torch.bfloat16 else self.float32


def probes() -> dict[str, Callable[[], object]]:
    """The functions whose times give the rates, by name."""
    source = torch.ones(COPY_BYTES // 4)
    target = torch.empty_like(source)
    return {
        "matmul-float32": _product(torch.float32),
        "matmul-bfloat16": _product(torch.bfloat16),
        "copy": lambda: target.copy_(source),
    }


def rates_of(seconds: Mapping[str, list[float]]) -> Rates:
    """The rates from the seconds of the probes."""
    float32, bfloat16, copy = (
        statistics.median(seconds[name]) for name in ("matmul-float32", "matmul-bfloat16", "copy")
    )
    flops = 2 * PRODUCT_SIZE**3
    return Rates(flops / float32, flops / bfloat16, 2 * COPY_BYTES / copy)


def _product(dtype: torch.dtype) -> Callable[[], object]:
    a, b = (torch.randn(PRODUCT_SIZE, PRODUCT_SIZE).to(dtype) for _ in range(2))
    out = torch.empty_like(a)
    return lambda: torch.mm(a, b, out=out)
