"""Each phase of the ARS update on the seed's parameters, against the bytes that it must move.

Whitening and its update apply to the 28 matrices, AdamW to the other parameters, the phases of a sync step
and the inner products to all. The peer is the reference op, tensor by tensor in eager PyTorch. The floor is
the phase's bytes (`floors.STREAMS`) at the measured rate of a copy.

    python -m benchmarks.ars_moments [--rounds 5] [--json FILE]
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import click
import torch
from torch import Tensor

from arsbench import ops
from arsbench.config import load_config
from arsbench.ops.reference import ars_moments as reference
from benchmarks.floors import Shapes, parameter_shapes, phase_bytes
from benchmarks.harness import Run, common_options, compare, floors, measure, publish

# The phases' common arguments, at a step whose bias corrections are not extreme. The second moment is the
# default of ARS's fixed schedule.
MOMENTS = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "step": 10, "second_moment": "bounded"}
STEP_SIZE = {"lr": 1e-4, "weight_decay": 0.1}
ASCENT = {"rho": 0.1, "beta2": 0.999, "eps": 1e-8, "step": 10, "adaptive": True}


@dataclass(frozen=True)
class Tensors:
    """Parameters, gradients and optimizer state of realistic magnitude, shared by all phases."""

    params: list[Tensor]
    grads: list[Tensor]
    exp_avgs: list[Tensor]
    exp_avg_sqs: list[Tensor]
    flats: list[Tensor]
    directions: list[Tensor]
    per_tensor: Tensor
    """Strengths or scales, float64 (n,)."""

    @classmethod
    def random(cls, shapes: Shapes) -> Tensors:
        def normal(std: float) -> list[Tensor]:
            return [torch.randn(shape) * std for shape in shapes]

        squares = [x.square_() for x in normal(1e-3)]
        per_tensor = torch.full((len(shapes),), 0.1, dtype=torch.float64)
        return cls(normal(0.02), normal(1e-3), normal(1e-3), squares, normal(1e-3), normal(1.0), per_tensor)

    def __add__(self, other: Tensors) -> Tensors:
        return Tensors(
            self.params + other.params,
            self.grads + other.grads,
            self.exp_avgs + other.exp_avgs,
            self.exp_avg_sqs + other.exp_avg_sqs,
            self.flats + other.flats,
            self.directions + other.directions,
            torch.cat((self.per_tensor, other.per_tensor)),
        )


def like(tensors: list[Tensor]) -> list[Tensor]:
    """Empty tensors for the results of a reference, which its caller allocates."""
    return [torch.empty_like(x) for x in tensors]


class Phase(NamedTuple):
    """A phase of the update: the kernel, the peer, and the parameters that both work on."""

    kernel: Run
    peer: Run
    params: list[Tensor]


def moment_phases(m: Tensors, o: Tensors, injected: bool) -> dict[str, Phase]:
    """The phases that update moments of matrices `m` and others `o`, with flatness vectors if `injected`."""

    def kernel_extra(x: Tensors) -> dict[str, object]:
        return {"flats": x.flats, "strengths": x.per_tensor} if injected else {}

    def peer_extra(x: Tensors) -> tuple[list[Tensor], Tensor | None]:
        return (x.flats, x.per_tensor) if injected else ([], None)

    suffix = " injected" if injected else ""
    return {
        f"ars_whiten{suffix}": Phase(
            lambda: ops.ars_whiten(m.grads, m.exp_avgs, m.exp_avg_sqs, **MOMENTS, **kernel_extra(m)),
            lambda: reference.ars_whiten(
                m.grads, m.exp_avgs, m.exp_avg_sqs, like(m.grads), *peer_extra(m), **MOMENTS
            ),
            m.params,
        ),
        f"ars_adamw{suffix}": Phase(
            lambda: ops.ars_adamw(
                o.params, o.grads, o.exp_avgs, o.exp_avg_sqs, **STEP_SIZE, **MOMENTS, **kernel_extra(o)
            ),
            lambda: reference.ars_adamw(
                o.params, o.grads, o.exp_avgs, o.exp_avg_sqs, *peer_extra(o), **STEP_SIZE, **MOMENTS
            ),
            o.params,
        ),
    }  # fmt: skip


def phases(m: Tensors, o: Tensors) -> dict[str, Phase]:
    """Every phase of matrices `m` and others `o`, by its name in `floors.STREAMS`."""
    a = m + o
    # Allocated once: ARS reuses these tensors from the second sync step on.
    backups, residuals = [x.clone() for x in a.params], [x.clone() for x in a.params]
    return {
        **moment_phases(m, o, injected=False),
        **moment_phases(m, o, injected=True),
        "ars_apply": Phase(
            lambda: ops.ars_apply(m.params, m.directions, m.per_tensor, **STEP_SIZE),
            lambda: reference.ars_apply(m.params, m.directions, m.per_tensor, **STEP_SIZE),
            m.params,
        ),
        "ars_perturb": Phase(
            lambda: ops.ars_perturb(a.params, a.grads, a.exp_avg_sqs, **ASCENT, backups=backups),
            lambda: reference.ars_perturb(a.params, a.grads, a.exp_avg_sqs, backups, **ASCENT),
            a.params,
        ),
        "ars_restore": Phase(
            lambda: ops.ars_restore(a.params, backups),
            lambda: reference.ars_restore(a.params, backups),
            a.params,
        ),
        "ars_residual": Phase(
            lambda: ops.ars_residual(a.grads, a.flats, residuals),
            lambda: reference.ars_residual(a.grads, a.flats, residuals),
            a.params,
        ),
        "ars_dots": Phase(
            lambda: ops.ars_dots(a.grads, a.flats),
            lambda: reference.ars_dots(a.grads, a.flats),
            a.params,
        ),
    }


@click.command()
@common_options()
def main(rounds: int, json_path: Path | None) -> None:
    """Time arsbench and its peers, and print a table."""
    matrices, others = parameter_shapes(load_config("seed").model)
    torch.manual_seed(0)
    by_name = phases(Tensors.random(matrices), Tensors.random(others))
    runs = {name: phase.kernel for name, phase in by_name.items()}
    runs |= {f"{name} eager": phase.peer for name, phase in by_name.items()}
    seconds, rates = measure(runs, rounds)
    rows = []
    for name, phase in by_name.items():
        moved = phase_bytes(name, [p.shape for p in phase.params])
        least = floors(lambda rates, moved=moved: moved / rates.copy, rates)
        rows.append(compare(name, seconds[name], "eager", seconds[f"{name} eager"], floors=least))
    publish(rows, rates, json_path)


if __name__ == "__main__":
    main()
