"""Bookkeeping shared by the optimizers that treat matrices and the rest differently.

State that belongs to a tensor, its own step count included, is in `Optimizer.state`; numbers that belong to
the optimizer are in every parameter group. Both survive `state_dict`, deepcopy and PyTorch's distributed
checkpoints, which know nothing else.
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
from arsbench.optim.param_groups import (
    ADAMW_KEYS,
    MOMENTS,
    check_parameters,
    group_settings,
    is_matrix,
    tuple_of,
    update_settings,
)
from arsbench.optim.saved_state import check_state, converted

Parameters = Iterable[Tensor] | Iterable[tuple[str, Tensor]] | Iterable[dict[str, Any]]


@dataclass
class Bucket:
    """Tensors that are updated in one call: same group, update, own step, device and dtype."""

    group: dict[str, Any]
    matrix: bool
    step: int  # that is being taken, from 1
    settings: dict[str, Any]  # of the update, the learning rate as a number
    params: list[Tensor]
    grads: list[Tensor]  # negated where the group maximizes
    states: list[dict[str, Any]]

    def entries(self, name: str) -> list[Tensor]:
        return [state[name] for state in self.states]


class Outcome(NamedTuple):
    """What the update of one bucket reports, per tensor, in float64."""

    grad_norms: Tensor
    energies: Tensor | None = None


class MatrixOptimizer(torch.optim.Optimizer):
    """Base of ARS, AdaRMSuon, RMSuon, AdaMuon and Muon.

    A subclass names its matrices' hyperparameters in `matrix_keys`, those of every group in `shared_keys` and
    what it keeps of each matrix in `matrix_state`, and defines `_update_matrices`.

    Groups. A group is one list of parameters, and stays one. It may name its `kind`: "matrix" (tensors of two
    and more dimensions, flattened to (first, rest)) or "adamw". In a group without a kind, and in a plain
    iterable of parameters, tensors of two and more dimensions are matrices and the rest takes AdamW with the
    group's `adam_lr`, `adam_betas`, `adam_eps` and `adam_weight_decay`; `adam_lr` is scaled by what the
    group's `lr` has become of the `lr` that it was made with, so that a scheduler of `lr` scales both.
    (`split_parameters(model)` also keeps embeddings and heads out of the matrices.) The `lr`, `betas`, `eps`
    and `weight_decay` of a group of kind "adamw" default to the constructor's `adam_lr` and so on. What a
    group gives itself goes before the constructor's value.
    """

    matrix_keys: ClassVar[tuple[str, ...]] = ()
    shared_keys: ClassVar[tuple[str, ...]] = ("maximize",)
    matrix_state: ClassVar[tuple[str, ...]] = MOMENTS
    # Entries of every group that are not hyperparameters but change with the steps.
    progress_keys: ClassVar[tuple[str, ...]] = ()

    # torch's own, without the decorator around them that keeps torch.compile out: it imports all of the
    # compiler, a second and 70 MB, whether anything is ever compiled or not.
    zero_grad = unwrap(torch.optim.Optimizer.zero_grad)
    state_dict = unwrap(torch.optim.Optimizer.state_dict)

    def __init__(self, params: Parameters, arguments: dict[str, Any]) -> None:
        """`arguments`: the subclass's constructor arguments by name.

        Raises:
            ValueError: an argument out of range, a `kind` that does not exist, a matrix group with a tensor
                of fewer than two dimensions, or a tensor that is a DTensor or not float32, bfloat16 or
                float64.
        """
        check_arguments(arguments)
        self._measured: dict[str, Tensor | float] = {}
        super().__init__(params, {name: tuple_of(value) for name, value in arguments.items()})

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_measured": self._measured}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._measured = {}
        super().__setstate__(state)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters; see the class for its `kind`."""
        # torch's own checks, and its defaults, which are not ours.
        unwrap(torch.optim.Optimizer.add_param_group)(self, dict(param_group))
        group = self.param_groups.pop()
        check_parameters(group["params"], param_group.get("kind"), type(self).__name__)
        settings = group_settings(param_group, self.defaults, self.matrix_keys, self.shared_keys)
        check_arguments(settings)
        # Whatever is no hyperparameter of ours is the caller's own label and stays.
        labels = {name: value for name, value in group.items() if name not in self.defaults}
        self.param_groups.append(labels | settings | self._progress())

    @property
    def own_keys(self) -> frozenset[str]:
        """What this class keeps in groups; the rest are the caller's labels, or a scheduler's."""
        rest = {*ADAMW_KEYS, *(f"adam_{name}" for name in ADAMW_KEYS), "base_lr"}
        return frozenset((*self.matrix_keys, *self.shared_keys, *self.progress_keys, *rest))

    def entries_of_version_0_1_0(self, progress: dict[str, Any]) -> dict[str, Any]:
        """What a group of that version's state lacks, by its entry "global"."""
        return {"maximize": False}

    def _progress(self) -> dict[str, Any]:
        """The values of `progress_keys` in a group that is added now."""
        return {}

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
        self._measured = {}
        self._record(self._advance(closure))
        return loss

    def measurements(self) -> dict[str, Tensor | float]:
        """What the last step measured, where it lies: nothing waits for the device.

        Returns:
            `grad_norm`, the global 2-norm of the gradient that the update consumed, after perturbation and
            injection; `energy`, the mean of E over the matrices, where there is one. Tensors are of shape ().
        """
        return dict(self._measured)

    def diagnostics(self) -> dict[str, float]:
        """`measurements` as numbers; waits for the device."""
        return {name: float(value) for name, value in self.measurements().items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a `state_dict`, which afterwards shares no tensor with the optimizer.

        State that version 0.1.0 saved is taken, too, and goes on bitwise as it would have there.

        Raises:
            ValueError: its groups do not match, or it is not the state of an optimizer of this package.
        """
        loaded: dict[str, Any] = {}

        def keep(_: torch.optim.Optimizer, given: dict[str, Any]) -> dict[str, Any]:
            state = converted(self, given)
            check_state(self, state, self.own_keys, self._names_of)
            loaded.update(state)
            return state

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
                    # Steps are read by the host, whatever the device.
                    name: value.to("cpu" if name == "step" else p.device, copy=True)
                    if isinstance(value, Tensor)
                    else deepcopy(value)
                    for name, value in loaded["state"][index].items()
                }

    def _advance(self, closure: Callable[[], Any] | None) -> list[Outcome]:
        """The update proper, after the closure's first call."""
        return [self._update(bucket) for bucket in self._buckets()]

    def _update(self, bucket: Bucket, **injection: Any) -> Outcome:
        update = self._update_matrices if bucket.matrix else self._update_adamw
        outcome = update(bucket, **injection)
        torch._foreach_add_(bucket.entries("step"), 1)
        return outcome

    def _update_adamw(self, bucket: Bucket, **injection: Any) -> Outcome:
        settings = dict(bucket.settings)
        beta1, beta2 = settings.pop("betas")
        grad_norms = ops.ars_adamw(
            bucket.params, bucket.grads, bucket.entries("exp_avg"), bucket.entries("exp_avg_sq"),
            beta1=beta1, beta2=beta2, step=bucket.step, **settings, **injection,
        )  # fmt: skip
        return Outcome(grad_norms)

    def _update_matrices(self, bucket: Bucket, **injection: Any) -> Outcome:
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
            for matrix in (True, False):
                some = [p for p in chosen if is_matrix(group, p) == matrix]
                self._make_states(some, self.state_names(matrix))
                for p in some:
                    state = self.state[p]
                    key = (index, matrix, step := int(state["step"]) + 1, p.device, p.dtype)
                    if key not in buckets:
                        settings = update_settings(group, matrix, self.matrix_keys)
                        buckets[key] = Bucket(group, matrix, step, settings, [], [], [])
                    buckets[key].params.append(p)
                    buckets[key].grads.append(p.grad)
                    buckets[key].states.append(state)
        for bucket in buckets.values():
            if bucket.group["maximize"]:
                bucket.grads = list(torch._foreach_neg(bucket.grads))
        return list(buckets.values())

    def state_names(self, matrix: bool) -> tuple[str, ...]:
        """What is kept of a matrix, or of a tensor that takes AdamW, beside its step."""
        return self.matrix_state if matrix else MOMENTS

    def _names_of(self, group: dict[str, Any], p: Tensor) -> tuple[str, ...]:
        """What a saved state must hold of a tensor; what else `state_names` has may be made later."""
        return self.matrix_state if is_matrix(group, p) else MOMENTS

    def _make_states(self, params: list[Tensor], names: tuple[str, ...]) -> None:
        """Zeros of each parameter's shape under each name that it lacks, in the dtype of moments."""
        # torch.save refuses tensors of several dtypes in one block.
        alike: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
        for p in params:
            if "step" not in self.state[p]:
                self.state[p]["step"] = torch.zeros((), dtype=torch.float32)
            alike.setdefault((p.device, ops.state_dtype(p.dtype)), []).append(p)
        for some in alike.values():
            for name in names:
                new = [p for p in some if name not in self.state[p]]
                for p, entry in zip(new, ops.empty_block(new, ops.state_dtype), strict=True):
                    self.state[p][name] = entry.zero_()

    def _record(self, outcomes: list[Outcome]) -> None:
        # Tensors, not numbers: nothing here waits for the device.
        self._measured["grad_norm"] = 0.0
        if outcomes:
            norms = join([outcome.grad_norms for outcome in outcomes])
            self._measured["grad_norm"] = torch.linalg.vector_norm(norms)
        energies = [outcome.energies for outcome in outcomes if outcome.energies is not None]
        if energies:
            self._measured["energy"] = join(energies).mean()


def join(parts: list[Tensor]) -> Tensor:
    """Concatenate per-tensor results of buckets that may live on several devices."""
    return torch.cat([part.to(parts[0].device) for part in parts])
