"""Output projection and cross-entropy, forward and backward, at the seed's size.

The peers are cross-entropy of the whole logits (`eager`, which is also torch's own `linear_cross_entropy`
without options) and torch's own in chunks: with the options it picks itself (`auto`), in chunks of 256 tokens
(`256`) and in a single one (`whole`). Ours computes each token's loss and entropy besides.

    python -m benchmarks.linear_cross_entropy [--rounds 5] [--json FILE]
"""

from __future__ import annotations

from pathlib import Path

import click
import torch
from torch.nn import LinearCrossEntropyOptions
from torch.nn import functional as F

from arsbench import ops
from benchmarks.floors import head_flops
from benchmarks.harness import (
    PRECISIONS,
    Run,
    common_options,
    compare_precisions,
    measure,
    peaks_of,
    print_peak,
    publish,
)

TOKENS, WIDTH, VOCABULARY = 8 * 255, 512, 40_479
OPTIONS = {
    "auto": LinearCrossEntropyOptions(),
    "256": LinearCrossEntropyOptions(batch_chunk_size=256),
    "whole": LinearCrossEntropyOptions(chunking_method=None),
}
PEERS = ("eager", *OPTIONS)
CONTENDERS = tuple(f"{kind}-{precision}" for precision in PRECISIONS for kind in ("ours", *PEERS))


def contender(kind: str, dtype: torch.dtype, tokens: int, width: int, vocabulary: int) -> Run:
    """Loss and gradients of hidden (tokens, width) and weight (vocabulary, width), both of `dtype`."""
    torch.manual_seed(0)
    hidden = torch.randn(tokens, width).to(dtype).requires_grad_()
    weight = (torch.randn(vocabulary, width) * 0.02).to(dtype).requires_grad_()
    target = torch.randint(vocabulary, (tokens,))

    def run() -> None:
        if kind == "ours":
            loss = ops.linear_cross_entropy(hidden, weight, target).loss
        elif kind == "eager":
            loss = F.cross_entropy(hidden @ weight.T, target)
        else:
            loss = F.linear_cross_entropy(hidden, weight, target, options=OPTIONS[kind])
        torch.autograd.grad(loss, (hidden, weight))

    return run


def seed_contender(name: str) -> Run:
    """A contender by its name, "<kind>-<precision>", at the seed's size."""
    kind, precision = name.split("-")
    return contender(kind, PRECISIONS[precision], TOKENS, WIDTH, VOCABULARY)


@click.command()
@common_options
@click.option("--peak", type=click.Choice(CONTENDERS), help="Only print this contender's peak memory in MB.")
def main(rounds: int, json_path: Path | None, peak: str | None) -> None:
    """Time and compare; prints a table."""
    if peak is not None:
        print_peak(seed_contender(peak))
        return
    seconds, rates = measure({name: seed_contender(name) for name in CONTENDERS}, rounds)
    peaks = peaks_of("benchmarks.linear_cross_entropy", CONTENDERS)
    rows = compare_precisions(PEERS, seconds, peaks, head_flops(TOKENS, WIDTH, VOCABULARY), rates)
    publish(rows, rates, json_path)


if __name__ == "__main__":
    main()
