"""The base class of the optimizers that update matrices differently from other parameters.

The state of a tensor, with its step count, is in `Optimizer.state`. Numbers that belong to the whole
optimizer are in every parameter group, since `state_dict`, deepcopy and PyTorch's distributed checkpoints
save only these two.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from copy import deepcopy
from inspect import unwrap
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, overload

import torch
from torch import Tensor

from arsbench import ops
from arsbench.optim.arguments import check_arguments
from arsbench.optim.buckets import Bucket, UpdateStatistics, join
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

Loss = TypeVar("Loss")
Parameters = Iterable[Tensor] | Iterable[tuple[str, Tensor]] | Iterable[dict[str, Any]]


class PlainOptimizer(torch.optim.Optimizer):
    """torch's base class without its decorator that disables torch.compile: at the first call, the decorator
    imports the whole compiler, which takes a second and 70 MB even if nothing is compiled."""

    if not TYPE_CHECKING:
        add_param_group = unwrap(torch.optim.Optimizer.add_param_group)
        zero_grad = unwrap(torch.optim.Optimizer.zero_grad)
        state_dict = unwrap(torch.optim.Optimizer.state_dict)
        load_state_dict = unwrap(torch.optim.Optimizer.load_state_dict)


class MatrixOptimizer(PlainOptimizer):
    """Base of ARS, AdaRMSuon, RMSuon, AdaMuon and Muon.

    A subclass lists the hyperparameters of its matrix update in `matrix_keys`, those that every group has in
    `shared_keys` and the state tensors of a matrix in `matrix_state`, and sets `update_matrices`.

    Groups. A group may have a `kind`: "matrix" (tensors of two or more dimensions, flattened to (first,
    rest)) or "adamw". In a group without a kind, and in a plain iterable of parameters, tensors of two or
    more dimensions are matrices. All others take AdamW with the group's `adam_lr`, `adam_betas`, `adam_eps`
    and `adam_weight_decay`. A scheduler of the group's `lr` scales `adam_lr` by the same factor. The `lr`,
    `betas`, `eps` and `weight_decay` of a group of kind "adamw" default to the constructor's `adam_lr` and so
    on. A value in a group takes precedence over the constructor's. (`split_parameters(model)` makes groups
    that also treat embeddings and heads as "adamw".)
    """

    # Updates the matrices of a bucket in place; ARS passes it the arguments of the injection.
    update_matrices: ClassVar[Callable[..., UpdateStatistics]]
    matrix_keys: ClassVar[tuple[str, ...]] = ()
    shared_keys: ClassVar[tuple[str, ...]] = ("maximize",)
    matrix_state: ClassVar[tuple[str, ...]] = MOMENTS
    # Entries of every group that change with the steps.
    progress_keys: ClassVar[tuple[str, ...]] = ()

    def __init__(self, params: Parameters, **hyperparameters: Any) -> None:
        """Check the hyperparameters and make the parameter groups.

        Raises:
            ValueError: a hyperparameter is out of range, a `kind` does not exist, a matrix group has a tensor
                of fewer than two dimensions, or a tensor is a DTensor or not float32, bfloat16 or float64.
        """
        check_arguments(hyperparameters)
        self._measured: dict[str, Tensor | float] = {}
        super().__init__(params, {name: tuple_of(value) for name, value in hyperparameters.items()})

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_measured": self._measured}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._measured = {}
        super().__setstate__(state)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters; see the class for its `kind`.

        Raises:
            ValueError: as in the constructor.
        """
        super().add_param_group(dict(param_group))
        group = self.param_groups.pop()
        check_parameters(group["params"], param_group.get("kind"), type(self).__name__)
        settings = group_settings(param_group, self.defaults, self.matrix_keys, self.shared_keys)
        check_arguments(settings)
        # torch filled in all defaults; of those, a group keeps the hyperparameters of its kind. Other entries
        # are labels of the caller.
        labels = {name: value for name, value in group.items() if name not in self.defaults}
        self.param_groups.append(labels | settings | self._progress())

    @property
    def group_keys(self) -> frozenset[str]:
        """The entries that this class keeps in groups; others are labels of the caller or a scheduler."""
        adamw = {*ADAMW_KEYS, *(f"adam_{name}" for name in ADAMW_KEYS), "base_lr"}
        return frozenset((*self.matrix_keys, *self.shared_keys, *self.progress_keys, *adamw))

    def entries_of_version_0_1_0(self, progress: dict[str, Any]) -> dict[str, Any]:
        """Entries of a group that version 0.1.0 did not save there, from its state's entry "global"."""
        return {"maximize": False}

    def _progress(self) -> dict[str, Any]:
        """The values of `progress_keys` for a new group."""
        return {}

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], Loss]) -> Loss: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient.

        Args:
            closure: zeroes the gradients, computes the loss, calls backward and returns the loss.

        Returns:
            the result of the closure's first call; None without a closure.

        Raises:
            RuntimeError: a gradient is sparse.
        """
        loss = None if closure is None else torch.enable_grad()(closure)()
        self._measured = {}
        self._record(self._advance(closure))
        return loss

    def measurements(self) -> dict[str, Tensor | float]:
        """Measurements of the last step, as tensors of shape () on their device: nothing waits for it.

        Returns:
            `grad_norm`, the global 2-norm of the gradient that the update used, after perturbation and
            injection; `energy`, the mean of E over the matrices, for optimizers that compute it.
        """
        return dict(self._measured)

    def diagnostics(self) -> dict[str, float]:
        """`measurements` as numbers; waits for the device."""
        return {name: float(value) for name, value in self.measurements().items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a `state_dict`, which afterwards shares no tensor with the optimizer.

        A state saved by version 0.1.0 is converted and continues bitwise identically.

        Raises:
            ValueError: its groups do not match, or it is the state of a different optimizer.
        """
        loaded: dict[str, Any] = {}

        def keep(_: torch.optim.Optimizer, saved: dict[str, Any]) -> dict[str, Any]:
            state = converted(self, saved)
            check_state(self, state, self.group_keys, self._required_state)
            loaded.update(state)
            return state

        # Registered last, it runs after the caller's hooks.
        with self.register_load_state_dict_pre_hook(keep):
            super().load_state_dict(state_dict)
        # torch casts floating-point state to the parameter's dtype, which rounds float32 moments of bfloat16
        # parameters: replace them by the saved tensors.
        saved = chain.from_iterable(group["params"] for group in loaded["param_groups"])
        params = chain.from_iterable(group["params"] for group in self.param_groups)
        for index, p in zip(saved, params, strict=True):
            if index in loaded["state"]:
                self.state[p] = {
                    # The host reads the step count.
                    name: value.to("cpu" if name == "step" else p.device, copy=True)
                    if isinstance(value, Tensor)
                    else deepcopy(value)
                    for name, value in loaded["state"][index].items()
                }

    def _advance(self, closure: Callable[[], Any] | None) -> list[UpdateStatistics]:
        """Update all parameters, after the first call of the closure."""
        return [self._update(bucket) for bucket in self._buckets()]

    def _update(self, bucket: Bucket, **injection: Any) -> UpdateStatistics:
        update = self.update_matrices if bucket.matrix else self._update_adamw
        statistics = update(bucket, **injection)
        torch._foreach_add_(bucket.entries("step"), 1)
        return statistics

    def _update_adamw(self, bucket: Bucket, **injection: Any) -> UpdateStatistics:
        settings = dict(bucket.settings)
        beta1, beta2 = settings.pop("betas")
        moments = bucket.entries("exp_avg"), bucket.entries("exp_avg_sq")
        settings |= {"beta1": beta1, "beta2": beta2, "step": bucket.step}
        return UpdateStatistics(ops.ars_adamw(bucket.params, bucket.grads, *moments, **settings, **injection))

    def _buckets(self, among: Container[Tensor] | None = None) -> list[Bucket]:
        """Parameters with a gradient (if set, only those in `among`), in order; adds missing state."""
        buckets: dict[tuple, Bucket] = {}
        for index, group in enumerate(self.param_groups):
            params = [p for p in group["params"] if p.grad is not None and p.numel()]
            params = [p for p in params if among is None or p in among]
            if any(p.grad.layout != torch.strided for p in params):
                raise RuntimeError(f"{type(self).__name__} does not support sparse gradients")
            for matrix in (True, False):
                chosen = [p for p in params if is_matrix(group, p) == matrix]
                self._make_states(chosen, self.state_names(matrix))
                for p in chosen:
                    state = self.state[p]
                    key = (index, matrix, step := int(state["step"]) + 1, p.device, p.dtype)
                    if key not in buckets:
                        settings = update_settings(group, matrix, self.matrix_keys)
                        buckets[key] = Bucket(group, matrix, step, settings)
                    buckets[key].params.append(p)
                    buckets[key].grads.append(p.grad)
                    buckets[key].states.append(state)
        for bucket in buckets.values():
            if bucket.group["maximize"]:
                bucket.grads = list(torch._foreach_neg(bucket.grads))
        return list(buckets.values())

    def state_names(self, matrix: bool) -> tuple[str, ...]:
        """The state tensors of a matrix, or of a tensor that takes AdamW, without its step."""
        return self.matrix_state if matrix else MOMENTS

    def _required_state(self, group: dict[str, Any], p: Tensor) -> tuple[str, ...]:
        """The state tensors that a saved state must have; a step makes other `state_names` if necessary."""
        return self.matrix_state if is_matrix(group, p) else MOMENTS

    def _make_states(self, params: list[Tensor], names: tuple[str, ...]) -> None:
        """Add zeros of each parameter's shape for each missing name, in `ops.state_dtype`."""
        # torch.save does not accept tensors of several dtypes in one block of memory.
        alike: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
        for p in params:
            if "step" not in self.state[p]:
                self.state[p]["step"] = torch.zeros((), dtype=torch.float32)
            alike.setdefault((p.device, ops.state_dtype(p.dtype)), []).append(p)
        for similar in alike.values():
            for name in names:
                new = [p for p in similar if name not in self.state[p]]
                for p, entry in zip(new, ops.empty_block(new, ops.state_dtype), strict=True):
                    self.state[p][name] = entry.zero_()

    def _record(self, statistics: list[UpdateStatistics]) -> None:
        # Tensors, not numbers: nothing here waits for the device.
        norms = [update.grad_norms for update in statistics]
        self._measured["grad_norm"] = torch.linalg.vector_norm(join(norms)) if norms else 0.0
        energies = [update.energies for update in statistics if update.energies is not None]
        if energies:
            self._measured["energy"] = join(energies).mean()
