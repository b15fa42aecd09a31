"""The state of third-party optimizers in checkpoints: whether one can hold it, and loading it to the bit."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from arsbench.errors import UserError
from arsbench.optim.base import MatrixOptimizer


def check_storable(optimizer: torch.optim.Optimizer, name: str) -> None:
    """Refuse an optimizer whose state cannot be saved, or not loaded with `weights_only=True`.

    To be called after the first step, when the state is there and no work would be lost.

    Args:
        optimizer: any.
        name: as the user knows it.

    Raises:
        UserError: says what in the state a checkpoint cannot hold.
    """
    buffer = io.BytesIO()
    try:
        torch.save(_without_tensors(optimizer.state_dict()), buffer)
        buffer.seek(0)
        torch.load(buffer, weights_only=True)
    except Exception as error:  # whatever pickling other people's objects raises
        lines = str(error).splitlines() or [type(error).__name__]
        reason = next((line.strip() for line in lines if "GLOBAL" in line), lines[0])
        raise UserError(
            f"the state of the optimizer {name} does not fit into a checkpoint ({reason}); let its "
            f"state_dict() return only tensors, numbers, strings, and lists, tuples and dicts of them"
        ) from error


def load_state(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Load a `state_dict` with every tensor in the dtype that it was saved in.

    `torch.optim.Optimizer.load_state_dict` casts floating-point tensors to the dtype of their parameter. That
    would round what a third-party optimizer keeps in float64, as heavyball's PSGD does.
    """
    optimizer.load_state_dict(state)
    if not isinstance(optimizer, MatrixOptimizer):  # these do it themselves
        _as_saved(optimizer.state_dict(), state)  # whose containers are the optimizer's own


def _as_saved(loaded: Any, saved: Any) -> Any:
    """What was loaded, with the tensors of another dtype replaced, in place where the container allows it."""
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
    """The same state, which takes next to no memory."""
    if isinstance(state, Tensor):
        return None
    if type(state) is dict:
        return {key: _without_tensors(value) for key, value in state.items()}
    return type(state)(map(_without_tensors, state)) if type(state) in (list, tuple) else state
