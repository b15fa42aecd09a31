"""What a parameter group holds, and which update its tensors take with which hyperparameters."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

MATRIX, ADAMW = "matrix", "adamw"
ADAMW_KEYS = ("lr", "betas", "eps", "weight_decay")
MOMENTS = ("exp_avg", "exp_avg_sq")
DTYPES = (torch.float32, torch.bfloat16, torch.float64)


def is_matrix(group: Mapping[str, Any], p: Tensor) -> bool:
    """Whether a tensor of a group takes the update of matrices."""
    kind = group.get("kind")
    return p.ndim >= 2 if kind is None else kind == MATRIX


def check_parameters(params: Iterable[Tensor], kind: str | None, optimizer: str) -> None:
    """Refuse tensors that a group of this kind cannot hold; `optimizer` is named in the message.

    Raises:
        ValueError: there is no such kind, a matrix group has a tensor of fewer than two dimensions, or a
            tensor is a DTensor or not float32, bfloat16 or float64.
    """
    if kind not in (None, MATRIX, ADAMW):
        raise ValueError(f"kind must be {MATRIX!r} or {ADAMW!r}, not {kind!r}")
    for p in params:
        if _is_dtensor(p):
            raise ValueError(
                f"params must be ordinary tensors, not DTensors: {optimizer} does not support fully_shard "
                f"(FSDP2) yet; use DistributedDataParallel"
            )
        if p.dtype not in DTYPES:
            raise ValueError(f"params must be float32, bfloat16 or float64, not {p.dtype}")
        if kind == MATRIX and p.ndim < 2:
            raise ValueError(
                "params of a matrix group must have two dimensions or more; kind='adamw' takes any"
            )


def group_settings(
    given: Mapping[str, Any],
    defaults: Mapping[str, Any],
    matrix_keys: Iterable[str],
    shared_keys: Iterable[str],
) -> dict[str, Any]:
    """The hyperparameters of a group: those of its kind alone, or of both where it has no kind.

    Args:
        given: the group as the caller wrote it.
        defaults: the constructor's arguments.
        matrix_keys, shared_keys: as of `MatrixOptimizer`.

    Returns:
        without a kind also `base_lr`, the learning rate that `adam_lr` belongs to.
    """
    values = {**defaults, **given}
    kind = given.get("kind")
    if kind == ADAMW:
        settings = {name: given.get(name, values[f"adam_{name}"]) for name in ADAMW_KEYS}
        if settings["lr"] is None:
            settings["lr"] = values["lr"]
    else:
        settings = {name: values[name] for name in matrix_keys}
    if kind is None:
        for name in ADAMW_KEYS:
            # What a group says of all of its tensors holds for those that take AdamW, too.
            fallback = None if name == "lr" else given.get(name)
            rest = fallback if name in given else defaults[f"adam_{name}"]
            settings[f"adam_{name}"] = given.get(f"adam_{name}", rest)
        settings["base_lr"] = float(settings["lr"])
    settings |= {name: values[name] for name in shared_keys}
    return {name: tuple_of(value) for name, value in settings.items()}


def update_settings(group: Mapping[str, Any], matrix: bool, matrix_keys: Iterable[str]) -> dict[str, Any]:
    """The hyperparameters of the update of a group's matrices or of its rest, `lr` as a number."""
    lr = float(group["lr"])
    if matrix:
        return {name: group[name] for name in matrix_keys} | {"lr": lr}
    if group.get("kind") == ADAMW:
        return {name: group[name] for name in ADAMW_KEYS} | {"lr": lr}
    settings = {name: group[f"adam_{name}"] for name in ADAMW_KEYS}
    if settings["lr"] is None:
        return settings | {"lr": lr}
    base = group["base_lr"]
    # Made at a learning rate of 0, a group says nothing of how the two belong together.
    return settings | {"lr": float(settings["lr"]) * (lr / base if base else float(lr > 0))}


def tuple_of(value: Any) -> Any:
    """A list as a tuple, anything else as it is."""
    return tuple(value) if isinstance(value, list) else value


def _is_dtensor(p: Tensor) -> bool:
    # The module takes a second to import; where nobody has, there is no DTensor.
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(p, module.DTensor)
