"""Third-party optimizers, named as "package.module:Class" in a configuration."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from arsbench.config.schema import OptimizerConfig
from arsbench.errors import UserError, nearest
from arsbench.optim.adamw import AdamW
from arsbench.optim.composite import Composite
from arsbench.optim.groups import split_parameters
from arsbench.optim.param_groups import ADAMW_KEYS
from arsbench.optim.protocol import mode_switch

# What wrappers call the optimizer that they wrap: SAM and timm's Lookahead, schedulefree, pytorch_optimizer's
# Lookahead, heavyball.
BASE_ARGUMENTS = ("base_optimizer", "base", "optimizer", "wrapped_optimizer")
# Keys of the optimizer table that no constructor gets.
OWN_KEYS = ("name", "groups", "base")
ADAM_KEYS = {f"adam_{key}": key for key in ADAMW_KEYS}


def create_third_party(
    model: nn.Module, config: OptimizerConfig, given: Mapping[str, Any], matrices: str
) -> torch.optim.Optimizer:
    """Make the third-party optimizer that `config.name` names.

    It gets what the user wrote in the optimizer table as keyword arguments, except `name`, `groups`, `base`
    and `adam_lr`, `adam_betas`, `adam_eps` and `adam_weight_decay`. `config.groups` says which parameters:

    - "split": the groups of `split_parameters`, matrices first, empty ones left out. The `adam_` keys, where
      the user wrote them, are the second group's `lr`, `betas`, `eps` and `weight_decay`.
    - "one": a list of all parameters. There is no place for `adam_` keys.
    - "rest_adamw": the group of matrices. The others go to AdamW with the `adam_` keys; both are a
      `Composite`. AdamW's default learning rate is that of the named optimizer.

    `config.base` names the optimizer that this one wraps. It goes to the argument whose name is one of
    `BASE_ARGUMENTS`: ready made where that is the first argument or the wrapper takes no **kwargs, else as a
    class beside the parameters, its own keyword arguments among the **kwargs. A key that the wrapper names is
    the wrapper's, any other the base's.

    Args:
        model: its trainable parameters are optimized.
        config: the optimizer table with its defaults.
        given: the optimizer table as the user wrote it.
        matrices: as of `split_parameters`.

    Raises:
        UserError: a name cannot be imported, a key is unknown, the constructor raises, or a group of
            parameters has no learning rate.
    """
    arguments, adam = {}, {}
    for key, value in given.items():
        value = tuple(value) if isinstance(value, list) else value
        if key in ADAM_KEYS:
            adam[key] = value
        elif key not in OWN_KEYS:
            arguments[key] = value
    recipe = _Recipe.read(config, arguments)
    if config.groups == "one":
        if adam:
            raise UserError(
                f"optimizer.{next(iter(adam))} is for a group that optimizer.groups 'one' does not make; "
                f"leave it out, or choose 'split' or 'rest_adamw'"
            )
        return recipe.make([p for p in model.parameters() if p.requires_grad])
    groups = split_parameters(model, matrices)
    if config.groups == "split":
        for key, value in adam.items():
            recipe.check(key, ADAM_KEYS[key])
            if value is not None:
                groups[1][ADAM_KEYS[key]] = value
        return recipe.make([group for group in groups if group["params"]])
    matrix_group, rest = groups
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
        raise UserError(f"AdamW, for the rest, refuses its configuration: {error}") from error


@dataclass
class _Signature:
    """What a constructor takes: its first argument, the names of the others, and whether any keyword."""

    cls: type[torch.optim.Optimizer]
    first: str | None
    names: list[str]
    required: set[str]
    any_keyword: bool

    @classmethod
    def of(cls, optimizer: type[torch.optim.Optimizer]) -> _Signature:
        parameters = inspect.signature(optimizer).parameters.values()
        kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        named = [p for p in parameters if p.kind not in kinds]
        return cls(
            optimizer,
            named[0].name if named else None,
            [p.name for p in named[1:]],
            {p.name for p in named if p.default is p.empty},
            any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters),
        )


@dataclass
class _Recipe:
    """An optimizer, perhaps around another, with the keyword arguments of each."""

    name: str
    outer: _Signature
    arguments: dict[str, Any]
    base: _Signature | None
    base_arguments: dict[str, Any]
    base_argument: str | None

    @classmethod
    def read(cls, config: OptimizerConfig, arguments: Mapping[str, Any]) -> _Recipe:
        """Load the classes and give each the arguments that are its own."""
        outer = _Signature.of(_load("name", config.name))
        argument = next((name for name in BASE_ARGUMENTS if name in (outer.first, *outer.names)), None)
        if config.base is None:
            if argument in outer.required and argument not in arguments:
                raise UserError(
                    f"{outer.cls.__name__} wraps another optimizer; name it in optimizer.base, "
                    f"such as torch.optim:AdamW"
                )
            base = None
        elif argument is None:
            raise UserError(
                f"optimizer.base is {config.base!r}, and {outer.cls.__name__} wraps no other optimizer (no "
                f"argument of its is called {', '.join(BASE_ARGUMENTS)}); leave optimizer.base out"
            )
        else:
            base = _Signature.of(_load("base", config.base))
        recipe = cls(config.name, outer, {}, base, {}, argument)
        for key, value in arguments.items():
            recipe.check(key, key)
            of_base = base is not None and key not in outer.names
            (recipe.base_arguments if of_base else recipe.arguments)[key] = value
        return recipe

    def check(self, key: str, argument: str) -> None:
        """Refuse a key of the optimizer table that no constructor takes as `argument`."""
        # What a wrapper takes as **kwargs is its base's.
        last = self.base or self.outer
        names = [name for name in self.outer.names if self.base is None or name != self.base_argument]
        if self.base is not None:
            names += [name for name in self.base.names if name not in names]
        if argument in names or last.any_keyword:
            return
        classes = f"{self.outer.cls.__name__} does not take"
        if self.base is not None:
            classes = f"neither {self.outer.cls.__name__} nor {self.base.cls.__name__} takes"
        raise UserError(f"{classes} optimizer.{key}{nearest(argument, names)}")

    def make(self, params: list[Any]) -> torch.optim.Optimizer:
        """The optimizer of these parameters or groups, in training mode where it has one."""
        try:
            optimizer = self._make(params)
            switch = mode_switch(optimizer)
            if switch is not None:
                switch.train()
        except Exception as error:  # other people's code may raise anything
            raise UserError(
                f"the optimizer {self.name} refuses its configuration ({_problem(error)}); change it, or "
                f"choose with optimizer.groups which parameters it gets"
            ) from error
        for group in optimizer.param_groups:
            if not isinstance(group.get("lr"), float | int | Tensor):
                raise UserError(
                    f"the optimizer {self.name} has the learning rate {group.get('lr')!r}; give optimizer.lr "
                    f"as a number, which the schedule needs in every group of parameters"
                )
        return optimizer

    def _make(self, params: list[Any]) -> torch.optim.Optimizer:
        outer, base, argument = self.outer, self.base, self.base_argument
        if base is None:
            return outer.cls(params, **self.arguments)
        if outer.any_keyword and argument != outer.first:
            return outer.cls(params, **{argument: base.cls}, **self.arguments, **self.base_arguments)
        made = base.cls(params, **self.base_arguments)
        if argument == outer.first:
            return outer.cls(made, **self.arguments)
        # The base's groups, so that a schedule that sets the wrapper's `lr` sets the base's.
        return outer.cls(made.param_groups, **{argument: made}, **self.arguments)


def _load(key: str, name: str) -> type[torch.optim.Optimizer]:
    """The class that "package.module:Class" names, the value of a key of the optimizer table."""
    module_name, _, class_name = name.partition(":")
    try:
        cls = getattr(importlib.import_module(module_name), class_name)
    except Exception as error:  # a module of the user's may raise anything
        raise UserError(
            f"optimizer.{key} {name!r} cannot be imported ({_problem(error)}); install or correct it"
        ) from error
    if not (inspect.isclass(cls) and issubclass(cls, torch.optim.Optimizer)):
        raise UserError(f"optimizer.{key} {name!r} is not a torch.optim.Optimizer; name a class that is")
    if issubclass(cls, torch.optim.SparseAdam):
        raise UserError(f"optimizer.{key} {name!r} needs sparse gradients, and no model has any; name Adam")
    return cls


def _problem(error: Exception) -> str:
    """The error's type and message in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())
