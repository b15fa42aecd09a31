"""Saved states of the optimizers: their checks, and the conversion of those of version 0.1.0.

Version 0.1.0 saved the step, the schedule and the averaged cosines under the key "global" of the state, and
split a list of parameters into two groups, matrices first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from arsbench.optim.arguments import check_arguments, is_declared
from arsbench.optim.param_groups import ADAMW_KEYS, is_matrix

if TYPE_CHECKING:
    from arsbench.optim.base import MatrixOptimizer

GLOBAL = "global"


def check_state(
    optimizer: torch.optim.Optimizer,
    state_dict: dict[str, Any],
    group_keys: Container[str],
    names: Callable[[dict[str, Any], Tensor], Iterable[str]],
) -> None:
    """Refuse a state that does not fit `optimizer`; torch compares the numbers of groups and parameters.

    Args:
        optimizer: the optimizer that loads it.
        state_dict: the state, in the current layout.
        group_keys: the entries that the optimizer keeps in groups.
        names: the state tensors that a tensor of a group must have, without its step. All have its shape.

    Raises:
        ValueError: naming the entry that is missing or does not fit.
    """
    refusal = f"state_dict is not {type(optimizer).__name__}'s"
    for group, saved in zip(optimizer.param_groups, state_dict["param_groups"], strict=False):
        expected = {key: value for key, value in group.items() if key in group_keys}
        missing = [key for key in expected if key not in saved]
        if missing:
            raise ValueError(f"{refusal}: a parameter group has no {', '.join(missing)}")
        if saved.get("kind") != group.get("kind"):
            raise ValueError(f"{refusal}: the kind of a parameter group is {saved.get('kind')!r}")
        check_arguments({key: saved[key] for key in expected})
        for key, value in expected.items():
            if not is_declared(key) and not _is_like(value, saved[key]):
                raise ValueError(f"{refusal}: {key} of a parameter group is {_shown(saved[key])}")
        for index, p in zip(saved["params"], group["params"], strict=False):
            entries = state_dict["state"].get(index, {})
            if not entries:
                continue
            missing = [key for key in ("step", *names(group, p)) if key not in entries]
            if missing:
                raise ValueError(f"{refusal}: the state of a parameter has no {', '.join(missing)}")
            if not _is_like(0.0, entries["step"]):
                raise ValueError(f"{refusal}: the step of a parameter is {_shown(entries['step'])}")
            for name, entry in entries.items():
                fits = isinstance(entry, Tensor) and entry.is_floating_point() and entry.shape == p.shape
                if name != "step" and not fits:
                    shape = tuple(p.shape)
                    raise ValueError(f"{refusal}: {name} of a parameter of shape {shape} is {_shown(entry)}")


def _is_like(expected: Any, saved: Any) -> bool:
    """Whether a saved value can replace `expected`: a number or a tensor of one, or a tensor of its shape.

    The first dimension may differ: the averaged cosines have a row for each position of ARS's cycle, and the
    loading optimizer may have a different k.
    """
    if isinstance(expected, Tensor) and expected.ndim:
        return (
            isinstance(saved, Tensor)
            and saved.is_floating_point()
            and saved.ndim == expected.ndim
            and saved.shape[1:] == expected.shape[1:]
        )
    if isinstance(expected, Tensor | int | float) and not isinstance(expected, bool):
        if isinstance(saved, Tensor):
            return saved.numel() == 1 and not saved.is_complex() and bool(torch.isfinite(saved).all())
        return isinstance(saved, int | float) and not isinstance(saved, bool) and math.isfinite(saved)
    return True


def _shown(value: Any) -> str:
    return f"a {value.dtype} of shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)[:40]


def converted(optimizer: MatrixOptimizer, state_dict: dict[str, Any]) -> dict[str, Any]:
    """A `state_dict` of version 0.1.0 in the current layout for `optimizer`; any other unchanged."""
    if GLOBAL not in state_dict["state"]:
        return state_dict
    state = dict(state_dict["state"])
    progress = state.pop(GLOBAL)
    left = list(state_dict["param_groups"])
    groups = []
    for group in optimizer.param_groups:
        if not left:
            break  # torch reports that the numbers of groups differ
        saved = left.pop(0) if "kind" in group else _joined(group, left)
        groups.append({**saved, **optimizer.entries_of_version_0_1_0(progress)})
    return {
        **state_dict,
        "state": {
            index: {"step": torch.tensor(float(progress["step"])), **entries}
            for index, entries in state.items()
        },
        "param_groups": groups + left,
    }


def _joined(group: dict[str, Any], left: list[dict[str, Any]]) -> dict[str, Any]:
    """One group from the groups of matrices and of other parameters, which it takes from `left`."""
    matrices = [is_matrix(group, p) for p in group["params"]]
    parts = {kind: left.pop(0) if left and kind in matrices else {} for kind in (True, False)}
    rest = {f"adam_{key}": parts[False][key] for key in ADAMW_KEYS if key in parts[False]}
    joined = {**group, **parts[False], **parts[True], **rest}
    if "initial_lr" in joined and not joined["lr"]:  # the schedule's factor was 0
        joined |= {"base_lr": float(joined["initial_lr"])}
        joined |= {"adam_lr": parts[False]["initial_lr"]} if rest else {}
    else:
        joined["base_lr"] = float(joined["lr"])
    # In the order of the current group; torch reports a wrong number of parameters.
    indices = {kind: list(part.get("params", ())) for kind, part in parts.items()}
    ordered = [indices[kind].pop(0) for kind in matrices if indices[kind]]
    joined["params"] = [*ordered, *indices[True], *indices[False]]
    for name in ("kind", "param_names"):
        joined.pop(name, None)
    return joined
