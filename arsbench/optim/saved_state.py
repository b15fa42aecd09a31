"""Saved states of the optimizers: what they must hold, and those of version 0.1.0, which held it elsewhere.

Version 0.1.0 kept the steps, the schedule's numbers and the averaged cosines under the key "global" of the
state, and made two parameter groups of a list of parameters, the matrices first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from arsbench.optim.param_groups import ADAMW_KEYS, MOMENTS, is_matrix

if TYPE_CHECKING:
    from arsbench.optim.base import MatrixOptimizer

GLOBAL = "global"


def check_state(optimizer: MatrixOptimizer, state_dict: dict[str, Any]) -> None:
    """Refuse a state that `optimizer` cannot go on with; torch compares the numbers of groups and parameters.

    Raises:
        ValueError: naming what is missing.
    """
    refusal = f"state_dict is not {type(optimizer).__name__}'s"
    for group, saved in zip(optimizer.param_groups, state_dict["param_groups"], strict=False):
        missing = [key for key in group if key in optimizer.own_keys and key not in saved]
        if missing:
            raise ValueError(f"{refusal}: a parameter group has no {', '.join(missing)}")
        for index, p in zip(saved["params"], group["params"], strict=False):
            entries = state_dict["state"].get(index, {})
            needed = ("step", *(optimizer.matrix_state if is_matrix(group, p) else MOMENTS))
            missing = [key for key in needed if key not in entries]
            if entries and missing:
                raise ValueError(f"{refusal}: the state of a parameter has no {', '.join(missing)}")


def converted(optimizer: MatrixOptimizer, state_dict: dict[str, Any]) -> dict[str, Any]:
    """A `state_dict` of version 0.1.0 in today's layout for `optimizer`; any other as it is."""
    if GLOBAL not in state_dict["state"]:
        return state_dict
    state = dict(state_dict["state"])
    progress = state.pop(GLOBAL)
    left = list(state_dict["param_groups"])
    groups = []
    for group in optimizer.param_groups:
        if not left:
            break  # torch says that the numbers of groups differ
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
    """One group of what were a group of matrices and one of the rest, taken from `left`."""
    matrices = [is_matrix(group, p) for p in group["params"]]
    parts = {kind: left.pop(0) if left and kind in matrices else {} for kind in (True, False)}
    rest = {f"adam_{key}": parts[False][key] for key in ADAMW_KEYS if key in parts[False]}
    joined = {**group, **parts[False], **parts[True], **rest}
    joined["base_lr"] = float(joined["lr"])
    # In the order of today's group; one too many or too few is left for torch to find.
    indices = {kind: list(part.get("params", ())) for kind, part in parts.items()}
    ordered = [indices[kind].pop(0) for kind in matrices if indices[kind]]
    joined["params"] = [*ordered, *indices[True], *indices[False]]
    for name in ("kind", "param_names"):
        joined.pop(name, None)
    return joined
