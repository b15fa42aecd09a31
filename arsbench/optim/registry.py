"""Optimizers by name: ours, and anybody else's as "their_package.module:TheirOptimizer"."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from arsbench.config.optimizers import optimizer_keys
from arsbench.config.schema import OptimizerConfig
from arsbench.errors import UserError, nearest
from arsbench.optim.adamuon import AdaMuon
from arsbench.optim.adamw import AdamW
from arsbench.optim.adarmsuon import AdaRMSuon
from arsbench.optim.ars import ARS
from arsbench.optim.base import MatrixOptimizer
from arsbench.optim.groups import split_parameters
from arsbench.optim.muon import Muon
from arsbench.optim.param_groups import ADAMW, ADAMW_KEYS
from arsbench.optim.rmsuon import RMSuon

OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    cls.__name__: cls for cls in (ARS, AdaRMSuon, RMSuon, AdaMuon, Muon, AdamW)
}


def create_optimizer(
    model: nn.Module, config: OptimizerConfig, given: Mapping[str, Any], matrices: str = "hidden"
) -> torch.optim.Optimizer:
    """Make the optimizer that a configuration names.

    One of ours takes from `config` the arguments that it has. AdamW gets one group, the others
    `split_parameters`'.

    Another package's class takes as keyword arguments what the user wrote in the optimizer table, except
    `name` and the keys that begin with `adam_`, and as parameters the groups of `split_parameters`, matrices
    first, empty ones left out. `adam_lr`, `adam_betas`, `adam_eps` and `adam_weight_decay`, where the user
    wrote them, stand in the second group as its `lr`, `betas`, `eps` and `weight_decay`.

    Args:
        model: its trainable parameters are optimized.
        config: the optimizer table with its defaults.
        given: the optimizer table as the user wrote it.
        matrices: as of `split_parameters`.

    Raises:
        UserError: the name is unknown or cannot be imported, or an argument is unknown or refused,
            or a group of parameters has no learning rate.
    """
    groups = [group for group in split_parameters(model, matrices) if group["params"]]
    if not groups:
        raise UserError(f"{type(model).__name__} has no trainable parameter; unfreeze some to train it")
    if ":" in config.name:
        cls = _load(config.name)
        arguments = _foreign_arguments(cls, given, groups)
    else:
        arguments = {name: getattr(config, name) for name in optimizer_keys(config.name)}
        cls = OPTIMIZERS[config.name]
        if cls is AdamW:
            groups = [{"params": [p for p in model.parameters() if p.requires_grad]}]
    try:
        optimizer = cls(groups, **arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"the optimizer {config.name} refuses its configuration: {error}") from error
    for group in optimizer.param_groups:
        if not isinstance(group.get("lr"), float | int | Tensor):
            raise UserError(
                f"the optimizer {config.name} has the learning rate {group.get('lr')!r}; give optimizer.lr "
                f"as a number, which the schedule needs in every group of parameters"
            )
    return optimizer


def measurements(optimizer: torch.optim.Optimizer) -> dict[str, Tensor | float]:
    """What the last step measured, to be asked for before the gradients are zeroed; nothing waits.

    Ours report on themselves. Of any other optimizer only `grad_norm` is known, the global 2-norm of the
    gradients as it left them.
    """
    if isinstance(optimizer, MatrixOptimizer | AdamW):
        return optimizer.measurements()
    gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    return {"grad_norm": torch.nn.utils.get_total_norm(gradients)}


def accepts_closure(optimizer: torch.optim.Optimizer) -> bool:
    """Whether `optimizer.step` takes a closure; one that does not needs the gradients computed before."""
    return "closure" in inspect.signature(optimizer.step).parameters


def _load(name: str) -> type[torch.optim.Optimizer]:
    """The class that "package.module:Class" names."""
    module_name, _, class_name = name.partition(":")
    try:
        cls = getattr(importlib.import_module(module_name), class_name)
    except Exception as error:  # a module of the user's may raise anything
        problem = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(
            f"optimizer.name {name!r} cannot be imported ({problem}); install or correct it"
        ) from error
    if not (inspect.isclass(cls) and issubclass(cls, torch.optim.Optimizer)):
        raise UserError(f"optimizer.name {name!r} is not a torch.optim.Optimizer; name a class that is")
    if issubclass(cls, torch.optim.SparseAdam):
        raise UserError(f"optimizer.name {name!r} needs sparse gradients, and no model has any; name Adam")
    return cls


def _foreign_arguments(
    cls: type[torch.optim.Optimizer], given: Mapping[str, Any], groups: list[dict[str, Any]]
) -> dict[str, Any]:
    """Keyword arguments for another package's class; puts the `adam_` values into the groups."""
    parameters = inspect.signature(cls).parameters
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    _, *accepted = parameters  # the first takes the groups
    arguments = {}
    for key, value in given.items():
        own = key.removeprefix("adam_") if key in [f"adam_{known}" for known in ADAMW_KEYS] else key
        if key == "name":
            continue
        if own not in accepted and not takes_any:
            raise UserError(f"{cls.__name__} does not take optimizer.{key}{nearest(own, accepted)}")
        value = tuple(value) if isinstance(value, list) else value
        if own == key:
            arguments[key] = value
        elif value is not None:
            for group in groups:
                if group["kind"] == ADAMW:
                    group[own] = value
    return arguments
