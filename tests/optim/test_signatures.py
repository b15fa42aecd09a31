"""The constructors of the built-in optimizers are what `arsbench.config.hyperparameters` declares."""

from __future__ import annotations

import inspect
import re

import pytest

import arsbench.optim
from arsbench.config.hyperparameters import ANNOTATIONS, BUILT_IN, METADATA
from arsbench.ops.reference.ars_moments import SECOND_MOMENTS
from arsbench.optim.registry import OPTIMIZERS

# Arguments that no configuration sets.
REST = {"params", "maximize"}
# Annotations by argument, where a constructor takes more types than a configuration, or by declared type.
WRITTEN = {
    "lr": "float | Tensor",
    "adam_lr": "float | Tensor | None",
    float: "float",
    int: "int",
    bool: "bool",
    list[float]: "tuple[float, float]",
    str | None: "str | None",
}


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_constructor_has_the_declared_arguments_and_defaults(name: str) -> None:
    parameters = inspect.signature(getattr(arsbench.optim, name)).parameters
    assert set(parameters) - REST == set(BUILT_IN[name])
    for key, default in BUILT_IN[name].items():
        signature_default = parameters[key].default
        assert signature_default == (tuple(default) if isinstance(default, list) else default), key


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_constructors_annotations_are_the_declared_types(name: str) -> None:
    parameters = inspect.signature(getattr(arsbench.optim, name)).parameters
    for key in BUILT_IN[name]:
        expected = WRITTEN.get(key, WRITTEN.get(ANNOTATIONS[key]))
        assert parameters[key].annotation == expected, key


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_class_docstring_describes_every_argument(name: str) -> None:
    cls = getattr(arsbench.optim, name)
    arguments = cls.__doc__.split("Args:")[1]
    described = set(re.findall(r"\w+", " ".join(re.findall(r"^ {8}(\w.*?):", arguments, re.MULTILINE))))
    assert set(inspect.signature(cls).parameters) <= described


def test_the_registry_and_the_declaration_name_the_same_classes() -> None:
    assert list(OPTIMIZERS) == list(BUILT_IN)
    for name, cls in OPTIMIZERS.items():
        assert getattr(arsbench.optim, name) is cls


def test_a_declaration_names_existing_classes_and_different_defaults() -> None:
    for key, metadata in METADATA.items():
        assert metadata["optimizers"], key
        assert set(metadata["optimizers"]) <= set(OPTIMIZERS), key
        assert set(metadata.get("class_defaults", {})) <= set(metadata["optimizers"]), key


def test_the_ops_and_the_declaration_name_the_same_second_moments() -> None:
    assert set(METADATA["second_moment"]["choices"]) == set(SECOND_MOMENTS)
