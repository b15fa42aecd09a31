"""Third-party optimizers, named as "package.module:Class" in a configuration; see docs/third_party.md."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from arsbench.config.schema import CHOICE_KEYS, OptimizerConfig
from arsbench.errors import UserError, nearest
from arsbench.optim.adamw import AdamW
from arsbench.optim.composite import Composite
from arsbench.optim.param_groups import ADAMW_KEYS, split_parameters, tuple_of
from arsbench.optim.protocol import mode_switch

# The argument for the wrapped optimizer in SAM and timm's Lookahead, schedulefree, pytorch_optimizer's
# Lookahead, and heavyball.
BASE_ARGUMENTS = ("base_optimizer", "base", "optimizer", "wrapped_optimizer")
ADAM_KEYS = {f"adam_{key}": key for key in ADAMW_KEYS}


def create_third_party(
    model: nn.Module, config: OptimizerConfig, given: Mapping[str, Any], matrices: str
) -> torch.optim.Optimizer:
    """Make the third-party optimizer `config.name`, with the keys in `given` as keyword arguments.

    Arguments and errors are those of `create_optimizer`.

    `config.groups` chooses its parameters:

    - "split": the groups of `split_parameters`, matrices first, without empty groups. The `adam_` keys in
      `given` are the second group's `lr`, `betas`, `eps` and `weight_decay`.
    - "one": a list of all parameters; `adam_` keys are refused.
    - "rest_adamw": the matrices. AdamW with the `adam_` keys takes all other parameters, by default at the
      same learning rate; both are a `Composite`.

    `config.base` is the optimizer that this one wraps. It becomes the wrapper's argument named in
    `BASE_ARGUMENTS`: as an instance if that is the first argument or the wrapper has no **kwargs, otherwise
    as a class whose keyword arguments are among the **kwargs. A key that the wrapper's constructor names is
    the wrapper's; all other keys are the base's.
    """
    adam = {ADAM_KEYS[key]: tuple_of(value) for key, value in given.items() if key in ADAM_KEYS}
    others = (key for key in given if key not in (*CHOICE_KEYS, *ADAM_KEYS))
    recipe = _Recipe(config, {key: tuple_of(given[key]) for key in others})
    if config.groups == "one":
        if adam:
            raise UserError(
                f"optimizer.adam_{next(iter(adam))} is for a second parameter group, and optimizer.groups is "
                f"'one'; leave it out, or choose 'split' or 'rest_adamw'"
            )
        return recipe.make([p for p in model.parameters() if p.requires_grad])
    matrix_group, rest = split_parameters(model, matrices)
    if config.groups == "split":
        for name, value in adam.items():
            recipe.check(f"adam_{name}", name)
            if value is not None:
                rest[name] = value
        return recipe.make([group for group in (matrix_group, rest) if group["params"]])
    if not matrix_group["params"]:
        raise UserError(
            f"optimizer.groups is 'rest_adamw', and {type(model).__name__} has no matrix for {config.name}; "
            f"choose 'split' or 'one'"
        )
    optimizer = recipe.make([matrix_group])
    if not rest["params"]:
        return optimizer
    settings = {name: getattr(config, key) for key, name in ADAM_KEYS.items()}
    if settings["lr"] is None:
        settings["lr"] = float(optimizer.param_groups[0]["lr"])
    try:
        return Composite(optimizer, AdamW([rest], **settings))
    except ValueError as error:
        raise UserError(f"optimizer.adam_{error}") from error


class _Signature:
    """A constructor's first argument, the names of the others, and whether it takes any keyword."""

    def __init__(self, cls: type[torch.optim.Optimizer]) -> None:
        parameters = inspect.signature(cls).parameters.values()
        self.cls = cls
        self.any_keyword = any(p.kind is p.VAR_KEYWORD for p in parameters)
        named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        self.first, *self.names = [p.name for p in named] or [None]
        self.required = {p.name for p in named if p.default is p.empty}


class _Recipe:
    """An optimizer, perhaps around a base, with the keyword arguments of each."""

    def __init__(self, config: OptimizerConfig, arguments: Mapping[str, Any]) -> None:
        """Load the classes, and give each its arguments."""
        self.name = config.name
        self.outer = outer = _Signature(_load("name", config.name))
        self.base = _Signature(_load("base", config.base)) if config.base is not None else None
        taken = (outer.first, *outer.names)
        self.base_argument = next((name for name in BASE_ARGUMENTS if name in taken), None)
        if self.base and self.base_argument is None:
            raise UserError(
                f"optimizer.base is {config.base!r}, and {outer.cls.__name__} wraps no other optimizer (it "
                f"has no argument {', '.join(BASE_ARGUMENTS)}); leave optimizer.base out"
            )
        if not self.base and self.base_argument in outer.required - set(arguments):
            raise UserError(
                f"{outer.cls.__name__} wraps another optimizer; set optimizer.base, such as torch.optim:AdamW"
            )
        self.arguments: dict[str, Any] = {}
        self.base_arguments: dict[str, Any] = {}
        for key, value in arguments.items():
            self.check(key, key)
            of_base = self.base is not None and key not in outer.names
            (self.base_arguments if of_base else self.arguments)[key] = value

    def check(self, key: str, argument: str) -> None:
        """Refuse a key of the optimizer table that no constructor takes as `argument`."""
        names, classes = list(self.outer.names), f"{self.outer.cls.__name__} does not take"
        if self.base is not None:  # which also takes the wrapper's **kwargs
            names = [name for name in dict.fromkeys(names + self.base.names) if name != self.base_argument]
            classes = f"neither {self.outer.cls.__name__} nor {self.base.cls.__name__} takes"
        if argument not in names and not (self.base or self.outer).any_keyword:
            raise UserError(f"{classes} optimizer.{key}{nearest(argument, names)}")

    def make(self, params: list[Any]) -> torch.optim.Optimizer:
        """The optimizer of these parameters or groups, in training mode if it has modes."""
        try:
            optimizer = self._make(params)
            switch = mode_switch(optimizer)
            if switch is not None:
                switch.train()
        except Exception as error:  # third-party code may raise anything
            raise UserError(
                f"the optimizer {self.name} refuses its configuration ({_problem(error)}); change it, or "
                f"choose its parameters by optimizer.groups"
            ) from error
        for group in optimizer.param_groups:
            if not isinstance(group.get("lr"), float | int | Tensor):
                raise UserError(
                    f"the optimizer {self.name} has the learning rate {group.get('lr')!r} in a parameter "
                    f"group; set optimizer.lr to a number, which the schedule needs"
                )
        return optimizer

    def _make(self, params: list[Any]) -> torch.optim.Optimizer:
        outer, argument = self.outer, self.base_argument
        if self.base is None:
            return outer.cls(params, **self.arguments)
        if outer.any_keyword and argument != outer.first:
            return outer.cls(params, **{argument: self.base.cls}, **self.arguments, **self.base_arguments)
        base = self.base.cls(params, **self.base_arguments)
        if argument == outer.first:
            return outer.cls(base, **self.arguments)
        # The base's groups, so that a schedule that sets the wrapper's `lr` sets the base's.
        return outer.cls(base.param_groups, **{argument: base}, **self.arguments)


def _load(key: str, name: str) -> type[torch.optim.Optimizer]:
    """The class "package.module:Class", the value `name` of a key of the optimizer table."""
    module_name, _, class_name = name.partition(":")
    try:
        cls = getattr(importlib.import_module(module_name), class_name)
    except Exception as error:  # a module may raise anything
        raise UserError(
            f"optimizer.{key} {name!r} cannot be imported ({_problem(error)}); install or correct it"
        ) from error
    if not (inspect.isclass(cls) and issubclass(cls, torch.optim.Optimizer)):
        raise UserError(f"optimizer.{key} {name!r} is not a torch.optim.Optimizer; name a class that is one")
    if issubclass(cls, torch.optim.SparseAdam):
        raise UserError(
            f"optimizer.{key} {name!r} needs sparse gradients, which no model here has; name torch.optim:Adam"
        )
    return cls


def _problem(error: Exception) -> str:
    """The error's type and message in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())
