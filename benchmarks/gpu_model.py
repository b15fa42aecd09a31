"""What to expect of a GPU by arithmetic alone: each kernel's work at the seed's size, and the floors.

Bytes are those that bf16 training must read from or write to main memory at least once: activations in
bf16; weights, gradients and optimizer states in float32. A floor is the larger of FLOPs over the GPU's rate
and bytes over its bandwidth, both from the public datasheets; no code reaches either. docs/gpu.md contains
the tables.

    python -m benchmarks.gpu_model
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from arsbench.config import Config, load_config
from benchmarks.floors import (
    attention_flops,
    elements,
    head_flops,
    layers_flops,
    newton_schulz_flops,
    parameter_shapes,
    phase_bytes,
    update_phases,
)

BF16, FLOAT32 = 2, 4
# Steps of an epoch of the whole WikiText-2: ten times the 136 that a tenth of its training text makes.
STEPS_PER_EPOCH = 1360
SEED_EPOCH_SECONDS = 551.0


@dataclass(frozen=True)
class Card:
    """Dense bf16 tensor-core FLOP/s, float32 FLOP/s and bytes/s from NVIDIA's datasheets."""

    name: str
    bf16: float
    float32: float
    bytes: float


CARDS = (
    Card("A100 SXM 80 GB", 312e12, 19.5e12, 2039e9),
    Card("H100 SXM 80 GB", 989e12, 67e12, 3350e9),
)


@dataclass(frozen=True)
class Work:
    """One kernel's work in all its calls of a forward-backward pass or an update."""

    name: str
    flops: float
    bytes: float

    def floor(self, card: Card) -> float:
        """Seconds."""
        return max(self.flops / card.bf16, self.bytes / card.bytes)


def passes(config: Config) -> Iterator[Work]:
    """The kernels of one forward-backward pass."""
    model, rows = config.model, config.data.batch_size
    tokens, heads = rows * model.sequence_length, model.num_heads * model.head_dim
    matrices, _ = parameter_shapes(model)
    attention = model.num_layers * attention_flops(
        rows, model.sequence_length, model.num_heads, model.head_dim
    )
    tensor = model.num_layers * tokens * heads * BF16  # bytes of q, k, v, out or a gradient in all layers
    yield Work("rope_attention, forward", attention * 2 / 7, 4 * tensor)
    yield Work("rope_attention, backward", attention * 5 / 7, 8 * tensor)
    # Logits: written by a product, read and written by the soft-max pass, read by two products.
    logits = 5 * tokens * model.vocabulary_size * BF16
    weight = model.vocabulary_size * model.embedding_size * (2 * BF16 + FLOAT32)
    head = head_flops(tokens, model.embedding_size, model.vocabulary_size)
    yield Work("linear_cross_entropy, forward and backward", head, logits + weight)
    # Three products per projection, each with input and output; the weight twice, its gradient once.
    moved = sum(3 * tokens * (n + m) * BF16 + n * m * (2 * BF16 + FLOAT32) for n, m in matrices)
    yield Work("projections (cuBLAS)", layers_flops(tokens, matrices), moved)


def updates(config: Config, sync: bool) -> Iterator[Work]:
    """The kernels of one step's update."""
    matrices, others = parameter_shapes(config.model)
    orthogonalised = newton_schulz_flops(matrices, config.optimizer.ns_steps)
    yield Work("newton_schulz", orthogonalised, 2 * FLOAT32 * elements(matrices))
    for phase, shapes in update_phases(matrices, others, sync):
        yield Work(phase, 0.0, phase_bytes(phase, shapes))


def main() -> None:
    """Print the tables."""
    config = load_config("seed")
    one_pass = list(passes(config))
    lazy, sync = (list(updates(config, kind)) for kind in (False, True))
    by_name = {work.name: work for work in [*one_pass, *lazy, *sync]}
    header = "| | GFLOP | MB | FLOP per byte |" + "".join(f" {card.name} |" for card in CARDS)
    print(header + "\n|" + " --- |" * (4 + len(CARDS)))
    for work in by_name.values():
        floors = "".join(f" {work.floor(card) * 1e6:,.0f} µs |" for card in CARDS)
        print(
            f"| {work.name} | {work.flops / 1e9:,.1f} | {work.bytes / 1e6:,.1f} | "
            f"{work.flops / work.bytes:,.0f} |{floors}"
        )
    print("\n| | " + " | ".join(card.name for card in CARDS) + " |\n|" + " --- |" * (1 + len(CARDS)))
    k = config.optimizer.k
    seconds = []
    for card in CARDS:
        pass_floor = sum(work.floor(card) for work in one_pass)
        lazy_floor = pass_floor + sum(work.floor(card) for work in lazy)
        sync_floor = 2 * pass_floor + sum(work.floor(card) for work in sync)
        seconds.append((lazy_floor, sync_floor, ((k - 1) * lazy_floor + sync_floor) / k * STEPS_PER_EPOCH))
    labels = (("lazy step", 1e3, "ms"), ("sync step", 1e3, "ms"), ("epoch", 1, "s"))
    for index, (label, scale, unit) in enumerate(labels):
        cells = " | ".join(f"{values[index] * scale:,.1f} {unit}" for values in seconds)
        print(f"| {label} | {cells} |")
    cells = " | ".join(f"{SEED_EPOCH_SECONDS / values[2]:,.0f}" for values in seconds)
    print(f"| the seed's {SEED_EPOCH_SECONDS:.0f} s an epoch, in floors | {cells} |")


if __name__ == "__main__":
    main()
