"""Newton-Schulz of the seed's 28 matrices, grouped by shape as in the optimizers.

The peers are the bfloat16 iteration in plain PyTorch on the same groups, eager and under torch.compile, and
the float32 iteration matrix by matrix, which is faster on a processor without bfloat16 products. The error of
arsbench and of the bfloat16 peer against the float64 iteration is printed below the table.

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
from benchmarks.harness import Run, common_options, compare, floors, measure, publish
from benchmarks.plain_ars import orthogonalise

STEPS = 5
PEERS = ("eager", "compile", "float32")


def contender(kind: str, matrices: Sequence[Tensor]) -> Run:
    """Orthogonalises all matrices."""
    if kind == "arsbench":
        return lambda: orthogonalize(matrices, STEPS)
    if kind == "float32":
        return lambda: [orthogonalise(matrix, STEPS, torch.float32) for matrix in matrices]
    function = torch.compile(reference, fullgraph=True, dynamic=False) if kind == "compile" else reference
    groups: dict[torch.Size, list[Tensor]] = {}
    for matrix in matrices:
        groups.setdefault(matrix.shape, []).append(matrix)
    return lambda: [function(torch.stack(group), STEPS, ops.QUINTIC) for group in groups.values()]


def errors(matrices: Sequence[Tensor]) -> dict[str, float]:
    """The largest relative Frobenius error of a matrix against float64, for arsbench and the eager peer."""
    truths = [reference(matrix.double(), STEPS, ops.QUINTIC) for matrix in matrices]
    results = {
        "arsbench": orthogonalize(matrices, STEPS),
        "eager": [reference(matrix, STEPS, ops.QUINTIC) for matrix in matrices],
    }
    return {
        kind: max(
            ((result - truth).norm() / truth.norm()).item()
            for result, truth in zip(computed, truths, strict=True)
        )
        for kind, computed in results.items()
    }


@click.command()
@common_options()
def main(rounds: int, json_path: Path | None) -> None:
    """Time arsbench and its peers, and print a table."""
    shapes, _ = parameter_shapes(load_config("seed").model)
    torch.manual_seed(0)
    matrices = [torch.randn(shape) for shape in shapes]
    seconds, rates = measure({kind: contender(kind, matrices) for kind in ("arsbench", *PEERS)}, rounds)
    flops = newton_schulz_flops(shapes, STEPS)
    least = floors(lambda rates: flops / rates.products(torch.bfloat16), rates)
    rows = [compare("arsbench", seconds["arsbench"], peer, seconds[peer], floors=least) for peer in PEERS]
    error = errors(matrices)
    publish(rows, rates, json_path, errors=error)
    print(
        f"error against float64: arsbench {error['arsbench']:.2e}, eager {error['eager']:.2e}, "
        f"ratio {error['arsbench'] / error['eager']:.2g}"
    )


if __name__ == "__main__":
    main()
