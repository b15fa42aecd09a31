"""Bookkeeping shared by the optimizers that treat matrices and the rest differently.

A parameter group's `kind` says which update its tensors take: "matrix", the subclass's own, or "adamw". State
that belongs to no tensor (the step count, what was measured) is the entry `GLOBAL` of `Optimizer.state`, so
that `state_dict`, `load_state_dict` and `deepcopy` carry it like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from copy import deepcopy
from dataclasses import dataclass
from inspect import unwrap
from itertools import chain
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from arsbench import ops
from arsbench.optim.arguments import check_arguments

MATRIX, ADAMW = "matrix", "adamw"
MOMENTS = ("exp_avg", "exp_avg_sq")
ADAMW_KEYS = ("lr", "betas", "eps", "weight_decay")
GLOBAL = "global"
DTYPES = (torch.float32, torch.bfloat16, torch.float64)

Parameters = Iterable[Tensor] | Iterable[tuple[str, Tensor]] | Iterable[dict[str, Any]]


@dataclass
class Bucket:
    """Tensors that are updated in one call: same group, device, dtype and entries in the state."""

    group: dict[str, Any]
    params: list[Tensor]
    grads: list[Tensor]
    states: list[dict[str, Any]]

    def entries(self, name: str) -> list[Tensor]:
        return [state[name] for state in self.states]


class Outcome(NamedTuple):
    """What the update of one bucket reports, per tensor, in float64."""

    grad_norms: Tensor
    energies: Tensor | None = None


class MatrixOptimizer(torch.optim.Optimizer):
    """Base of ARS, AdaRMSuon, RMSuon, AdaMuon and Muon.

    A subclass names its matrix groups' hyperparameters in `matrix_keys`, those of every group in
    `shared_keys`, what it keeps of each of their tensors in `matrix_state`, and defines `_update_matrices`.

    Groups. A group may name its `kind`: "matrix" (tensors of two and more dimensions, flattened to (first,
    rest)) or "adamw". One that does not, and a plain iterable of parameters, is split by dimensions: two and
    more are matrices, the rest takes AdamW. (`split_parameters(model)` also keeps embeddings and heads out of
    the matrices.) An AdamW group's `lr`, `betas`, `eps` and `weight_decay` default to the constructor's
    `adam_lr` and so on; what a group gives itself goes before the constructor's value.
    """

    matrix_keys: ClassVar[tuple[str, ...]] = ()
    shared_keys: ClassVar[tuple[str, ...]] = ()
    matrix_state: ClassVar[tuple[str, ...]] = MOMENTS

    # torch's own, without the decorator around them that keeps torch.compile out: it imports all of the
    # compiler, a second and 70 MB, whether anything is ever compiled or not.
    zero_grad = unwrap(torch.optim.Optimizer.zero_grad)
    state_dict = unwrap(torch.optim.Optimizer.state_dict)

    def __init__(self, params: Parameters, arguments: dict[str, Any]) -> None:
        """`arguments`: the subclass's constructor arguments by name.

        Raises:
            ValueError: an argument out of range, a `kind` that does not exist, a matrix group with a tensor
                of fewer than two dimensions, or a tensor that is not float32, bfloat16 or float64.
        """
        check_arguments(arguments)
        super().__init__(params, {name: _tuple_of(value) for name, value in arguments.items()})
        self.state[GLOBAL] = {"step": 0, "diagnostics": {}}

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group; one without a `kind` may become two."""
        # torch's own checks, and its defaults, which are not ours.
        unwrap(torch.optim.Optimizer.add_param_group)(self, dict(param_group))
        whole = self.param_groups.pop()
        for p in whole["params"]:
            if p.dtype not in DTYPES:
                raise ValueError(f"params must be float32, bfloat16 or float64, not {p.dtype}")
        if "kind" in param_group:
            groups = [self._group(param_group["kind"], whole, range(len(whole["params"])), param_group)]
        else:
            chosen = {MATRIX: [], ADAMW: []}
            for i, p in enumerate(whole["params"]):
                chosen[MATRIX if p.ndim >= 2 else ADAMW].append(i)
            groups = [self._group(kind, whole, some, param_group) for kind, some in chosen.items() if some]
        self.param_groups.extend(groups)

    def _group(
        self, kind: str, whole: dict[str, Any], chosen: Iterable[int], given: dict[str, Any]
    ) -> dict[str, Any]:
        """The group of the tensors at the positions `chosen`, with the hyperparameters of its kind alone."""
        values = {**self.defaults, **given}
        if kind == MATRIX:
            settings = {name: values[name] for name in self.matrix_keys}
        elif kind == ADAMW:
            settings = {name: given.get(name, values[f"adam_{name}"]) for name in ADAMW_KEYS}
            if settings["lr"] is None:
                settings["lr"] = values["lr"]
        else:
            raise ValueError(f"kind must be {MATRIX!r} or {ADAMW!r}, not {kind!r}")
        settings |= {name: values[name] for name in self.shared_keys}
        check_arguments(settings)
        params = [whole["params"][i] for i in chosen]
        if kind == MATRIX and any(p.ndim < 2 for p in params):
            raise ValueError(
                "params of a matrix group must have two dimensions or more; kind='adamw' takes any"
            )
        # Whatever is no hyperparameter of ours is the caller's own label and stays.
        group = {name: value for name, value in whole.items() if name not in self.defaults}
        group |= {"params": params, "kind": kind}
        if "param_names" in whole:
            group["param_names"] = [whole["param_names"][i] for i in chosen]
        return group | {name: _tuple_of(value) for name, value in settings.items()}

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient.

        Args:
            closure: zeroes the gradients, computes the loss, calls backward and returns the loss.

        Returns:
            the closure's (first) result, or None without a closure.

        Raises:
            RuntimeError: a gradient is sparse.
        """
        loss = None if closure is None else torch.enable_grad()(closure)()
        step = self.state[GLOBAL]["step"] + 1
        self._record(self._advance(step, closure))
        self.state[GLOBAL]["step"] = step
        return loss

    def measurements(self) -> dict[str, Tensor | float]:
        """What the last step measured, where it lies: nothing waits for the device.

        Returns:
            `grad_norm`, the global 2-norm of the gradient that the update consumed, after perturbation and
            injection; `energy`, the mean of E over the matrices, where there is one. Tensors are of shape ().
        """
        return dict(self.state[GLOBAL]["diagnostics"])

    def diagnostics(self) -> dict[str, float]:
        """`measurements` as numbers; waits for the device."""
        return {name: float(value) for name, value in self.measurements().items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a `state_dict`, which afterwards shares no tensor with the optimizer.

        Raises:
            ValueError: its groups do not match, or it is not the state of an optimizer of this package.
        """
        loaded: dict[str, Any] = {}

        def keep(_: torch.optim.Optimizer, given: dict[str, Any]) -> None:
            if GLOBAL not in given["state"]:
                raise ValueError(f"state_dict has no entry {GLOBAL!r}: it is not {type(self).__name__}'s")
            loaded.update(given)

        # Registered last, it sees what the caller's own hooks made of the dict.
        with self.register_load_state_dict_pre_hook(keep):
            unwrap(torch.optim.Optimizer.load_state_dict)(self, state_dict)
        # torch casts floating-point state to the parameter's dtype, which would round float32 moments of
        # bfloat16 parameters: put the stored tensors in their place.
        saved = chain.from_iterable(group["params"] for group in loaded["param_groups"])
        params = chain.from_iterable(group["params"] for group in self.param_groups)
        for index, p in zip(saved, params, strict=True):
            if index in loaded["state"]:
                self.state[p] = {
                    name: value.to(p.device, copy=True) if isinstance(value, Tensor) else deepcopy(value)
                    for name, value in loaded["state"][index].items()
                }
        self.state[GLOBAL] = deepcopy(loaded["state"][GLOBAL])

    def _advance(self, step: int, closure: Callable[[], Any] | None) -> list[Outcome]:
        """The update proper, after the closure's first call; `step` counts from 1."""
        return [self._update(bucket, step) for bucket in self._buckets()]

    def _update(self, bucket: Bucket, step: int, **injection: Any) -> Outcome:
        update = self._update_matrices if bucket.group["kind"] == MATRIX else self._update_adamw
        return update(bucket, step, **injection)

    def _update_adamw(self, bucket: Bucket, step: int, **injection: Any) -> Outcome:
        group = bucket.group
        beta1, beta2 = group["betas"]
        grad_norms = ops.ars_adamw(
            bucket.params, bucket.grads, bucket.entries("exp_avg"), bucket.entries("exp_avg_sq"),
            lr=group["lr"], beta1=beta1, beta2=beta2, eps=group["eps"], weight_decay=group["weight_decay"],
            step=step, **injection,
        )  # fmt: skip
        return Outcome(grad_norms)

    def _update_matrices(self, bucket: Bucket, step: int, **injection: Any) -> Outcome:
        raise NotImplementedError

    def _buckets(self, among: Container[Tensor] | None = None) -> list[Bucket]:
        """Parameters with a gradient (among those given), in order; makes the state of new ones."""
        buckets: dict[tuple, Bucket] = {}
        for index, group in enumerate(self.param_groups):
            chosen = [
                p
                for p in group["params"]
                if p.grad is not None and p.numel() and (among is None or p in among)
            ]
            if any(p.grad.layout != torch.strided for p in chosen):
                raise RuntimeError(f"{type(self).__name__} does not take sparse gradients")
            names = self.matrix_state if group["kind"] == MATRIX else MOMENTS
            self._make_states([p for p in chosen if not self.state[p]], names)
            for p in chosen:
                state = self.state[p]
                key = (index, p.device, p.dtype, tuple(state))
                bucket = buckets.setdefault(key, Bucket(group, [], [], []))
                bucket.params.append(p)
                bucket.grads.append(p.grad)
                bucket.states.append(state)
        return list(buckets.values())

    def _make_states(self, params: list[Tensor], names: tuple[str, ...]) -> None:
        """Zeros of each parameter's shape under each name, in the dtype that moments are kept in."""
        # torch.save refuses tensors of several dtypes in one block.
        alike: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
        for p in params:
            alike.setdefault((p.device, ops.state_dtype(p.dtype)), []).append(p)
        for some in alike.values():
            for name in names:
                for p, entry in zip(some, ops.empty_block(some, ops.state_dtype), strict=True):
                    self.state[p][name] = entry.zero_()

    def _record(self, outcomes: list[Outcome]) -> None:
        # Tensors, not numbers: nothing here waits for the device.
        diagnostics = self.state[GLOBAL]["diagnostics"]
        diagnostics["grad_norm"] = 0.0
        if outcomes:
            diagnostics["grad_norm"] = torch.linalg.vector_norm(join([o.grad_norms for o in outcomes]))
        energies = [o.energies for o in outcomes if o.energies is not None]
        if energies:
            diagnostics["energy"] = join(energies).mean()


def join(parts: list[Tensor]) -> Tensor:
    """Concatenate per-tensor results of buckets that may live on several devices."""
    return torch.cat([part.to(parts[0].device) for part in parts])


def _tuple_of(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
