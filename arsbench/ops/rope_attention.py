"""Attention of a Qwen3 layer in one op: RMSNorm on queries and keys, rotary embedding, causal softmax.

Shapes: B rows, T positions, H query heads, Hkv key-value heads, D head dimension. Tensors keep the layout of
the projections, (B, T, heads, D), so that views of one fused projection are read in place.

    q̂ = rotate(rmsnorm(q, q_weight)),  k̂ likewise,  out = softmax(q̂ k̂ᵀ/√D + causal mask) v
"""

from __future__ import annotations

from torch import Tensor

from arsbench.ops._register import autocast, register, register_gradient, without_autocast
from arsbench.ops.reference import rope_attention as reference
from arsbench.ops.reference.dtypes import compute_dtype
from arsbench.ops.rms_norm import RMS_NORM_EPS


def rope_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    q_weight: Tensor,
    k_weight: Tensor,
    theta: float,
    eps: float = RMS_NORM_EPS,
) -> Tensor:
    """Causal self-attention over normalised, rotated heads.

    Norm, rotation and softmax are computed in float32 or float64. Under autocast q, k and v are cast to the
    autocast dtype; the norms' weights are not. On a GPU float32 products round to TF32 only if
    `torch.backends.cuda.matmul` (`allow_tf32 = True` or `fp32_precision = "tf32"`) allows it, as in PyTorch.

    Args:
        q: (B, T, H, D) queries in float16, bfloat16, float32 or float64; D even. Any strides.
        k: (B, T, Hkv, D) keys, dtype of q; query head h uses key-value head h // (H / Hkv); Hkv divides H.
        v: (B, T, Hkv, D) values, dtype of q.
        q_weight: (D,) weight of the queries' RMSNorm, in q's dtype or in float32.
        k_weight: (D,) weight of the keys' RMSNorm, in q's dtype or in float32.
        theta: base of the rotary frequencies θ^(−2i/D); positions are 0 … T−1, the pair (i, i + D/2) rotates.
        eps: RMSNorm's ε, added to the mean square.

    Returns:
        (B, T, H, D), contiguous, in q's dtype after autocast.

    Raises:
        ValueError: shapes or dtypes do not fit together.
        RuntimeError: the gradient is itself differentiated.
    """
    q, k, v = autocast(q, k, v)
    _check_shapes(q, k, v, q_weight, k_weight)
    if not q.is_floating_point() or k.dtype != q.dtype or v.dtype != q.dtype:
        raise ValueError(
            f"rope_attention: q, k and v must share a float dtype, not {q.dtype}, {k.dtype} and {v.dtype}"
        )
    for weight in (q_weight, k_weight):
        if weight.dtype not in (q.dtype, compute_dtype(q.dtype)):
            raise ValueError(
                f"rope_attention: a norm's weight of {weight.dtype} does not go with q of {q.dtype}"
            )
    return _op(q, k, v, q_weight, k_weight, theta, eps)[0]


def _check_shapes(q: Tensor, k: Tensor, v: Tensor, q_weight: Tensor, k_weight: Tensor) -> None:
    if q.dim() != 4 or k.dim() != 4 or k.shape != v.shape:
        raise ValueError(
            f"rope_attention takes q (B, T, H, D) with k and v of one shape (B, T, Hkv, D), not "
            f"{tuple(q.shape)}, {tuple(k.shape)} and {tuple(v.shape)}"
        )
    B, T, H, D = q.shape
    if k.shape[0] != B or k.shape[1] != T or k.shape[3] != D:
        raise ValueError(f"rope_attention: q {tuple(q.shape)} and k {tuple(k.shape)} differ in B, T or D")
    if H == 0 or k.shape[2] == 0 or H % k.shape[2]:
        raise ValueError(f"rope_attention: {H} query heads are no multiple of {k.shape[2]} key-value heads")
    if D == 0 or D % 2:
        raise ValueError(f"rope_attention rotates pairs: the head dimension must be even, not {D}")
    if q_weight.shape != (D,) or k_weight.shape != (D,):
        raise ValueError(
            f"rope_attention: the norms' weights must be ({D},), not {tuple(q_weight.shape)} and "
            f"{tuple(k_weight.shape)}"
        )


def _fake(q, k, v, q_weight, k_weight, theta, eps):
    B, T, H, _ = q.shape
    return q.new_empty(q.shape), q.new_empty(B, H, T, dtype=compute_dtype(q.dtype))


_op = register(
    "rope_attention",
    "(Tensor q, Tensor k, Tensor v, Tensor q_weight, Tensor k_weight, float theta, float eps)"
    " -> (Tensor out, Tensor lse)",
    reference=without_autocast(reference.rope_attention),
    fake=_fake,
)
register_gradient(
    "rope_attention",
    "(Tensor grad_out, Tensor q, Tensor k, Tensor v, Tensor q_weight, Tensor k_weight, Tensor out,"
    " Tensor lse, float theta, float eps)"
    " -> (Tensor grad_q, Tensor grad_k, Tensor grad_v, Tensor grad_q_weight, Tensor grad_k_weight)",
    reference=reference.rope_attention_backward,
)
