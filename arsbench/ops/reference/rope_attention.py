"""Normalised, rotated, causal attention in plain PyTorch, forward and backward written out.

The dispatcher calls these functions below autograd, so the backward is explicit. Queries are processed in
blocks of rows: block [start, stop) uses the keys [0, stop) only. This skips most of the masked scores, and no
(T, T) matrix is stored. Half-precision inputs are computed in float32 and rounded once at the end.

Sources: RMSNorm, Zhang & Sennrich 2019, eq. 4; rotary embedding, Su et al. 2021 (RoFormer), section 3.2;
backward from the saved log-sum-exp, Dao et al. 2022 (FlashAttention), appendix B.2.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from arsbench.ops.reference.dtypes import compute_dtype
from arsbench.ops.reference.rms_norm import rms_norm, rms_norm_backward

# Rows of queries in a block. Smaller blocks compute fewer masked scores, larger ones have more efficient
# products. Between 64 and 128 the measured time at T = 255 does not change.
QUERY_BLOCK = 64


def rope_attention(
    q: Tensor, k: Tensor, v: Tensor, q_weight: Tensor, k_weight: Tensor, theta: float, eps: float
) -> tuple[Tensor, Tensor]:
    """Forward.

    Returns:
        out: (B, T, H, D), contiguous, dtype of `q`.
        lse: (B, H, T), log-sum-exp of each row's scaled scores, float32 (float64 for float64).
    """
    B, T, H, D = q.shape
    Hkv = k.shape[2]
    G = H // Hkv  # query heads that share one key-value head
    dtype = compute_dtype(q.dtype)
    cos, sin = _rotation(T, D, theta, dtype, q.device)
    qr = _rotate(rms_norm(q.to(dtype), q_weight, eps), cos[:, None], sin[:, None]).view(B * Hkv, G, T, D)
    kr = _rotate(rms_norm(k.to(dtype), k_weight, eps), cos[:, None], sin[:, None]).view(B * Hkv, T, D)
    vt = v.transpose(1, 2).to(dtype).reshape(B * Hkv, T, D)
    out = q.new_empty(B, T, Hkv, G, D)
    lse = q.new_empty(B * Hkv, G, T, dtype=dtype)
    for start, stop in _blocks(T):
        scores = _scores(qr, kr, start, stop)  # (B·Hkv, G, R, stop), R = stop − start
        scores[..., start:].masked_fill_(_future(stop - start, q.device), -math.inf)
        log_p = torch.log_softmax(scores, -1)
        # A row's score with itself is never masked, and s = log p + lse holds at every entry.
        self_score, self_log_p = (x[..., start:].diagonal(dim1=-2, dim2=-1) for x in (scores, log_p))
        lse[..., start:stop] = self_score - self_log_p
        p = log_p.exp_().flatten(1, 2)  # (B·Hkv, G·R, stop)
        block = torch.bmm(p, vt[:, :stop]).view(B, Hkv, G, stop - start, D)
        out[:, start:stop] = block.permute(0, 3, 1, 2, 4)
    return out.view(B, T, H, D), lse.view(B, H, T)


def rope_attention_backward(
    grad_out: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    q_weight: Tensor,
    k_weight: Tensor,
    out: Tensor,
    lse: Tensor,
    theta: float,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Backward from the forward's `out` and `lse`; probabilities are recomputed block by block.

    Returns:
        gradients of q (B, T, H, D), k and v (B, T, Hkv, D), q_weight and k_weight (D,), each contiguous and
        in the dtype of its input.
    """
    B, T, H, D = q.shape
    Hkv = k.shape[2]
    G = H // Hkv
    dtype = compute_dtype(q.dtype)
    scale = 1.0 / math.sqrt(D)
    cos, sin = _rotation(T, D, theta, dtype, q.device)
    qr = _rotate(rms_norm(q.to(dtype), q_weight, eps), cos[:, None], sin[:, None]).view(B * Hkv, G, T, D)
    kr = _rotate(rms_norm(k.to(dtype), k_weight, eps), cos[:, None], sin[:, None]).view(B * Hkv, T, D)
    vt = v.transpose(1, 2).to(dtype).reshape(B * Hkv, T, D)
    do = grad_out.transpose(1, 2).to(dtype).reshape(B * Hkv, G, T, D)
    # Softmax's backward needs Σ_j p_ij·dp_ij, which equals ⟨dO_i, O_i⟩.
    delta = (do * out.transpose(1, 2).reshape(B * Hkv, G, T, D)).sum(-1, keepdim=True)  # (B·Hkv, G, T, 1)
    lse = lse.view(B * Hkv, G, T, 1)
    dqr, dkr, dv = torch.empty_like(qr), torch.zeros_like(kr), torch.zeros_like(vt)
    for start, stop in _blocks(T):
        rows = slice(start, stop)
        p = _scores(qr, kr, start, stop).sub_(lse[:, :, rows]).exp_()  # (B·Hkv, G, R, stop)
        p[..., start:].masked_fill_(_future(stop - start, q.device), 0.0)
        do_rows = do[:, :, rows].flatten(1, 2)  # (B·Hkv, G·R, D)
        dv[:, :stop].baddbmm_(p.flatten(1, 2).mT, do_rows)
        dp = torch.bmm(do_rows, vt[:, :stop].mT).view_as(p)
        ds = dp.sub_(delta[:, :, rows]).mul_(p).flatten(1, 2)  # (B·Hkv, G·R, stop)
        dkr[:, :stop].baddbmm_(ds.mT, qr[:, :, rows].flatten(1, 2), alpha=scale)
        dqr[:, :, rows] = torch.bmm(ds, kr[:, :stop]).mul_(scale).view(B * Hkv, G, stop - start, D)
    # The transpose of a rotation is the rotation by the opposite angle.
    grad_q, grad_q_weight = rms_norm_backward(_rotate(dqr.view(B, H, T, D), cos, -sin), q, q_weight, eps)
    grad_k, grad_k_weight = rms_norm_backward(_rotate(dkr.view(B, Hkv, T, D), cos, -sin), k, k_weight, eps)
    grad_v = dv.view(B, Hkv, T, D).transpose(1, 2).to(v.dtype).contiguous()
    return grad_q, grad_k, grad_v, grad_q_weight, grad_k_weight


def _blocks(length: int) -> list[tuple[int, int]]:
    return [(start, min(start + QUERY_BLOCK, length)) for start in range(0, length, QUERY_BLOCK)]


def _future(size: int, device: torch.device) -> Tensor:
    """(size, size), true if the key is after the query."""
    return torch.ones(size, size, dtype=torch.bool, device=device).triu_(1)


def _scores(qr: Tensor, kr: Tensor, start: int, stop: int) -> Tensor:
    """Scaled, unmasked scores of queries [start, stop) with keys [0, stop): (B·Hkv, G, R, stop)."""
    batch, G, _, D = qr.shape
    scores = torch.bmm(qr[:, :, start:stop].flatten(1, 2), kr[:, :stop].mT)
    return scores.mul_(1.0 / math.sqrt(D)).view(batch, G, stop - start, stop)


def _rotation(
    length: int, head_dim: int, theta: float, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """cos and sin of position × frequency, each (T, D/2).

    The angles are float64: an angle of T radians rounded to float32 is off by up to T·2⁻²⁴.
    """
    frequency = theta ** (-torch.arange(0, head_dim, 2, dtype=torch.float64, device=device) / head_dim)
    angle = torch.outer(torch.arange(length, dtype=torch.float64, device=device), frequency)
    return angle.cos().to(dtype), angle.sin().to(dtype)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate pairs (i, i + D/2) of x, and swap its middle dimensions on the way: contiguous (B, H, T, D) from
    (B, T, H, D) with cos and sin (T, 1, D/2), or the other way round with (T, D/2).
    """
    rotated = x.new_empty(x.transpose(1, 2).shape)
    x1, x2 = x.chunk(2, -1)
    y1, y2 = rotated.transpose(1, 2).chunk(2, -1)
    torch.mul(x1, cos, out=y1).addcmul_(x2, sin, value=-1)
    torch.mul(x2, cos, out=y2).addcmul_(x1, sin)
    return rotated
