"""Output projection and cross-entropy, forward and backward, at the seed's size.

The peers are cross-entropy of all logits at once (`eager`; torch's `linear_cross_entropy` without options
does the same) and torch's `linear_cross_entropy` with automatic chunks (`auto`), chunks of 256 tokens (`256`)
and a single chunk (`whole`). arsbench also computes each token's loss and entropy.

    python -m benchmarks.linear_cross_entropy [--rounds 5] [--json FILE]
"""

from __future__ import annotations

import torch
from torch.nn import LinearCrossEntropyOptions
from torch.nn import functional as F

from arsbench import ops
from benchmarks.floors import head_flops
from benchmarks.harness import Run, precisions_command

TOKENS, WIDTH, VOCABULARY = 8 * 255, 512, 40_479
OPTIONS = {
    "auto": LinearCrossEntropyOptions(),
    "256": LinearCrossEntropyOptions(batch_chunk_size=256),
    "whole": LinearCrossEntropyOptions(chunking_method=None),
}
PEERS = ("eager", *OPTIONS)


def contender(kind: str, dtype: torch.dtype, tokens: int, width: int, vocabulary: int) -> Run:
    """Loss and gradients of hidden (tokens, width) and weight (vocabulary, width), both of `dtype`."""
    torch.manual_seed(0)
    hidden = torch.randn(tokens, width).to(dtype).requires_grad_()
    weight = (torch.randn(vocabulary, width) * 0.02).to(dtype).requires_grad_()
    target = torch.randint(vocabulary, (tokens,))

    def run() -> None:
        if kind == "arsbench":
            loss = ops.linear_cross_entropy(hidden, weight, target).loss
        elif kind == "eager":
            loss = F.cross_entropy(hidden @ weight.T, target)
        else:
            loss = F.linear_cross_entropy(hidden, weight, target, options=OPTIONS[kind])
        torch.autograd.grad(loss, (hidden, weight))

    return run


main = precisions_command(
    "benchmarks.linear_cross_entropy",
    lambda kind, dtype: contender(kind, dtype, TOKENS, WIDTH, VOCABULARY),
    PEERS,
    head_flops(TOKENS, WIDTH, VOCABULARY),
)

if __name__ == "__main__":
    main()
