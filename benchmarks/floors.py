"""The floating-point operations and bytes that a task needs in any implementation.

Divided by the rates measured in the same run they give the floor: the seconds that no implementation on this
machine should beat. Shapes: N tokens, E width, V vocabulary, B rows of T positions, H heads of D; n ≤ m the
sides of a matrix.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from arsbench import models, optim
from arsbench.config import Config
from arsbench.config.schema import ModelConfig
from benchmarks.rates import Rates

# The tensors that a phase of the update reads and writes. Perturb and residual need a norm before they can
# write and read large tensors twice; the second read is not counted.
STREAMS = {
    "ars_perturb": 5,  # reads θ, g, v; writes θ, backup
    "ars_restore": 2,  # reads backup; writes θ
    "ars_dots": 2,  # reads g, f
    "ars_residual": 3,  # reads g₂, g₁; writes f
    "ars_whiten": 6,  # reads g, m, v; writes m, v, s
    "ars_whiten injected": 7,  # also reads f
    "ars_adamw": 7,  # reads θ, g, m, v; writes θ, m, v
    "ars_adamw injected": 8,  # also reads f
    "ars_apply": 3,  # reads θ, O; writes θ
}
FLOAT32_BYTES = 4

Shapes = Sequence[torch.Size]


def head_flops(tokens: int, width: int, vocabulary: int) -> int:
    """Output projection with its loss: logits and gradients of both factors, 3 products of 2·N·E·V."""
    return 3 * 2 * tokens * width * vocabulary


def attention_flops(rows: int, length: int, heads: int, head_dim: int) -> int:
    """Causal attention: 2 products forward, 5 backward (the scores once more), each B·H·T(T+1)/2·D·2."""
    return (2 + 5) * rows * heads * length * (length + 1) * head_dim


def layers_flops(tokens: int, matrices: Shapes) -> int:
    """The layers' projections: forward and the gradients of both factors, 3 products of 2·N·n·m a matrix."""
    return 3 * 2 * tokens * elements(matrices)


def newton_schulz_flops(matrices: Shapes, steps: int) -> int:
    """Newton-Schulz on the Gram matrix: 3·n²·m + (4·steps − 3)·n³ per matrix.

    XXᵀ costs n²·m (half of a symmetric product), the final product with X 2·n²·m. A step on the n×n matrices,
    which commute, takes four symmetric products of n³ each: the polynomial's square, the accumulated product,
    and two for the next Gram matrix. The first step has no accumulated product, the last no next Gram matrix.
    """
    sides = [sorted(shape) for shape in matrices]
    return sum(3 * n * n * m + (4 * steps - 3) * n**3 for n, m in sides)


def phase_bytes(phase: str, shapes: Shapes) -> int:
    """Bytes that a phase of the update must move for float32 tensors."""
    return STREAMS[phase] * FLOAT32_BYTES * elements(shapes)


def elements(shapes: Shapes) -> int:
    """Total number of elements of tensors of these shapes."""
    return sum(math.prod(shape) for shape in shapes)


def parameter_shapes(config: ModelConfig) -> tuple[list[torch.Size], list[torch.Size]]:
    """Shapes of a model's matrices (the parameters that are orthogonalised) and of its other parameters."""
    with torch.device("meta"):
        model = models.Transformer(config, config.vocabulary_size)
    matrices, others = ([p.shape for p in group["params"]] for group in optim.split_parameters(model))
    return matrices, others


def update_phases(
    matrices: list[torch.Size], others: list[torch.Size], sync: bool
) -> list[tuple[str, list[torch.Size]]]:
    """The phases of a step's update, by their names in `STREAMS`, each with the shapes of its tensors."""
    every = matrices + others
    if sync:
        phases = [("ars_perturb", every), ("ars_restore", every), ("ars_residual", every)]
        phases += [("ars_whiten", matrices), ("ars_adamw", others)]
    else:
        phases = [("ars_dots", every), ("ars_whiten injected", matrices), ("ars_adamw injected", others)]
    return [*phases, ("ars_apply", matrices)]


def step_floor(config: Config, rates: Rates, *, dtype: torch.dtype, sync: bool) -> dict[str, float]:
    """The floor in seconds of each part of an ARS step; their sum is the step's floor.

    Args:
        config: the model, the batch and the optimizer.
        rates: the machine's rates, from the same run.
        dtype: the dtype of the model's products. Newton-Schulz is in bfloat16 in any case.
        sync: a sync step, which takes two forward-backward passes, instead of a lazy step.
    """
    model, rows = config.model, config.data.batch_size
    tokens = rows * model.sequence_length
    passes = 2 if sync else 1
    matrices, others = parameter_shapes(model)
    attention = attention_flops(rows, model.sequence_length, model.num_heads, model.head_dim)
    phases = update_phases(matrices, others, sync)
    products = rates.products(dtype)
    return {
        "layers": passes * layers_flops(tokens, matrices) / products,
        "attention": passes * model.num_layers * attention / products,
        "head": passes * head_flops(tokens, model.embedding_size, model.vocabulary_size) / products,
        "newton_schulz": newton_schulz_flops(matrices, config.optimizer.ns_steps)
        / rates.products(torch.bfloat16),
        "update": sum(phase_bytes(phase, shapes) for phase, shapes in phases) / rates.copy,
    }
