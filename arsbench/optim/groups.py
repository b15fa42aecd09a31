"""Which parameters of a model are matrices, and what the groups of an optimizer hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from arsbench.optim.base import MatrixOptimizer
from arsbench.optim.param_groups import ADAMW, MATRIX

HEAD_NAMES = ("lm_head", "head", "output", "output_layer", "classifier", "score", "embed_out")
EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)


def split_parameters(model: nn.Module, matrices: str = "hidden") -> list[dict[str, Any]]:
    """Split a model's trainable parameters into the two groups that our optimizers treat differently.

    Matrices are the tensors of two and more dimensions except those of embeddings and output heads, which are
    recognised by their module, whatever their size:

    - an `nn.Embedding` or `nn.EmbeddingBag`, and with it everything that shares its weight (a tied head);
    - what a module's `get_output_embeddings()` returns (Hugging Face's convention);
    - an `nn.Linear` whose attribute is named as in `HEAD_NAMES`, outside numbered blocks: `model.head` is
      one, `model.layers.3.output` is not.

    Args:
        model: any.
        matrices: "hidden", or "all" for those of embeddings and heads, too.

    Returns:
        [{"params": [...], "param_names": [...], "kind": "matrix"}, {the same, "kind": "adamw"}]. No parameter
        is in both or twice; either list may be empty.
    """
    modules = _embeddings_and_heads(model) if matrices == "hidden" else ()
    apart = {id(p) for module in modules for p in module.parameters(recurse=False)}
    groups = {kind: {"params": [], "param_names": [], "kind": kind} for kind in (MATRIX, ADAMW)}
    for name, p in model.named_parameters():  # a shared parameter comes once
        if p.requires_grad:
            group = groups[MATRIX if p.ndim >= 2 and id(p) not in apart else ADAMW]
            group["params"].append(p)
            group["param_names"].append(name)
    return list(groups.values())


def _embeddings_and_heads(model: nn.Module) -> Iterator[nn.Module]:
    for path, module in model.named_modules():
        *parents, name = path.split(".")
        named_as_head = name in HEAD_NAMES and not any(map(str.isdigit, parents))
        if isinstance(module, EMBEDDINGS) or (isinstance(module, nn.Linear) and named_as_head):
            yield module
        get_head = getattr(module, "get_output_embeddings", None)
        head = get_head() if callable(get_head) else None
        if isinstance(head, nn.Module):
            yield head


def describe_groups(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    """What each parameter group holds, in JSON's types.

    Returns:
        per group its `name` (its kind, or its index where it has none), `tensors` and `parameters` (how
        many), and `hyperparameters`.
    """
    described = []
    hidden = {"params", "param_names", "kind"}
    if isinstance(optimizer, MatrixOptimizer):
        hidden |= {*optimizer.progress_keys, "base_lr"}
    for index, group in enumerate(optimizer.param_groups):
        settings = {key: group[key] for key in group if key not in hidden}
        described.append(
            {
                "name": str(group.get("kind", index)),
                "tensors": len(group["params"]),
                "parameters": sum(p.numel() for p in group["params"]),
                "hyperparameters": {key: _plain(value) for key, value in settings.items()},
            }
        )
    return described


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
