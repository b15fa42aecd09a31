"""A lazy and a sync step of the seed's configuration: arsbench against transformers and plain PyTorch.

The peers are transformers' Qwen3 with ARS in plain PyTorch (`plain_ars`), eager and under torch.compile, in
float32 and in bf16 (autocast, float32 weights). All train on the same random rows. With k = 2, sync and lazy
steps alternate; the cost of each does not depend on k. arsbench also computes the entropies; the peers do
not. The peers iterate Newton-Schulz in bf16 in either precision, as in its authors' code; "ns32" iterates in
float32, which is faster where a processor only emulates bf16. The floor is `floors.step_floor` at the rates
measured in the same rounds, of products and of the silicon.

    python -m benchmarks.training_step [--rounds 5] [--json FILE]
"""

from __future__ import annotations

import contextlib
import importlib.util
from functools import partial
from pathlib import Path

import click
import torch
from torch import Tensor

from arsbench import models, optim
from arsbench.config import load_config
from arsbench.config.schema import ModelConfig
from arsbench.environment import give_back_large_memory
from benchmarks.floors import step_floor
from benchmarks.harness import (
    PRECISIONS,
    Run,
    Unmeasurable,
    common_options,
    compare,
    floors,
    measure,
    peaks_of,
    print_peak,
    publish,
)
from benchmarks.plain_ars import PlainARS

# The peers of each precision; bf16 is also compared with eager float32, the usual choice on a CPU.
PEERS = {
    "fp32": ("eager-fp32", "compile-fp32", "compile-fp32-ns32"),
    "bf16": ("eager-fp32", "eager-bf16", "compile-bf16"),
}
ARSBENCH = ("arsbench-fp32", "arsbench-bf16")
CONTENDERS = (*ARSBENCH, "eager-fp32", "compile-fp32", "compile-fp32-ns32", "eager-bf16", "compile-bf16")
# One sync and one lazy step compile all code and use all memory that a run needs.
WARM_UP_STEPS = 2
OVERRIDES = ["optimizer.k=2"]


def contender(name: str) -> Run:
    """A function that takes one optimizer step; sync and lazy steps alternate, beginning with sync."""
    config = load_config("seed", OVERRIDES)
    kind, precision, *variant = name.split("-")
    torch.manual_seed(config.experiment.seed)
    size = (config.data.batch_size, config.model.sequence_length + 1)
    rows = torch.randint(config.model.vocabulary_size, size)
    inputs, targets = rows[:, :-1].contiguous(), rows[:, 1:].contiguous()
    if kind == "arsbench":
        model = models.build_model(config.model, config.model.vocabulary_size)
        optimizer = optim.create_optimizer(model, config.optimizer, config.given["optimizer"])

        def loss() -> Tensor:
            return model.loss(inputs, targets).loss
    else:
        model = _qwen3(config.model)
        groups = optim.split_parameters(model)
        matrices, others = (group["params"] for group in groups)
        lr, decay = config.optimizer.lr, config.optimizer.weight_decay
        ns_dtype = torch.float32 if variant else torch.bfloat16
        optimizer = PlainARS(matrices, others, lr, decay, config.optimizer.k, kind == "compile", ns_dtype)

        def loss() -> Tensor:
            logits = model(inputs, use_cache=False).logits
            return torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())

        if kind == "compile":
            loss = torch.compile(loss)

    def closure() -> Tensor:
        for parameter in model.parameters():
            parameter.grad = None
        autocast = torch.autocast("cpu", torch.bfloat16) if precision == "bf16" else contextlib.nullcontext()
        with autocast:
            result = loss()
        result.backward()
        return result.detach()

    return lambda: optimizer.step(closure)


def _qwen3(config: ModelConfig) -> torch.nn.Module:
    """transformers' model of the same shape, its weights drawn from the same distribution."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=config.vocabulary_size,
            hidden_size=config.embedding_size,
            intermediate_size=config.intermediate_size,
            num_hidden_layers=config.num_layers,
            num_attention_heads=config.num_heads,
            num_key_value_heads=config.num_heads,
            head_dim=config.head_dim,
            tie_word_embeddings=config.tie_word_embeddings,
        )
    )


@click.command()
@common_options()
@click.option("--peak", type=click.Choice(CONTENDERS), help="Only print this contender's peak memory in MB.")
def main(rounds: int, json_path: Path | None, peak: str | None) -> None:
    """Time arsbench and its peers, and print a table."""
    if peak not in ARSBENCH and importlib.util.find_spec("transformers") is None:
        raise Unmeasurable(
            "transformers is not installed; run `pip install --group bench` in the repository or "
            "`pip install transformers`"
        )
    if peak is not None:
        if peak in ARSBENCH:
            give_back_large_memory()  # as `arsbench train` does; in the process of the timings it affects all
        print_peak(contender(peak), WARM_UP_STEPS)
        return
    steps: dict[str, Run] = {}
    for name in CONTENDERS:
        # Both keys hold the same function, which alternates between a sync and a lazy step.
        steps[f"sync-{name}"] = steps[f"lazy-{name}"] = contender(name)
    # One call each, however short: the next call is a step of the other kind.
    seconds, rates = measure(steps, rounds, minimum_seconds=0)
    peaks = peaks_of("benchmarks.training_step", CONTENDERS)
    config = load_config("seed", OVERRIDES)
    parts = {
        (kind, precision): partial(step_floor, config, dtype=dtype, sync=kind == "sync")
        for kind in ("lazy", "sync")
        for precision, dtype in PRECISIONS.items()
    }
    rows = [
        compare(
            f"{kind}-{precision}",
            seconds[f"{kind}-arsbench-{precision}"],
            peer,
            seconds[f"{kind}-{peer}"],
            (peaks[f"arsbench-{precision}"], peaks[peer]),
            floors(lambda rates, of=parts[kind, precision]: sum(of(rates).values()), rates),
        )
        for kind in ("lazy", "sync")
        for precision, peers in PEERS.items()
        for peer in peers
    ]
    published = {f"{kind}-{precision}": part(rates) for (kind, precision), part in parts.items()}
    publish(rows, rates, json_path, floors=published)
    for name, seconds_by_part in published.items():
        figures = ", ".join(f"{part} {value:.3f} s" for part, value in seconds_by_part.items())
        print(f"floor of {name}: {figures}")


if __name__ == "__main__":
    main()
