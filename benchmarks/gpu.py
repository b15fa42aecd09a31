"""Every op on a GPU: arsbench against PyTorch and torch.compile.

Times come from CUDA events and are medians over alternating rounds. Before each timing the L2 cache is
overwritten, as other work would do between two calls in training. The floors are the work in
`benchmarks.floors` at the GPU's rates, measured in the same rounds. Needs a GPU; docs/gpu.md says what to
expect.

    python -m benchmarks.gpu [--rounds 20] [--json FILE]
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import torch

from arsbench import ops
from arsbench.config import load_config
from arsbench.files import atomic_write
from benchmarks import ars_moments, linear_cross_entropy, newton_schulz, rope_attention
from benchmarks.floors import attention_flops, head_flops, newton_schulz_flops, parameter_shapes, phase_bytes
from benchmarks.harness import PRECISIONS, Run, Unmeasurable, common_options, machine

FLUSH_BYTES = 256 * 2**20
PRODUCT_SIZE = 8192


@dataclass(frozen=True)
class Comparison:
    """An op and its peers on one task, and the work that the task needs at least."""

    name: str
    kernel: Run
    peers: dict[str, Run]
    flops: float = 0.0
    bytes: float = 0.0
    precision: str = "bf16"


def comparisons() -> Iterator[Comparison]:
    """One at a time, so that the tensors of only one exist."""
    attention = (rope_attention.ROWS, rope_attention.LENGTH, rope_attention.HEADS, rope_attention.HEAD_DIM)
    loss = (linear_cross_entropy.TOKENS, linear_cross_entropy.WIDTH, linear_cross_entropy.VOCABULARY)
    for precision, dtype in PRECISIONS.items():
        yield Comparison(
            f"rope_attention {precision}",
            rope_attention.contender("arsbench", dtype, *attention),
            {kind: rope_attention.contender(kind, dtype, *attention) for kind in rope_attention.PEERS},
            flops=attention_flops(*attention),
            precision=precision,
        )
        yield Comparison(
            f"linear_cross_entropy {precision}",
            linear_cross_entropy.contender("arsbench", dtype, *loss),
            {kind: linear_cross_entropy.contender(kind, dtype, *loss) for kind in ("eager", "auto")},
            flops=head_flops(*loss),
            precision=precision,
        )
    matrices, others = parameter_shapes(load_config("seed").model)
    tensors = [torch.randn(shape) for shape in matrices]
    yield Comparison(
        "newton_schulz",
        newton_schulz.contender("arsbench", tensors),
        {kind: newton_schulz.contender(kind, tensors) for kind in ("eager", "compile")},
        flops=newton_schulz_flops(matrices, newton_schulz.STEPS),
    )
    random = ars_moments.Tensors.random
    for name, phase in ars_moments.phases(random(matrices), random(others)).items():
        moved = phase_bytes(name, [p.shape for p in phase.params])
        yield Comparison(name, phase.kernel, {"eager": phase.peer}, bytes=moved)


def timed(run: Run, flush: torch.Tensor) -> float:
    """Seconds of one call whose operands are not in the caches."""
    flush.zero_()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1e3


def medians(runs: dict[str, Run], rounds: int, flush: torch.Tensor) -> dict[str, float]:
    """Median seconds of each, timed in turn after three warm-up calls."""
    for run in runs.values():
        for _ in range(3):
            run()
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            seconds[name].append(timed(run, flush))
    return {name: statistics.median(values) for name, values in seconds.items()}


def rates(rounds: int, flush: torch.Tensor) -> dict[str, float]:
    """The GPU's flop/s of matrix products in each precision, and bytes/s of a copy."""
    source = torch.ones(FLUSH_BYTES)
    target = torch.empty_like(source)
    probes: dict[str, Run] = {"copy": lambda: target.copy_(source)}
    for precision, dtype in PRECISIONS.items():
        a = torch.randn(PRODUCT_SIZE, PRODUCT_SIZE).to(dtype)
        probes[precision] = _product(a)
    seconds = medians(probes, rounds, flush)
    flops = 2 * PRODUCT_SIZE**3
    return {name: (8 * FLUSH_BYTES if name == "copy" else flops) / value for name, value in seconds.items()}


def _product(a: torch.Tensor) -> Callable[[], object]:
    out = torch.empty_like(a)
    return lambda: torch.mm(a, a, out=out)


@click.command()
@common_options(rounds=20)
def main(rounds: int, json_path: Path | None) -> None:
    """Time arsbench and its peers, and print a Markdown table."""
    if not torch.cuda.is_available():
        raise Unmeasurable(
            "torch sees no GPU; run this benchmark on a machine with one, with a CUDA build of torch"
        )
    references = [op for op, backend in ops.backends("cuda").items() if backend == "reference"]
    rows = []
    with torch.device("cuda"):
        flush = torch.empty(FLUSH_BYTES, dtype=torch.uint8)
        card = rates(rounds, flush)
        for comparison in comparisons():
            seconds = medians({"arsbench": comparison.kernel, **comparison.peers}, rounds, flush)
            kernel_seconds = seconds["arsbench"]
            floor = comparison.flops / card[comparison.precision] + comparison.bytes / card["copy"]
            rows.append({
                "name": comparison.name, "seconds": kernel_seconds,
                "ratios": {peer: seconds[peer] / kernel_seconds for peer in comparison.peers},
                "floor_ratio": kernel_seconds / floor,
                "flop_per_second": comparison.flops / kernel_seconds,
                "bytes_per_second": comparison.bytes / kernel_seconds,
            })  # fmt: skip
    where = machine() | {"gpu": torch.cuda.get_device_name(), "cuda": torch.version.cuda}
    print(f"{where['gpu']}, CUDA {where['cuda']}, torch {where['torch']}, {where['date']}; ops without a "
          f"CUDA kernel: {', '.join(references) or 'none'}")  # fmt: skip
    print(
        f"float32 {card['fp32'] / 1e12:.1f} TFLOP/s, bf16 {card['bf16'] / 1e12:.1f} TFLOP/s, "
        f"copy {card['copy'] / 1e9:,.0f} GB/s\n"
    )
    print("| op | µs | × floor | against |\n| --- | --- | --- | --- |")
    for row in rows:
        against = ", ".join(f"{peer} {ratio:.2f}×" for peer, ratio in row["ratios"].items())
        print(f"| {row['name']} | {row['seconds'] * 1e6:,.1f} | {row['floor_ratio']:.2f} | {against} |")
    if json_path is not None:
        with atomic_write(json_path) as file:
            json.dump({"machine": where, "rates": card, "rows": rows}, file, indent=2)
            file.write("\n")


if __name__ == "__main__":
    main()
