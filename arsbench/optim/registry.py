"""Optimizers by name: built-in ones, and third-party ones as "package.module:Class"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from arsbench.config.hyperparameters import optimizer_keys
from arsbench.config.schema import OptimizerConfig
from arsbench.errors import UserError
from arsbench.optim.adamuon import AdaMuon
from arsbench.optim.adamw import AdamW
from arsbench.optim.adarmsuon import AdaRMSuon
from arsbench.optim.ars import ARS
from arsbench.optim.base import MatrixOptimizer
from arsbench.optim.muon import Muon
from arsbench.optim.param_groups import split_parameters
from arsbench.optim.rmsuon import RMSuon
from arsbench.optim.third_party import create_third_party

OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    cls.__name__: cls for cls in (ARS, AdaRMSuon, RMSuon, AdaMuon, Muon, AdamW)
}


def create_optimizer(
    model: nn.Module, config: OptimizerConfig, given: Mapping[str, Any], matrices: str = "hidden"
) -> torch.optim.Optimizer:
    """Make the optimizer of a configuration.

    A built-in optimizer takes its hyperparameters from `config`. AdamW gets one group, the others those of
    `split_parameters`. `create_third_party` makes third-party optimizers.

    Args:
        model: its trainable parameters are optimized.
        config: the optimizer table with its defaults.
        given: the optimizer table as written.
        matrices: as of `split_parameters`.

    Raises:
        UserError: the name is unknown or cannot be imported, an argument is unknown or refused, a parameter
            group has no learning rate, or the model has no trainable parameter.
    """
    if not any(p.requires_grad for p in model.parameters()):
        raise UserError(f"{type(model).__name__} has no trainable parameter; set requires_grad of some")
    if ":" in config.name:
        return create_third_party(model, config, given, matrices)
    arguments = {name: getattr(config, name) for name in optimizer_keys(config.name)}
    cls = OPTIMIZERS[config.name]
    if cls is AdamW:
        groups = [{"params": [p for p in model.parameters() if p.requires_grad]}]
    else:
        groups = [group for group in split_parameters(model, matrices) if group["params"]]
    try:
        return cls(groups, **arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"the optimizer {config.name} refuses its configuration: {error}") from error


def measurements(optimizer: torch.optim.Optimizer) -> dict[str, Tensor | float]:
    """The measurements of a built-in optimizer's last step; empty for a third-party optimizer.

    Call it before the gradients are zeroed. Nothing waits for the device.
    """
    return optimizer.measurements() if isinstance(optimizer, MatrixOptimizer | AdamW) else {}


def gradient_norm(optimizer: torch.optim.Optimizer) -> Tensor:
    """Global 2-norm of the gradients of an optimizer's parameters, shape (); does not wait for the device."""
    gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    return torch.nn.utils.get_total_norm(gradients)
