"""ARS: AdaRMSuon on a sharpness-aware gradient.

A *sync* step runs the loss twice: once at θ (gradient g₁), once at θ + e, uphill (g₂), and updates with g₂.
What g₂ has beside its projection on g₁, the *flatness vector* f, is kept; a *lazy* step runs the loss once
and adds to its gradient g the vector f at α times g's length. Source: the ARS project (dmf-archive/ARS); SAM,
P. Foret et al. (2021); reuse of its second gradient, Y. Liu et al., "LookSAM" (2022).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from arsbench import ops
from arsbench.optim.adarmsuon import adarmsuon_update
from arsbench.optim.base import Bucket, MatrixOptimizer, Outcome, Parameters, join
from arsbench.optim.flatness import (
    cosine_names,
    cosines,
    global_cosine,
    injected_dots,
    injection_strengths,
    no_cosines,
    with_averaged,
)
from arsbench.optim.sync_schedule import adaptive_schedule, is_sync_step
from arsbench.second_moment import default_second_moment, published_second_moment


class ARS(MatrixOptimizer):
    """ARS for matrices, the same with AdamW's update for the rest.

    `step` needs a closure unless k is 0. It calls it once or twice, with gradients enabled; the closure
    zeroes the gradients, computes the loss, calls backward and returns the loss, and `step` returns the
    first. Between its two calls a sync step moves the parameters, and puts them back to the same bits even if
    the closure raises (the flatness vectors are then gone: nothing is injected until the next sync step).
    Afterwards `p.grad` holds the gradient of the last call, before injection. Parameters without a gradient
    in one of the calls are skipped (and lose their flatness vector in a sync step). A closure with random
    parts (dropout) draws anew in its second call. A caller that has no closure to give, such as Hugging
    Face's Trainer, uses k = 0. Without a closure and with every learning rate at 0, `step` makes the state
    and moves nothing, which is how PyTorch's distributed checkpoints prepare an optimizer for loading.

    The schedule counts the optimizer's steps t; bias corrections count each tensor's own.

    Diagnostics beside the base's: `sync` (1 if the last step was one, else 0); `cos_pos_i` and
    `cos_pos_i_pre`, the mean over tensors of cos(g, f) (0 where there is no f) after and before injection at
    position i of the cycle (i = t mod k in the fixed schedule), each an EMA (0.9 old, 0.1 new); with
    adaptive_sync `phi` and `strength`, the first group's alpha as scaled.

    Args:
        params: parameters, named parameters or groups, see `MatrixOptimizer`.
        lr, betas, eps, weight_decay: learning rate, decays of the two moments, ε and decoupled weight decay
            of the matrices.
        ns_steps: Newton-Schulz iterations.
        rho: length of each tensor's perturbation e. A group may have its own, as of alpha, adaptive and
            second_moment.
        k: 0: no SAM, which is AdaRMSuon; 1: every step is a sync step; above: the steps t with t mod k = 1
            are.
        alpha: length of the injected f, relative to the gradient's.
        adaptive: scale the perturbation element-wise by |θ| (ASAM, J. Kwon et al., 2021).
        adaptive_sync: A-GSAM's schedule, for k ≥ 2. φ, the cosine between all of g and all of f, is measured
            at every step; it syncs when φ < −adaptive_lambda·√(mean of φ²), at the latest k steps after the
            last sync, and scales alpha by (1+max(0,φ))^adaptive_gamma. The mean is an EMA of decay
            adaptive_beta. Waits for the device once a step.
        second_moment: what v sees on a lazy step, g being the plain gradient and g′ the injected one.
            "bounded": v ← max(β₂v + (1−β₂)g², (1−β₂)g′²), which is "plain" but where v is next to nothing.
            "plain": v ← β₂v + (1−β₂)g², the published formula of the fixed schedule. It is dangerous: where
            a sync step's first pass has a gradient and its second has none (a ReLU that switches off,
            dropout, another batch), v = 0 and f ≠ 0, the next lazy step divides by ε, and one step may throw
            a weight by hundreds. "injected": v ← β₂v + (1−β₂)g′², as published for A-GSAM. None, the
            default, is "injected" with adaptive_sync and "bounded" without.
        adam_lr, adam_betas, adam_eps, adam_weight_decay: learning rate, decays of the two moments, ε and
            decoupled weight decay of the tensors that take AdamW; `adam_lr` None means `lr`.
        maximize: go up the loss instead of down, on flat hills.
    """

    matrix_keys = ("lr", "betas", "eps", "weight_decay", "ns_steps")
    shared_keys = ("rho", "alpha", "adaptive", "second_moment", "maximize")
    # t, the t of the last sync step (0: none yet), A-GSAM's EMA of φ², the averaged cosines: in every group,
    # since groups are what PyTorch's checkpoints save.
    progress_keys = ("schedule_step", "last_sync", "phi_squared", "cosines")

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-4,
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
        adam_lr: float | None = None,
        adam_betas: tuple[float, float] = (0.9, 0.999),
        adam_eps: float = 1e-8,
        adam_weight_decay: float = 0.01,
        maximize: bool = False,
    ) -> None:
        arguments = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "ns_steps": ns_steps,
            "rho": rho, "k": k, "alpha": alpha, "adaptive": adaptive, "adaptive_sync": adaptive_sync,
            "adaptive_beta": adaptive_beta, "adaptive_lambda": adaptive_lambda,
            "adaptive_gamma": adaptive_gamma, "second_moment": second_moment, "adam_lr": adam_lr,
            "adam_betas": adam_betas, "adam_eps": adam_eps, "adam_weight_decay": adam_weight_decay,
            "maximize": maximize,
        }  # fmt: skip
        if second_moment is None:
            arguments["second_moment"] = default_second_moment(adaptive_sync)
        self._positions: list[int] = []  # of the cycle, that have been averaged
        super().__init__(params, arguments)
        if adaptive_sync and k < 2:
            raise ValueError(f"k must be 2 or more with adaptive_sync, not {k}")

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        averages, k = self.param_groups[0]["cosines"], self.defaults["k"]
        if averages.shape != no_cosines(k).shape:  # of another cycle
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
        """What a group of that version's state lacks, by its entry "global"."""
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
        return {
            "schedule_step": 0,
            "last_sync": 0,
            "phi_squared": 0.0,
            "cosines": no_cosines(self.defaults["k"]),
        }

    def _set_progress(self, **values: Any) -> None:
        for group in self.param_groups:
            group |= values

    def state_names(self, matrix: bool) -> tuple[str, ...]:
        """See `MatrixOptimizer.state_names`; a flatness vector of zeros is none."""
        return super().state_names(matrix) + (("flatness",) if self.defaults["k"] > 1 else ())

    def _advance(self, closure: Callable[[], Any] | None) -> list[Outcome]:
        options, progress = self.defaults, self.param_groups[0]
        k, step = options["k"], progress["schedule_step"] + 1
        if k == 0:
            outcomes = super()._advance(closure)
            self._set_progress(schedule_step=step)
            return outcomes
        if closure is None:
            if any(float(group["lr"]) for group in self.param_groups):
                raise ValueError(
                    "closure must be given to ARS.step unless k is 0: sync steps run the loss twice"
                )
            self._buckets()
            return []
        # After a second pass that raised there are none; the states of new parameters begin with zeros.
        has_flatness = any(
            "flatness" in self.state.get(p, ()) for group in self.param_groups for p in group["params"]
            if p.grad is not None
        )  # fmt: skip
        buckets = self._buckets()
        since_sync = step - progress["last_sync"]
        phi_squared, amplification = progress["phi_squared"], 1.0
        if options["adaptive_sync"]:
            fresh = not has_flatness or progress["last_sync"] == 0
            dots = [] if fresh else self._measure(buckets)
            phi = global_cosine(dots)
            sync, phi_squared, amplification = adaptive_schedule(
                phi, phi_squared, since_sync, k=k, beta=options["adaptive_beta"],
                threshold=options["adaptive_lambda"], gamma=options["adaptive_gamma"],
            )  # fmt: skip
            sync = sync or fresh
            self._measured |= {"sync": int(sync), "phi": phi, "strength": progress["alpha"] * amplification}
        else:
            sync = is_sync_step(step, k)
            dots = [] if sync else self._measure(buckets)
            self._measured["sync"] = int(sync)
        if sync:
            buckets = self._second_pass(closure, buckets)
            outcomes = [self._update(bucket) for bucket in buckets]
            self._set_progress(last_sync=step)
        else:
            outcomes = self._lazy_update(buckets, dots, amplification, position=(1 + since_sync) % k)
        # Only now: an exception in the second pass leaves the schedule's own numbers as they were.
        self._set_progress(schedule_step=step, phi_squared=phi_squared)
        return outcomes

    def _update_matrices(self, bucket: Bucket, **injection: Any) -> Outcome:
        return adarmsuon_update(
            bucket.params, bucket.grads, bucket.entries("exp_avg"), bucket.entries("exp_avg_sq"),
            step=bucket.step, **bucket.settings, **injection,
        )  # fmt: skip

    def _measure(self, buckets: list[Bucket]) -> list[Tensor]:
        """`ops.ars_dots(g, f)` of each bucket."""
        return [ops.ars_dots(bucket.grads, bucket.entries("flatness")) for bucket in buckets]

    def _second_pass(self, closure: Callable[[], Any], buckets: list[Bucket]) -> list[Bucket]:
        """Run the closure uphill of the parameters and keep the flatness vectors; no moment is touched.

        Returns:
            buckets of the parameters that had a gradient in both passes, with the second.
        """
        first = {p: grad for bucket in buckets for p, grad in zip(bucket.params, bucket.grads, strict=True)}
        # Taken out of p.grad, the first gradients are safe from a closure that zeroes in place.
        self.zero_grad(set_to_none=True)
        backups: list[list[Tensor]] = []
        try:
            for bucket in buckets:
                group, settings = bucket.group, bucket.settings
                backups.append(ops.ars_perturb(
                    bucket.params, bucket.grads, bucket.entries("exp_avg_sq"),
                    rho=group["rho"], beta2=settings["betas"][1], eps=settings["eps"], step=bucket.step,
                    adaptive=group["adaptive"], backups=_space_for_backups(bucket),
                ))  # fmt: skip
            with torch.enable_grad():
                closure()
        except BaseException:
            _restore(buckets, backups)
            _drop_flatness(chain.from_iterable(bucket.states for bucket in buckets))
            raise
        _restore(buckets, backups)
        buckets = self._buckets(among=first)
        if self.defaults["k"] > 1:
            for bucket in buckets:
                base = [first.pop(p) for p in bucket.params]
                ops.ars_residual(bucket.grads, base, bucket.entries("flatness"))
            # Those that had no gradient in the second pass hold a backup, or nothing.
            _drop_flatness(self.state[p] for p in first)
            self._make_states(list(first), ("flatness",))
        return buckets

    def _lazy_update(
        self, buckets: list[Bucket], dots: list[Tensor], amplification: float, position: int
    ) -> list[Outcome]:
        outcomes, before, after = [], [], []
        for bucket, dot in zip(buckets, dots, strict=True):
            strengths = injection_strengths(dot, bucket.group["alpha"] * amplification)
            before.append(cosines(dot))
            after.append(cosines(injected_dots(dot, strengths)))
            outcomes.append(self._update(
                bucket, flats=bucket.entries("flatness"), strengths=strengths,
                second_moment=bucket.group["second_moment"],
            ))  # fmt: skip
        if before:
            now = torch.stack((join(after).mean(), join(before).mean()))
            averages = self.param_groups[0]["cosines"]
            self._set_progress(cosines=with_averaged(averages, position, now))
            if position not in self._positions:
                self._positions.append(position)
        return outcomes


def _space_for_backups(bucket: Bucket) -> list[Tensor] | None:
    """The old flatness vectors, which have served, where the parameters fit into them.

    The second pass is where a step needs most memory. That of the old vectors holds the parameters during it,
    and the new vectors after it: a sync step allocates nothing of the parameters' size.
    """
    flats = [state.get("flatness") for state in bucket.states]
    if all(f is not None and f.dtype == p.dtype for f, p in zip(flats, bucket.params, strict=True)):
        return flats
    _drop_flatness(bucket.states)
    return None


def _drop_flatness(states: Iterable[dict[str, Any]]) -> None:
    for state in states:
        state.pop("flatness", None)


def _restore(buckets: list[Bucket], backups: list[list[Tensor]]) -> None:
    # Fewer backups than buckets: a perturbation failed, and left its own bucket alone.
    for bucket, backup in zip(buckets, backups, strict=False):
        ops.ars_restore(bucket.params, backup)
