"""The hyperparameters of the built-in optimizers, each declared once: type, default, limits and meaning.

The constructors' checks (`arsbench.optim.arguments`), the section `optimizer` of a configuration, the limits
of a suite's search spaces and docs/configuration.md derive from this declaration. The constructors in
`arsbench.optim` are ordinary signatures; tests/optim/test_signatures.py holds them to it.
"""

from __future__ import annotations

import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

from arsbench.config.keys import key
from arsbench.errors import UserError, nearest, shown

# All but AdamW update matrices, and other parameters by AdamW with the hyperparameters named `adam_…`.
_MATRIX_OPTIMIZERS = ("ARS", "AdaRMSuon", "RMSuon", "AdaMuon", "Muon")
_OPTIMIZERS = (*_MATRIX_OPTIMIZERS, "AdamW")

_every = partial(key, optimizers=_OPTIMIZERS, minimum=0)
_moments = partial(key, optimizers=tuple(name for name in _OPTIMIZERS if name != "Muon"), minimum=0)
_matrix = partial(key, optimizers=_MATRIX_OPTIMIZERS, minimum=0)
_ars = partial(key, optimizers=("ARS",))


@dataclass
class Hyperparameters:
    """Every hyperparameter of a built-in optimizer.

    The default of a field is the configuration's. Its metadata has, in addition to that of `key`,
    `optimizers`, the classes that have it, and `class_defaults`, different defaults of constructors by class.
    """

    lr: float = _every(1e-4, "learning rate", class_defaults={"AdaMuon": 1e-3, "Muon": 1e-3, "AdamW": 1e-3})
    betas: list[float] = _moments([0.9, 0.999], "decay rates of the first and second moment", below=1)
    eps: float = _moments(1e-8, "added to the square root of the second moment")
    weight_decay: float = _every(0.1, "decoupled weight decay", class_defaults={"AdamW": 0.01})
    ns_steps: int = _matrix(5, "Newton-Schulz iterations", maximum=100)
    rho: float = _ars(0.1, "radius of the SAM perturbation", minimum=0)
    k: int = _ars(
        5, "period in steps of the SAM (sync) steps; 1: every step, 0: never", minimum=0, maximum=10_000
    )
    alpha: float = _ars(
        0.1, "length of the flatness vector injected on lazy steps, relative to the gradient's", minimum=0
    )
    adam_lr: float | None = _matrix(None, "learning rate of the AdamW group (default: `lr`)")
    adam_betas: list[float] = _matrix([0.9, 0.999], "decay rates of the AdamW group", below=1)
    adam_eps: float = _matrix(1e-8, "`eps` of the AdamW group")
    adam_weight_decay: float = _matrix(0.01, "weight decay of the AdamW group")
    momentum: float = key(
        0.95, "momentum of Muon and AdaMuon", optimizers=("AdaMuon", "Muon"), minimum=0, below=1
    )
    adaptive: bool = _ars(True, "ASAM: scale the perturbation by the parameters' absolute values")
    adaptive_sync: bool = _ars(
        False, "A-GSAM: sync when gradient and flatness vector disagree, at the latest after `k` (≥ 2) steps"
    )
    adaptive_beta: float = _ars(
        0.99, "A-GSAM: decay rate of the moving average of the squared cosine", minimum=0, below=1
    )
    adaptive_lambda: float = _ars(
        2.0, "A-GSAM: sync when the cosine is below minus this many root mean squares", minimum=0
    )
    adaptive_gamma: float = _ars(2.0, "A-GSAM: exponent of the injection strength", minimum=0)
    second_moment: str | None = _ars(
        None,
        "gradient in the update of the second moment on lazy steps; `plain`: as published, can move a weight "
        "by hundreds; `injected`; `bounded`: plain, with a lower bound from the injected one (default: "
        "`injected` with `adaptive_sync`, otherwise `bounded`)",
        choices=("bounded", "plain", "injected"),
    )


ANNOTATIONS: dict[str, Any] = typing.get_type_hints(Hyperparameters)
METADATA: dict[str, Any] = {entry.name: entry.metadata for entry in fields(Hyperparameters)}
# By optimizer, its hyperparameters with the defaults of its constructor; pairs are lists, as in JSON.
BUILT_IN: dict[str, dict[str, Any]] = {
    optimizer: {
        name: METADATA[name].get("class_defaults", {}).get(optimizer, default)
        for name, default in vars(Hyperparameters()).items()
        if optimizer in METADATA[name]["optimizers"]
    }
    for optimizer in _OPTIMIZERS
}


def default_second_moment(adaptive_sync: bool) -> str:
    """The `second_moment` of an ARS whose configuration does not set it."""
    return "injected" if adaptive_sync else "bounded"


def is_third_party(optimizer: Mapping[str, Any]) -> bool:
    """Whether an optimizer table names a third-party class, as `package.module:Class`."""
    return ":" in str(optimizer.get("name", ""))


def optimizer_keys(name: str) -> tuple[str, ...]:
    """The keys of the section `optimizer`, besides `name`, that a built-in optimizer has.

    Raises:
        UserError: there is no built-in optimizer of that name.
    """
    if name not in BUILT_IN:
        raise UserError(
            f"optimizer.name is {shown(name)}; it must be a built-in optimizer or package.module:Class"
            f"{nearest(name, BUILT_IN)}"
        )
    return tuple(BUILT_IN[name])


def check_named_keys(optimizer: str, keys: Iterable[str]) -> None:
    """Refuse keys that a user sets for an optimizer which does not have them.

    The table of a configuration file may hold keys of other built-in optimizers, so that one file serves them
    all. A key that is set for one optimizer must be a key of that optimizer: ignoring it would hide a
    mistake.

    Raises:
        UserError: the optimizer is built-in and lacks one of the keys.
    """
    for name in keys:
        if not has_key(optimizer, name):
            raise UserError(
                f"{optimizer} has no optimizer.{name}; its keys are {', '.join(optimizer_keys(optimizer))}"
            )


def has_key(optimizer: str, name: str) -> bool:
    """Whether this optimizer's section may have the key `name`; a third-party one's may have any."""
    return name == "name" or is_third_party({"name": optimizer}) or name in optimizer_keys(optimizer)
