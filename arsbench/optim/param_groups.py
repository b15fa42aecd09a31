"""Parameter groups: splitting a model into them, their checks, hyperparameters and description."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

MATRIX, ADAMW = "matrix", "adamw"
ADAMW_KEYS = ("lr", "betas", "eps", "weight_decay")
MOMENTS = ("exp_avg", "exp_avg_sq")
DTYPES = (torch.float32, torch.bfloat16, torch.float64)
HEAD_NAMES = ("lm_head", "head", "output", "output_layer", "classifier", "score", "embed_out")
EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)


def is_matrix(group: Mapping[str, Any], p: Tensor) -> bool:
    """Whether a tensor of a group is updated as a matrix."""
    kind = group.get("kind")
    return p.ndim >= 2 if kind is None else kind == MATRIX


def check_parameters(params: Iterable[Tensor], kind: str | None, optimizer: str) -> None:
    """Refuse tensors that a group of this kind cannot have; messages name `optimizer`.

    Raises:
        ValueError: as in the constructor of `MatrixOptimizer`.
    """
    if kind not in (None, MATRIX, ADAMW):
        raise ValueError(f"kind is {kind!r}; it must be {MATRIX!r} or {ADAMW!r}")
    # The module takes a second to import; without it there is no DTensor.
    distributed = sys.modules.get("torch.distributed.tensor")
    for p in params:
        if distributed is not None and isinstance(p, distributed.DTensor):
            raise ValueError(
                f"params has a DTensor, and {optimizer} does not support fully_shard (FSDP2); use "
                f"DistributedDataParallel"
            )
        if p.dtype not in DTYPES:
            raise ValueError(f"params has a tensor of {p.dtype}; it must be float32, bfloat16 or float64")
        if kind == MATRIX and p.ndim < 2:
            raise ValueError("a matrix group has a tensor of fewer than two dimensions; use kind='adamw'")


def group_settings(
    group: Mapping[str, Any],
    defaults: Mapping[str, Any],
    matrix_keys: Iterable[str],
    shared_keys: Iterable[str],
) -> dict[str, Any]:
    """The hyperparameters of a group: those of its kind, or of both kinds in a group without one.

    Args:
        group: the group as the caller wrote it.
        defaults: the constructor's arguments.
        matrix_keys, shared_keys: as of `MatrixOptimizer`.

    Returns:
        without a kind also `base_lr`, the initial `lr`, which a schedule scales with `adam_lr`.
    """
    values = {**defaults, **group}
    kind = group.get("kind")
    if kind == ADAMW:
        settings = {name: group.get(name, values[f"adam_{name}"]) for name in ADAMW_KEYS}
        if settings["lr"] is None:
            settings["lr"] = values["lr"]
    else:
        settings = {name: values[name] for name in matrix_keys}
    if kind is None:
        for name in ADAMW_KEYS:
            # `betas`, `eps` and `weight_decay` of a group are those of all its tensors.
            fallback = None if name == "lr" else group.get(name)
            rest = fallback if name in group else defaults[f"adam_{name}"]
            settings[f"adam_{name}"] = group.get(f"adam_{name}", rest)
        settings["base_lr"] = float(settings["lr"])
    settings |= {name: values[name] for name in shared_keys}
    return {name: tuple_of(value) for name, value in settings.items()}


def update_settings(group: Mapping[str, Any], matrix: bool, matrix_keys: Iterable[str]) -> dict[str, Any]:
    """The hyperparameters of the update of a group's matrices or other tensors, `lr` as a float."""
    lr = float(group["lr"])
    if matrix:
        return {name: group[name] for name in matrix_keys} | {"lr": lr}
    if group.get("kind") == ADAMW:
        return {name: group[name] for name in ADAMW_KEYS} | {"lr": lr}
    settings = {name: group[f"adam_{name}"] for name in ADAMW_KEYS}
    if settings["lr"] is None:
        return settings | {"lr": lr}
    base = group["base_lr"]
    # For an initial learning rate of 0, the ratio of both is undefined: use adam_lr itself.
    return settings | {"lr": float(settings["lr"]) * (lr / base if base else float(lr > 0))}


def tuple_of(value: Any) -> Any:
    """A list as a tuple, anything else as it is."""
    return tuple(value) if isinstance(value, list) else value


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
    hidden = {"params", "param_names", "kind"}
    if hasattr(optimizer, "progress_keys"):  # of a `MatrixOptimizer`
        hidden |= {*optimizer.progress_keys, "base_lr"}
    return [
        {
            "name": str(group.get("kind", index)),
            "tensors": len(group["params"]),
            "parameters": sum(p.numel() for p in group["params"]),
            "hyperparameters": {key: _plain(value) for key, value in group.items() if key not in hidden},
        }
        for index, group in enumerate(optimizer.param_groups)
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
