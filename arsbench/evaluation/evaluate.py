"""Both protocols of evaluation in one pass (ARS.md §4)."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from typing import Any

import torch

from arsbench.tasks.wikitext2_line import IGNORED, Split, WikiText2Line


@torch.no_grad()
def evaluate(
    model: torch.nn.Module,
    task: WikiText2Line,
    split: Split,
    device: torch.device,
    autocast: AbstractContextManager[Any],
) -> dict[str, dict[str, float | int]]:
    """Evaluate `model` on one split.

    Args:
        model: its mode (train or eval) is left as it was found.
        task: knows the padding token.
        split: the rows, and the bytes and words that stand behind them.
        device: where the model is.
        autocast: the context that a training forward pass runs in.

    Returns:
        "seed": mean loss per target (nats), padding counted, an incomplete last batch left out, and its
        exponential. "strict": the same per real target, every row
        counted, with bits per byte, perplexity per white-space word, and the numbers divided by.
    """
    was_training = model.training
    model.eval()
    # Sums stay on the device until the end: reading each would wait for it batch after batch.
    seed_sum, strict_sum = torch.zeros(2, dtype=torch.float64, device=device)
    strict_targets = torch.zeros((), dtype=torch.int64, device=device)
    seed_targets = 0
    try:
        for inputs, targets in split.loader.epoch(0):
            inputs, targets = inputs.to(device), targets.to(device)
            with autocast:
                token_loss = model.loss(inputs, targets, ignore_index=IGNORED).token_loss.double()  # (B, T)
            if len(inputs) == split.loader.batch_size:
                seed_sum += token_loss.sum()
                seed_targets += token_loss.numel()
            real = targets != task.tokenizer.pad_id
            strict_sum += token_loss.where(real, 0.0).sum()
            strict_targets += real.sum()
    finally:
        model.train(was_training)
    seed_loss, nats, targets = float(seed_sum) / seed_targets, float(strict_sum), int(strict_targets)
    strict_loss = nats / targets
    return {
        "seed": {"loss": seed_loss, "perplexity": _exp(seed_loss)},
        "strict": {
            "loss": strict_loss,
            "perplexity": _exp(strict_loss),
            "bits_per_byte": nats / math.log(2) / split.bytes,
            "word_perplexity": _exp(nats / split.words),
            "targets": targets,
            "bytes": split.bytes,
            "words": split.words,
        },
    }


def _exp(x: float) -> float:
    """e^x, infinite where a float cannot hold it (a word of many badly predicted tokens)."""
    return math.exp(x) if x < 709 else math.inf
