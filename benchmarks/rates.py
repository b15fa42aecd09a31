"""The machine's rates of matrix products and copies, measured in the same rounds as the contenders.

Products have two rates: that of `torch.mm` on large square matrices, and the *silicon* rate of multiply-adds
in registers, which no product can exceed.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

# Large enough that arithmetic bounds the product, small enough that a round takes a second or two.
PRODUCT_SIZE = 2048
# More than any last-level cache holds.
COPY_BYTES = 256 * 2**20
# Rounds of multiply-adds in registers: 20 ms in float32, up to 200 in bfloat16 (measured with AMX).
SILICON_ROUNDS = 2**23


@dataclass(frozen=True)
class Rates:
    """Measured rates.

    Attributes:
        float32, bfloat16: flop/s of `torch.mm` on square matrices of that dtype.
        copy: bytes/s of a copy, bytes read plus bytes written.
        silicon: the same with the rates of multiply-adds in registers; None in itself.
    """

    float32: float
    bfloat16: float
    copy: float
    silicon: Rates | None = None

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
        "multiply-add-float32": lambda: _multiply_adds(False, SILICON_ROUNDS),
        "multiply-add-bfloat16": lambda: _multiply_adds(True, SILICON_ROUNDS),
        "copy": lambda: target.copy_(source),
    }


def rates_of(seconds: Mapping[str, list[float]]) -> Rates:
    """The rates from the seconds of the probes."""
    medians = {name: statistics.median(timings) for name, timings in seconds.items()}
    flops, copy = 2 * PRODUCT_SIZE**3, 2 * COPY_BYTES / medians["copy"]
    float32, bfloat16 = (
        _multiply_adds(bfloat16, 1) * SILICON_ROUNDS / medians[f"multiply-add-{name}"]
        for name, bfloat16 in (("float32", False), ("bfloat16", True))
    )
    silicon = Rates(float32, bfloat16, copy)
    return Rates(flops / medians["matmul-float32"], flops / medians["matmul-bfloat16"], copy, silicon)


def _multiply_adds(bfloat16: bool, rounds: int) -> float:
    from arsbench import _C  # its absence is reported before anything is measured

    return _C.multiply_adds(bfloat16, rounds)


def _product(dtype: torch.dtype) -> Callable[[], object]:
    a, b = (torch.randn(PRODUCT_SIZE, PRODUCT_SIZE).to(dtype) for _ in range(2))
    out = torch.empty_like(a)
    return lambda: torch.mm(a, b, out=out)
