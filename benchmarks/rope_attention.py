"""RMSNorm, rotary embedding and causal attention of a layer, forward and backward, at the seed's size.

The peer is the computation of transformers' Qwen3 around torch's `scaled_dot_product_attention`, eager and
under torch.compile. Its cosines and sines are computed beforehand, because a model computes them once for all
layers.

    python -m benchmarks.rope_attention [--rounds 5] [--json FILE]
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from arsbench import ops
from benchmarks.floors import attention_flops
from benchmarks.harness import Run, precisions_command

ROWS, LENGTH, HEADS, HEAD_DIM = 8, 255, 6, 128
THETA, EPS = 10_000.0, 1e-6
PEERS = ("eager", "compile")


def rms_norm(x: Tensor, weight: Tensor) -> Tensor:
    """RMSNorm over the last dimension in float32, rounded before the product with the weight."""
    x32 = x.float()
    x32 = x32 * torch.rsqrt(x32.pow(2).mean(-1, keepdim=True) + EPS)
    return weight * x32.to(x.dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding of x (B, H, T, D) by cos and sin (T, D)."""
    x1, x2 = x.chunk(2, -1)
    return x * cos + torch.cat((-x2, x1), -1) * sin


def qwen3_attention(
    q: Tensor, k: Tensor, v: Tensor, q_weight: Tensor, k_weight: Tensor, cos: Tensor, sin: Tensor
) -> Tensor:
    """(B, T, H, D) queries, keys and values → (B, T, H, D), contiguous."""
    q = rotate(rms_norm(q, q_weight).transpose(1, 2), cos, sin)  # (B, H, T, D)
    k = rotate(rms_norm(k, k_weight).transpose(1, 2), cos, sin)  # (B, H, T, D)
    out = F.scaled_dot_product_attention(q, k, v.transpose(1, 2), is_causal=True)  # (B, H, T, D)
    return out.transpose(1, 2).contiguous()


def contender(kind: str, dtype: torch.dtype, rows: int, length: int, heads: int, head_dim: int) -> Run:
    """Output and all five gradients for queries, keys and values (rows, length, heads, head_dim)."""
    torch.manual_seed(0)
    shape = (rows, length, heads, head_dim)
    inputs = [torch.randn(shape).to(dtype).requires_grad_() for _ in range(3)]
    inputs += [torch.ones(head_dim, dtype=dtype, requires_grad=True) for _ in range(2)]
    grad = torch.randn(shape).to(dtype)
    if kind == "arsbench":

        def forward() -> Tensor:
            return ops.rope_attention(*inputs, theta=THETA, eps=EPS)
    else:
        frequency = THETA ** (-torch.arange(0, head_dim, 2) / head_dim)
        angle = torch.outer(torch.arange(length).float(), frequency).repeat(1, 2)  # (T, D)
        cos, sin = angle.cos().to(dtype), angle.sin().to(dtype)
        function = qwen3_attention
        if kind == "compile":
            function = torch.compile(qwen3_attention, fullgraph=True, dynamic=False)

        def forward() -> Tensor:
            return function(*inputs, cos, sin)

    return lambda: torch.autograd.grad(forward(), inputs, grad)


main = precisions_command(
    "benchmarks.rope_attention",
    lambda kind, dtype: contender(kind, dtype, ROWS, LENGTH, HEADS, HEAD_DIM),
    PEERS,
    attention_flops(ROWS, LENGTH, HEADS, HEAD_DIM),
)

if __name__ == "__main__":
    main()
