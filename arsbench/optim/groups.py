"""Which parameters of a model are matrices, and descriptions of an optimizer's parameter groups."""

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
    """Split a model's trainable parameters into matrices and other parameters, as two parameter groups.

    Matrices are the tensors of two or more dimensions, without those of embeddings and output heads. These
    are recognised by their module, whatever their size:

    - an `nn.Embedding` or `nn.EmbeddingBag`, with every module that shares its weight (a tied head);
    - the result of a module's `get_output_embeddings()` (Hugging Face's convention);
    - an `nn.Linear` whose attribute has a name in `HEAD_NAMES`, outside numbered blocks: `model.head` is an
      output head, `model.layers.3.output` is not.

    Args:
        model: any.
        matrices: "hidden", or "all" to include those of embeddings and heads.

    Returns:
        [{"params": [...], "param_names": [...], "kind": "matrix"}, {..., "kind": "adamw"}]. Every parameter
        is in one group, once. Either group may be empty.
    """
    modules = _embeddings_and_heads(model) if matrices == "hidden" else ()
    apart = {id(p) for module in modules for p in module.parameters(recurse=False)}
    groups = {kind: {"params": [], "param_names": [], "kind": kind} for kind in (MATRIX, ADAMW)}
    for name, p in model.named_parameters():  # without duplicates of shared parameters
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
    """Describe each parameter group, in JSON's types.

    Returns:
        per group its `name` (its kind, or its index without a kind), the numbers of `tensors` and
        `parameters`, and `hyperparameters`.
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
