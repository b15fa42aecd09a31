"""ARS: AdaRMSuon on a sharpness-aware gradient.

A *sync* step runs the loss twice, at θ (gradient g₁) and uphill at θ + e (gradient g₂), and updates with g₂.
It keeps the *flatness vector* f, the part of g₂ orthogonal to g₁. A *lazy* step runs the loss once and adds f
to its gradient g, scaled to α times the length of g. Sources: the ARS project (dmf-archive/ARS); SAM, P.
Foret et al. (2021); reuse of its second gradient, Y. Liu et al., "LookSAM" (2022).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from arsbench import ops
from arsbench.config.hyperparameters import default_second_moment
from arsbench.optim.adarmsuon import adarmsuon_update
from arsbench.optim.arguments import arguments_of
from arsbench.optim.base import MatrixOptimizer, Parameters
from arsbench.optim.buckets import Bucket, UpdateStatistics, join
from arsbench.optim.flatness import (
    adaptive_schedule,
    cosine_names,
    cosines,
    drop_flatness,
    global_cosine,
    injected_dots,
    injection_strengths,
    no_cosines,
    space_for_backups,
    with_averaged,
)
from arsbench.runs.version_0_1_0 import published_second_moment


class ARS(MatrixOptimizer):
    """ARS for matrices; other parameters take AdamW on the same sharpness-aware gradient.

    `step` needs a closure unless k is 0, and calls it once or twice with gradients enabled. The closure
    zeroes the gradients, computes the loss, calls backward and returns the loss; `step` returns the first
    loss. A sync step moves the parameters before the second call, and restores them bitwise, also if the
    closure raises. (Then the flatness vectors are lost, and nothing is injected until the next sync step.)
    After the step `p.grad` is the gradient of the last call, before injection. A parameter without a gradient
    in one of the calls is skipped, and loses its flatness vector in a sync step. Random parts of a closure,
    such as dropout, differ between the two calls. A caller that cannot provide a closure, such as Hugging
    Face's Trainer, uses k = 0. Without a closure, and with every learning rate at 0, `step` makes the state
    and moves nothing: PyTorch's distributed checkpoints prepare an optimizer for loading in this way.

    The schedule counts the optimizer's steps t. Bias corrections count the steps of each tensor.

    Measurements in addition to those of `MatrixOptimizer`: `sync` (1 after a sync step, otherwise 0);
    `cos_pos_i` and `cos_pos_i_pre`, the mean over tensors of cos(g, f), 0 without f, after and before
    injection at position i of the cycle (i = t mod k in the fixed schedule), as an EMA (0.9 old, 0.1 new);
    with adaptive_sync also `phi` and `strength`, the scaled alpha of the first group.

    Args:
        params: parameters, named parameters or groups, see `MatrixOptimizer`.
        lr, betas, eps, weight_decay: learning rate, decay rates of both moments, ε and decoupled weight decay
            of the matrices.
        ns_steps: Newton-Schulz iterations.
        rho: length of each tensor's perturbation e. Groups may set rho, alpha, adaptive and second_moment.
        k: 0: no SAM, which is AdaRMSuon; 1: every step is a sync step; k > 1: steps with t mod k = 1 are.
        alpha: length of the injected f, relative to the length of the gradient.
        adaptive: scale the perturbation element-wise by |θ| (ASAM, J. Kwon et al., 2021).
        adaptive_sync: the schedule of A-GSAM, for k ≥ 2. Every step measures φ, the cosine between all of g
            and all of f, and waits once for the device. A sync step follows when
            φ < −λ·√EMA(φ²), and at the latest k steps after the last one. alpha is scaled by
            (1+max(0,φ))^γ.
        adaptive_beta, adaptive_lambda, adaptive_gamma: decay rate of EMA(φ²), λ and γ of adaptive_sync.
        second_moment: update of v on a lazy step, with the plain gradient g and the injected gradient g′.
            "plain": v ← β₂v + (1−β₂)g², as published for the fixed schedule. With v = 0 and f ≠ 0 (a ReLU
            that switches off between the passes, dropout, a new batch) it divides by ε, and one step may move
            a weight by hundreds. "bounded": v ← max(β₂v + (1−β₂)g², (1−β₂)g′²), which differs from "plain"
            only for v near 0. "injected": v ← β₂v + (1−β₂)g′², as published for A-GSAM. None: "injected"
            with adaptive_sync, otherwise "bounded".
        adam_lr, adam_betas, adam_eps, adam_weight_decay: the same hyperparameters for the parameters that
            take AdamW; `adam_lr` None means `lr`.
        maximize: maximize the loss, towards flat maxima.
    """

    update_matrices = staticmethod(adarmsuon_update)
    matrix_keys = ("lr", "betas", "eps", "weight_decay", "ns_steps")
    shared_keys = ("rho", "alpha", "adaptive", "second_moment", "maximize")
    # t, t of the last sync step (0: none yet), A-GSAM's EMA of φ² and the averaged cosines.
    progress_keys = ("schedule_step", "last_sync", "phi_squared", "cosines")

    def __init__(
        self,
        params: Parameters,
        lr: float | Tensor = 1e-4,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.1,
        ns_steps: int = 5,
        rho: float = 0.1,
        k: int = 5,
        alpha: float = 0.1,
        *,
        adaptive: bool = True,
        adaptive_sync: bool = False,
        adaptive_beta: float = 0.99,
        adaptive_lambda: float = 2.0,
        adaptive_gamma: float = 2.0,
        second_moment: str | None = None,
        adam_lr: float | Tensor | None = None,
        adam_betas: tuple[float, float] = (0.9, 0.999),
        adam_eps: float = 1e-8,
        adam_weight_decay: float = 0.01,
        maximize: bool = False,
    ) -> None:
        if second_moment is None:
            second_moment = default_second_moment(adaptive_sync)
        self._positions: list[int] = []  # of the cycle with an average, in order of appearance
        super().__init__(params, **arguments_of(locals()))
        if adaptive_sync and k < 2:
            raise ValueError(f"k is {k}; it must be ≥ 2 with adaptive_sync")

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        averages, k = self.param_groups[0]["cosines"], self.defaults["k"]
        if averages.shape != no_cosines(k).shape:  # saved with a different k
            averages = no_cosines(k)
        self._set_progress(cosines=averages)
        averaged = averages[:, 0].isinf().logical_not().nonzero().flatten().tolist()
        self._positions = sorted(averaged, key=lambda position: (position - 2) % k)

    def measurements(self) -> dict[str, Tensor | float]:
        """See `MatrixOptimizer.measurements` and the class."""
        averages = self.param_groups[0]["cosines"]
        named = {name: averages[row, column] for name, row, column in cosine_names(self._positions)}
        return super().measurements() | named

    def entries_of_version_0_1_0(self, progress: dict[str, Any]) -> dict[str, Any]:
        """See `MatrixOptimizer.entries_of_version_0_1_0`."""
        averages = no_cosines(self.defaults["k"])
        for name, row, column in cosine_names(range(self.defaults["k"])):
            if name in progress["diagnostics"]:
                averages[row, column] = float(progress["diagnostics"][name])
        return super().entries_of_version_0_1_0(progress) | {
            "second_moment": published_second_moment(self.defaults["adaptive_sync"]),
            "schedule_step": progress["step"],
            "last_sync": progress["last_sync"],
            "phi_squared": progress["phi_squared"],
            "cosines": averages,
        }

    def _progress(self) -> dict[str, Any]:
        if self.param_groups:
            return {name: self.param_groups[0][name] for name in self.progress_keys}
        averages = no_cosines(self.defaults["k"])
        return {"schedule_step": 0, "last_sync": 0, "phi_squared": 0.0, "cosines": averages}

    def _set_progress(self, **values: Any) -> None:
        for group in self.param_groups:
            group |= values

    def state_names(self, matrix: bool) -> tuple[str, ...]:
        """See `MatrixOptimizer.state_names`; a flatness vector of zeros injects nothing."""
        return super().state_names(matrix) + (("flatness",) if self.defaults["k"] > 1 else ())

    def _advance(self, closure: Callable[[], Any] | None) -> list[UpdateStatistics]:
        options, progress = self.defaults, self.param_groups[0]
        k, step = options["k"], progress["schedule_step"] + 1
        if k == 0:
            statistics = super()._advance(closure)
            self._set_progress(schedule_step=step)
            return statistics
        if closure is None:
            if any(float(group["lr"]) for group in self.param_groups):
                raise ValueError(
                    "ARS.step needs a closure, as sync steps run the loss twice; pass one or use k=0"
                )
            self._buckets()
            return []
        # Before `_buckets` adds zeros: a second pass that raised has removed the vectors.
        params = chain.from_iterable(group["params"] for group in self.param_groups)
        has_flatness = any("flatness" in self.state.get(p, ()) for p in params if p.grad is not None)
        buckets = self._buckets()
        since_sync = step - progress["last_sync"]
        phi_squared, amplification, adaptive = progress["phi_squared"], 1.0, {}
        fresh = not has_flatness or progress["last_sync"] == 0
        sync = fresh if options["adaptive_sync"] else step % k == 1 % k
        dots = [] if sync else [ops.ars_dots(b.grads, b.entries("flatness")) for b in buckets]
        if options["adaptive_sync"]:
            phi = global_cosine(dots)
            due, phi_squared, amplification = adaptive_schedule(
                phi, phi_squared, since_sync, k=k, beta=options["adaptive_beta"],
                threshold=options["adaptive_lambda"], gamma=options["adaptive_gamma"],
            )  # fmt: skip
            sync = sync or due
            adaptive = {"phi": phi, "strength": progress["alpha"] * amplification}
        self._measured |= {"sync": int(sync), **adaptive}
        if sync:
            buckets = self._second_pass(closure, buckets)
            statistics = [self._update(bucket) for bucket in buckets]
            self._set_progress(last_sync=step)
        else:
            statistics = self._lazy_update(buckets, dots, amplification, position=(1 + since_sync) % k)
        # Last, so that an exception in the second pass leaves the schedule unchanged.
        self._set_progress(schedule_step=step, phi_squared=phi_squared)
        return statistics

    def _second_pass(self, closure: Callable[[], Any], buckets: list[Bucket]) -> list[Bucket]:
        """Run the closure at the perturbed parameters and keep the flatness vectors; moments do not change.

        Returns:
            buckets of the parameters with a gradient in both passes, with that of the second pass.
        """
        first = {p: grad for bucket in buckets for p, grad in zip(bucket.params, bucket.grads, strict=True)}
        # A closure may zero gradients in place: detach the first ones from p.grad.
        self.zero_grad(set_to_none=True)
        backups: list[list[Tensor]] = []
        try:
            for bucket in buckets:
                group, settings = bucket.group, bucket.settings
                backup = ops.ars_perturb(
                    bucket.params, bucket.grads, bucket.entries("exp_avg_sq"),
                    rho=group["rho"], beta2=settings["betas"][1], eps=settings["eps"], step=bucket.step,
                    adaptive=group["adaptive"], backups=space_for_backups(bucket),
                )  # fmt: skip
                backups.append(backup)
            with torch.enable_grad():
                closure()
        except BaseException:
            drop_flatness(chain.from_iterable(bucket.states for bucket in buckets))
            raise
        finally:
            for bucket, backup in zip(buckets, backups, strict=False):  # the perturbed ones, after an error
                ops.ars_restore(bucket.params, backup)
        buckets = self._buckets(among=first)
        if self.defaults["k"] > 1:
            for bucket in buckets:
                base = [first.pop(p) for p in bucket.params]
                ops.ars_residual(bucket.grads, base, bucket.entries("flatness"))
            # The vectors of parameters without a gradient in the second pass hold a backup, or nothing.
            drop_flatness(self.state[p] for p in first)
            self._make_states(list(first), ("flatness",))
        return buckets

    def _lazy_update(
        self, buckets: list[Bucket], dots: list[Tensor], amplification: float, position: int
    ) -> list[UpdateStatistics]:
        statistics, before, after = [], [], []
        for bucket, dot in zip(buckets, dots, strict=True):
            strengths = injection_strengths(dot, bucket.group["alpha"] * amplification)
            before.append(cosines(dot))
            after.append(cosines(injected_dots(dot, strengths)))
            injection = {"flats": bucket.entries("flatness"), "strengths": strengths}
            second_moment = bucket.group["second_moment"]
            statistics.append(self._update(bucket, second_moment=second_moment, **injection))
        if before:
            now = torch.stack((join(after).mean(), join(before).mean()))
            averages = self.param_groups[0]["cosines"]
            self._set_progress(cosines=with_averaged(averages, position, now))
            if position not in self._positions:
                self._positions.append(position)
        return statistics
