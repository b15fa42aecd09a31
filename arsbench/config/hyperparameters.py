"""The hyperparameters of the built-in optimizers, each declared once: type, default, limits and meaning.

The constructors' checks (`arsbench.optim.arguments`), the section `optimizer` of a configuration, the limits
of a suite's search spaces and docs/configuration.md derive from this declaration. The constructors in
`arsbench.optim` are ordinary signatures; tests/optim/test_signatures.py holds them to it.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, fields
from typing import Any

from arsbench.config.keys import key

# For matrices; all other parameters take AdamW with the hyperparameters that begin with `adam_`.
MATRIX_OPTIMIZERS = ("ARS", "AdaRMSuon", "RMSuon", "AdaMuon", "Muon")
OPTIMIZERS = (*MATRIX_OPTIMIZERS, "AdamW")
_WITH_MOMENTS = ("ARS", "AdaRMSuon", "RMSuon", "AdaMuon", "AdamW")
_WITH_MOMENTUM = ("AdaMuon", "Muon")
_ARS = ("ARS",)


@dataclass
class Hyperparameters:
    """Every hyperparameter of a built-in optimizer.

    A field's default is the configuration's. Its metadata has, beside the limits
    (`arsbench.config.keys.key`), `optimizers`: the classes that have it; and `class_defaults`: the defaults
    of the classes whose constructor differs from the configuration.
    """

    lr: float = key(
        1e-4,
        "learning rate",
        minimum=0,
        optimizers=OPTIMIZERS,
        class_defaults={"AdaMuon": 1e-3, "Muon": 1e-3, "AdamW": 1e-3},
    )
    betas: list[float] = key(
        [0.9, 0.999],
        "decay rates of the first and second moment; AdaMuon uses the second alone",
        minimum=0,
        below=1,
        optimizers=_WITH_MOMENTS,
    )
    eps: float = key(
        1e-8, "added to the square root of the second moment", minimum=0, optimizers=_WITH_MOMENTS
    )
    weight_decay: float = key(
        0.1, "decoupled weight decay", minimum=0, optimizers=OPTIMIZERS, class_defaults={"AdamW": 0.01}
    )
    ns_steps: int = key(5, "Newton-Schulz iterations", minimum=0, maximum=100, optimizers=MATRIX_OPTIMIZERS)
    rho: float = key(0.1, "radius of the SAM perturbation", minimum=0, optimizers=_ARS)
    k: int = key(
        5,
        "period in steps of the SAM (sync) steps; 1: every step, 0: never",
        minimum=0,
        maximum=10_000,
        optimizers=_ARS,
    )
    alpha: float = key(
        0.1,
        "length of the flatness vector that a lazy step injects, relative to the gradient's length",
        minimum=0,
        optimizers=_ARS,
    )
    adam_lr: float | None = key(
        None, "learning rate of the AdamW group (default: `lr`)", minimum=0, optimizers=MATRIX_OPTIMIZERS
    )
    adam_betas: list[float] = key(
        [0.9, 0.999],
        "decay rates of both moments in the AdamW group",
        minimum=0,
        below=1,
        optimizers=MATRIX_OPTIMIZERS,
    )
    adam_eps: float = key(1e-8, "`eps` of the AdamW group", minimum=0, optimizers=MATRIX_OPTIMIZERS)
    adam_weight_decay: float = key(
        0.01, "weight decay of the AdamW group", minimum=0, optimizers=MATRIX_OPTIMIZERS
    )
    momentum: float = key(0.95, "momentum of Muon and AdaMuon", minimum=0, below=1, optimizers=_WITH_MOMENTUM)
    adaptive: bool = key(
        True, "ASAM: scale the perturbation by the parameters' absolute values", optimizers=_ARS
    )
    adaptive_sync: bool = key(
        False,
        "A-GSAM: sync when gradient and flatness vector disagree, and at the latest after `k` steps; needs "
        "`k` ≥ 2",
        optimizers=_ARS,
    )
    adaptive_beta: float = key(
        0.99,
        "A-GSAM: decay rate of the moving average of the squared cosine",
        minimum=0,
        below=1,
        optimizers=_ARS,
    )
    adaptive_lambda: float = key(
        2.0,
        "A-GSAM: sync when the cosine is below minus this many root mean squares",
        minimum=0,
        optimizers=_ARS,
    )
    adaptive_gamma: float = key(2.0, "A-GSAM: exponent of the injection strength", minimum=0, optimizers=_ARS)
    second_moment: str | None = key(
        None,
        "gradient that the second moment uses on a lazy step: `plain`, as published, which can move a weight "
        "by hundreds; `bounded`, the plain one with a lower bound from the injected one; `injected` "
        "(default: `injected` with `adaptive_sync`, else `bounded`)",
        choices=("bounded", "plain", "injected"),
        optimizers=_ARS,
    )


ANNOTATIONS: dict[str, Any] = typing.get_type_hints(Hyperparameters)
METADATA: dict[str, Mapping[str, Any]] = {entry.name: entry.metadata for entry in fields(Hyperparameters)}


def constructor_defaults(optimizer: str) -> dict[str, Any]:
    """The hyperparameters of a built-in optimizer with the defaults of its constructor, lists as lists."""
    configured = vars(Hyperparameters())
    return {
        name: deepcopy(metadata.get("class_defaults", {}).get(optimizer, configured[name]))
        for name, metadata in METADATA.items()
        if optimizer in metadata["optimizers"]
    }


def default_second_moment(adaptive_sync: bool) -> str:
    """The `second_moment` of an ARS whose configuration does not set it."""
    return "injected" if adaptive_sync else "bounded"
