"""ARS: AdaRMSuon on a sharpness-aware gradient.

A *sync* step runs the loss twice: once at θ (gradient g₁), once at θ + e, uphill (g₂), and updates with g₂.
What g₂ has beside its projection on g₁, the *flatness vector* f, is kept; a *lazy* step runs the loss once
and adds to its gradient g the vector f at α times g's length. Source: the ARS project (dmf-archive/ARS); SAM,
P. Foret et al. (2021); reuse of its second gradient, Y. Liu et al., "LookSAM" (2022).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from arsbench import ops
from arsbench.optim.adarmsuon import adarmsuon_update
from arsbench.optim.base import GLOBAL, Bucket, MatrixOptimizer, Outcome, Parameters, join
from arsbench.optim.flatness import cosines, global_cosine, injected_dots, injection_strengths


def is_sync_step(step: int, k: int) -> bool:
    """Whether `step` (from 1) is a sync step of the fixed schedule of period k ≥ 1."""
    return k == 1 or step % k == 1


def adaptive_schedule(
    phi: float, phi_squared: float, since_sync: int, *, k: int, beta: float, threshold: float, gamma: float
) -> tuple[bool, float, float]:
    """One step of A-GSAM's schedule.

    Args:
        phi: the global cosine of this step's gradient with the flatness vectors.
        phi_squared: the EMA of its square before this step.
        since_sync: steps since the last sync step, from 1.
        k, beta, threshold, gamma: `k`, `adaptive_beta`, `adaptive_lambda` and `adaptive_gamma` of `ARS`.

    Returns:
        whether to sync; the EMA after this step, with which φ is compared; the factor of α.
    """
    # Right after a sync f is fresh and φ at its best: that would tighten the threshold for no reason.
    if since_sync >= 2:
        phi_squared = beta * phi_squared + (1 - beta) * phi * phi
    sync = since_sync >= k or phi < -threshold * phi_squared**0.5
    return sync, phi_squared, (1 + max(0.0, phi)) ** gamma


class ARS(MatrixOptimizer):
    """ARS for matrices, the same with AdamW's update for the rest.

    `step` needs a closure unless k is 0. It calls it once or twice, with gradients enabled; the closure
    zeroes the gradients, computes the loss, calls backward and returns the loss, and `step` returns the
    first. Between its two calls a sync step moves the parameters, and puts them back to the same bits even if
    the closure raises (the flatness vectors are then gone: nothing is injected until the next sync step).
    Afterwards `p.grad` holds the gradient of the last call, before injection. Parameters without a gradient
    in one of the calls are skipped (and lose their flatness vector in a sync step). A closure with random
    parts (dropout) draws anew in its second call.

    Diagnostics beside the base's: `sync` (1 if the last step was one, else 0); `cos_pos_i` and
    `cos_pos_i_pre`, the mean over tensors of cos(g, f) after and before injection at position i of the cycle
    (i = t mod k in the fixed schedule), each an EMA (0.9 old, 0.1 new); with adaptive_sync `phi` and
    `strength`, the first group's alpha as scaled.

    Args:
        params: parameters, named parameters or groups, see `MatrixOptimizer`.
        lr, betas, eps, weight_decay: learning rate, decays of the two moments, ε and decoupled weight decay
            of the matrices.
        ns_steps: Newton-Schulz iterations.
        rho: length of each tensor's perturbation e. A group may have its own, as of alpha and adaptive.
        k: 0: no SAM, which is AdaRMSuon; 1: every step is a sync step; above: the steps t with t mod k = 1
            are.
        alpha: length of the injected f, relative to the gradient's.
        adaptive: scale the perturbation element-wise by |θ| (ASAM, J. Kwon et al., 2021).
        adaptive_sync: A-GSAM's schedule, for k ≥ 2. φ, the cosine between all of g and all of f, is measured
            at every step; it syncs when φ < −adaptive_lambda·√(mean of φ²), at the latest k steps after the
            last sync, and scales alpha by (1+max(0,φ))^adaptive_gamma. The mean is an EMA of decay
            adaptive_beta. The second moment of a lazy step then sees the injected gradient, not the plain
            one. Waits for the device once a step.
        adam_lr, adam_betas, adam_eps, adam_weight_decay: learning rate, decays of the two moments, ε and
            decoupled weight decay of the AdamW groups; `adam_lr` None means `lr`.
    """

    matrix_keys = ("lr", "betas", "eps", "weight_decay", "ns_steps")
    shared_keys = ("rho", "alpha", "adaptive")

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
        adam_lr: float | None = None,
        adam_betas: tuple[float, float] = (0.9, 0.999),
        adam_eps: float = 1e-8,
        adam_weight_decay: float = 0.01,
    ) -> None:
        arguments = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "ns_steps": ns_steps,
            "rho": rho, "k": k, "alpha": alpha, "adaptive": adaptive, "adaptive_sync": adaptive_sync,
            "adaptive_beta": adaptive_beta, "adaptive_lambda": adaptive_lambda,
            "adaptive_gamma": adaptive_gamma, "adam_lr": adam_lr, "adam_betas": adam_betas,
            "adam_eps": adam_eps, "adam_weight_decay": adam_weight_decay,
        }  # fmt: skip
        super().__init__(params, arguments)
        if adaptive_sync and k < 2:
            raise ValueError(f"k must be 2 or more with adaptive_sync, not {k}")
        self.state[GLOBAL] |= {"last_sync": 0, "phi_squared": 0.0}

    def _advance(self, step: int, closure: Callable[[], Any] | None) -> list[Outcome]:
        options, shared = self.defaults, self.state[GLOBAL]
        k = options["k"]
        if k == 0:
            return super()._advance(step, closure)
        if closure is None:
            raise ValueError("closure must be given to ARS.step unless k is 0: sync steps run the loss twice")
        buckets = self._buckets()
        since_sync = step - shared["last_sync"]
        phi_squared, amplification, measured = shared["phi_squared"], 1.0, {}
        if options["adaptive_sync"]:
            dots = self._measure(buckets)
            phi = global_cosine([dot for dot in dots if dot is not None])
            sync, phi_squared, amplification = adaptive_schedule(
                phi, phi_squared, since_sync, k=k, beta=options["adaptive_beta"],
                threshold=options["adaptive_lambda"], gamma=options["adaptive_gamma"],
            )  # fmt: skip
            # At the first step, and after a second pass that raised: then there are no flatness vectors.
            sync = sync or all(dot is None for dot in dots)
            measured = {"phi": phi, "strength": self.param_groups[0]["alpha"] * amplification}
        else:
            sync = is_sync_step(step, k)
            dots = [] if sync else self._measure(buckets)
        if sync:
            buckets = self._second_pass(closure, buckets, step)
            outcomes = [self._update(bucket, step) for bucket in buckets]
            shared["last_sync"] = step
        else:
            outcomes = self._lazy_update(buckets, dots, step, amplification, position=(1 + since_sync) % k)
        # Only now: an exception in the second pass leaves the schedule's own numbers as they were.
        shared["phi_squared"] = phi_squared
        shared["diagnostics"] |= {"sync": int(sync), **measured}
        return outcomes

    def _update_matrices(self, bucket: Bucket, step: int, **injection: Any) -> Outcome:
        settings = {name: bucket.group[name] for name in self.matrix_keys}
        exp_avgs, exp_avg_sqs = bucket.entries("exp_avg"), bucket.entries("exp_avg_sq")
        return adarmsuon_update(
            bucket.params, bucket.grads, exp_avgs, exp_avg_sqs, step=step, **settings, **injection
        )

    def _measure(self, buckets: list[Bucket]) -> list[Tensor | None]:
        """`ops.ars_dots(g, f)` of each bucket; None where its tensors have no flatness vector yet."""
        return [
            ops.ars_dots(bucket.grads, bucket.entries("flatness")) if "flatness" in bucket.states[0] else None
            for bucket in buckets
        ]

    def _second_pass(self, closure: Callable[[], Any], buckets: list[Bucket], step: int) -> list[Bucket]:
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
                group = bucket.group
                backups.append(ops.ars_perturb(
                    bucket.params, bucket.grads, bucket.entries("exp_avg_sq"),
                    rho=group["rho"], beta2=group["betas"][1], eps=group["eps"], step=step,
                    adaptive=group["adaptive"], backups=_take_flatness(bucket),
                ))  # fmt: skip
            with torch.enable_grad():
                closure()
        finally:
            # Fewer backups than buckets: a perturbation failed, and left its own bucket alone.
            for bucket, backup in zip(buckets, backups, strict=False):
                ops.ars_restore(bucket.params, backup)
        free = {p: b for bucket, backup in zip(buckets, backups, strict=True)
                for p, b in zip(bucket.params, backup, strict=True)}  # fmt: skip
        buckets = self._buckets(among=first)
        if self.defaults["k"] > 1:
            for bucket in buckets:
                base, spaces = [first[p] for p in bucket.params], [free[p] for p in bucket.params]
                fits = all(space.dtype == ops.state_dtype(space.dtype) for space in spaces)
                residuals = ops.ars_residual(bucket.grads, base, spaces if fits else None)
                for state, residual in zip(bucket.states, residuals, strict=True):
                    state["flatness"] = residual
        return buckets

    def _lazy_update(
        self, buckets: list[Bucket], dots: list[Tensor | None], step: int, amplification: float, position: int
    ) -> list[Outcome]:
        outcomes, before, after = [], [], []
        for bucket, dot in zip(buckets, dots, strict=True):
            injection = {}
            if dot is not None:
                strengths = injection_strengths(dot, bucket.group["alpha"] * amplification)
                before.append(cosines(dot))
                after.append(cosines(injected_dots(dot, strengths)))
                injection = {
                    "flats": bucket.entries("flatness"),
                    "strengths": strengths,
                    "second_moment": "injected" if self.defaults["adaptive_sync"] else "plain",
                }
            outcomes.append(self._update(bucket, step, **injection))
        if before:
            self._track(f"cos_pos_{position}", join(after).mean())
            self._track(f"cos_pos_{position}_pre", join(before).mean())
        return outcomes

    def _track(self, name: str, value: Tensor) -> None:
        diagnostics = self.state[GLOBAL]["diagnostics"]
        old = diagnostics.get(name)
        diagnostics[name] = value if old is None else 0.9 * old.to(value.device) + 0.1 * value


def _take_flatness(bucket: Bucket) -> list[Tensor] | None:
    """Take the old flatness vectors, which have served, out of the state.

    The second pass is where a step needs most memory. That of the old vectors holds the parameters during it,
    and the new vectors after it: a sync step allocates nothing of the parameters' size.

    Returns:
        the old vectors, if the parameters fit into them.
    """
    old = [state.pop("flatness", None) for state in bucket.states]
    fits = all(f is not None and f.dtype == p.dtype for f, p in zip(old, bucket.params, strict=True))
    return old if fits else None
