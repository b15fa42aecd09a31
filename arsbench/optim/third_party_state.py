"""The state of third-party optimizers in checkpoints: whether it can be saved, and loading it exactly."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from arsbench.errors import UserError
from arsbench.optim.base import MatrixOptimizer


def check_storable(optimizer: torch.optim.Optimizer, name: str) -> None:
    """Refuse an optimizer whose state cannot be saved or loaded with `weights_only=True`.

    Call it after the first step, which makes the state: then little work is lost.

    Raises:
        UserError: with the optimizer's `name` and the part of the state that a checkpoint cannot hold.
    """
    buffer = io.BytesIO()
    try:
        torch.save(_without_tensors(optimizer.state_dict()), buffer)
        buffer.seek(0)
        torch.load(buffer, weights_only=True)
    except Exception as error:  # pickling third-party objects may raise anything
        lines = str(error).splitlines() or [type(error).__name__]
        reason = next((line.strip() for line in lines if "GLOBAL" in line), lines[0])
        raise UserError(
            f"the state of the optimizer {name} cannot be saved in a checkpoint ({reason}); its "
            f"state_dict() must return only tensors, numbers, strings, and lists, tuples and dicts of them"
        ) from error


def load_state(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Load a `state_dict` with every tensor in its saved dtype.

    `torch.optim.Optimizer.load_state_dict` casts floating-point tensors to the dtype of their parameter,
    which rounds float64 state, such as that of heavyball's PSGD.
    """
    optimizer.load_state_dict(state)
    if not isinstance(optimizer, MatrixOptimizer):  # which keeps the dtypes itself
        _as_saved(optimizer.state_dict(), state)  # its containers are the optimizer's


def _as_saved(loaded: Any, saved: Any) -> Any:
    """The loaded state with tensors of a different dtype replaced, in place if the container is mutable."""
    if isinstance(loaded, Tensor) and isinstance(saved, Tensor):
        return loaded if loaded.dtype == saved.dtype else saved.to(loaded.device, copy=True)
    if isinstance(loaded, dict) and isinstance(saved, dict):
        for key in loaded.keys() & saved.keys():
            loaded[key] = _as_saved(loaded[key], saved[key])
    elif type(loaded) is type(saved) and type(loaded) in (list, tuple):
        items = [_as_saved(item, other) for item, other in zip(loaded, saved, strict=True)]
        if isinstance(loaded, tuple):
            return tuple(items)
        loaded[:] = items
    return loaded


def _without_tensors(state: Any) -> Any:
    """The same state with None in place of tensors, which needs little memory."""
    if isinstance(state, Tensor):
        return None
    if type(state) is dict:
        return {key: _without_tensors(value) for key, value in state.items()}
    return type(state)(map(_without_tensors, state)) if type(state) in (list, tuple) else state
