"""A lazy and a sync step of the seed's configuration: ours against what one would otherwise pick.

The peers are transformers' Qwen3 with a plain-PyTorch ARS (`plain_ars`), eager and under torch.compile, in
float32 and in bf16 (autocast, float32 weights). All get the same random rows. With k = 2 a sync and a lazy
step take turns, and each costs what it costs at any other k. Ours computes the entropy column besides; the
peers do not.

    python -m benchmarks.training_step [--rounds 5] [--json FILE]
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import click
import torch
from torch import Tensor

from arsbench import models, optim
from arsbench.config import load_config
from arsbench.environment import peak_resident_bytes
from benchmarks.harness import alternate, compare, peak_rss_of, print_table, write_json
from benchmarks.plain_ars import PlainARS

# Each of ours against the peers of its own precision; bf16 also against what most people run, eager float32.
PEERS = {
    "ours-fp32": ("eager-fp32", "compile-fp32"),
    "ours-bf16": ("eager-fp32", "eager-bf16", "compile-bf16"),
}
CONTENDERS = ("ours-fp32", "ours-bf16", "eager-fp32", "compile-fp32", "eager-bf16", "compile-bf16")
# One sync and one lazy step: all code is compiled and all memory that a run ever needs has been in use.
WARM_UP_STEPS = 2
Step = Callable[[], None]


def contender(name: str) -> Step:
    """A function that takes one optimizer step; sync and lazy steps alternate, sync first."""
    config = load_config("seed", ["optimizer.k=2"])
    kind, _, precision = name.partition("-")
    torch.manual_seed(config.experiment.seed)
    size = (config.data.batch_size, config.model.sequence_length + 1)
    rows = torch.randint(config.model.vocabulary_size, size)
    inputs, targets = rows[:, :-1].contiguous(), rows[:, 1:].contiguous()
    if kind == "ours":
        model = models.build_model(config.model, config.model.vocabulary_size)
        optimizer = optim.create_optimizer(model, config.optimizer, config.given["optimizer"])

        def loss() -> Tensor:
            return model.loss(inputs, targets).loss
    else:
        model = _qwen3(config.model)
        groups = optim.split_parameters(model)
        matrices, others = (group["params"] for group in groups)
        lr, decay = config.optimizer.lr, config.optimizer.weight_decay
        optimizer = PlainARS(matrices, others, lr, decay, config.optimizer.k, compiled=kind == "compile")

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


def _qwen3(config: models.ModelConfig) -> torch.nn.Module:
    """transformers' model of the same shape; both have freshly drawn weights of the same distribution."""
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


def measure(rounds: int) -> dict[str, list[float]]:
    """Seconds by "<lazy or sync>-<contender>"."""
    steps: dict[str, Step] = {}
    for name in CONTENDERS:
        print(f"warming up {name} ...", flush=True)
        step = contender(name)
        for _ in range(WARM_UP_STEPS):
            step()
        # Both keys hold the same function: called in turn, it takes a sync and then a lazy step.
        steps[f"sync-{name}"] = steps[f"lazy-{name}"] = step
    return alternate(steps, rounds, lambda line: print(line, flush=True))


@click.command()
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1))
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the figures here.")
@click.option("--peak", type=click.Choice(CONTENDERS), help="Only print this contender's peak memory in MB.")
def main(rounds: int, json_path: Path | None, peak: str | None) -> None:
    """Time and compare; prints a table."""
    if peak is not None:
        step = contender(peak)
        for _ in range(WARM_UP_STEPS):
            step()
        print(peak_resident_bytes() / 1e6)
        return
    seconds = measure(rounds)
    peaks = {}
    for name in CONTENDERS:
        print(f"peak memory of {name} ...", flush=True)
        peaks[name] = peak_rss_of("benchmarks.training_step", "--peak", name)
    rows = [
        compare(
            ours.replace("ours", kind),
            seconds[f"{kind}-{ours}"],
            peer,
            seconds[f"{kind}-{peer}"],
            (peaks[ours], peaks[peer]),
        )
        for kind in ("lazy", "sync")
        for ours, peers in PEERS.items()
        for peer in peers
    ]
    print_table(rows)
    if json_path is not None:
        write_json(json_path, rows)


if __name__ == "__main__":
    main()
