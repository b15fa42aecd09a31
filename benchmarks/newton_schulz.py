"""Newton-Schulz of the seed's 28 matrices, grouped by shape as the optimizers do it.

The peers are the bfloat16 iteration in plain PyTorch on the same groups, eager and under torch.compile, and
the same in float32, matrix by matrix, which is what suits a processor without bfloat16 products. Below the
table: how far ours and the bfloat16 peer are from the same iteration in float64.

    python -m benchmarks.newton_schulz [--rounds 5] [--json FILE]
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
import torch
from torch import Tensor

from arsbench import ops
from arsbench.config import load_config
from arsbench.ops.reference.newton_schulz import newton_schulz as reference
from arsbench.optim.orthogonalize import orthogonalize
from benchmarks.floors import newton_schulz_flops, parameter_shapes
from benchmarks.harness import Run, common_options, compare, measure, publish
from benchmarks.plain_ars import orthogonalise

STEPS = 5
PEERS = ("eager", "compile", "float32")


def contender(kind: str, matrices: Sequence[Tensor]) -> Run:
    """Orthogonalise all matrices."""
    if kind == "ours":
        return lambda: orthogonalize(matrices, STEPS)
    if kind == "float32":
        return lambda: [orthogonalise(matrix, STEPS, torch.float32) for matrix in matrices]
    function = torch.compile(reference, fullgraph=True, dynamic=False) if kind == "compile" else reference
    groups: dict[torch.Size, list[Tensor]] = {}
    for matrix in matrices:
        groups.setdefault(matrix.shape, []).append(matrix)
    return lambda: [function(torch.stack(group), STEPS, ops.QUINTIC) for group in groups.values()]


def errors(matrices: Sequence[Tensor]) -> dict[str, float]:
    """Of ours and the eager peer: the largest of all matrices' relative Frobenius errors against float64."""
    truths = [reference(matrix.double(), STEPS, ops.QUINTIC) for matrix in matrices]
    results = {
        "ours": orthogonalize(matrices, STEPS),
        "eager": [reference(matrix, STEPS, ops.QUINTIC) for matrix in matrices],
    }
    return {
        kind: max(
            ((result - truth).norm() / truth.norm()).item()
            for result, truth in zip(given, truths, strict=True)
        )
        for kind, given in results.items()
    }


@click.command()
@common_options
def main(rounds: int, json_path: Path | None) -> None:
    """Time and compare; prints a table."""
    shapes, _ = parameter_shapes(load_config("seed").model)
    torch.manual_seed(0)
    matrices = [torch.randn(shape) for shape in shapes]
    seconds, rates = measure({kind: contender(kind, matrices) for kind in ("ours", *PEERS)}, rounds)
    floor = newton_schulz_flops(shapes, STEPS) / rates.products(torch.bfloat16)
    rows = [compare("ours", seconds["ours"], peer, seconds[peer], floor_seconds=floor) for peer in PEERS]
    error = errors(matrices)
    publish(rows, rates, json_path, errors=error)
    print(
        f"error against float64: ours {error['ours']:.2e}, eager {error['eager']:.2e}, "
        f"{error['ours'] / error['eager']:.2g} of it"
    )


if __name__ == "__main__":
    main()
