"""Self-attention of a Qwen3 layer: four projections around `ops.rope_attention`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from arsbench.models.layers import Linear
from arsbench.ops import RMS_NORM_EPS, rope_attention

if TYPE_CHECKING:
    from arsbench.config.schema import ModelConfig


class Attention(nn.Module):
    """Causal attention with normalised, rotated queries and keys, without biases.

    The width of a head is `config.head_dim`, independent of embedding_size / num_heads.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        E, D = config.embedding_size, config.head_dim
        H, Hkv = config.num_heads, config.num_kv_heads or config.num_heads
        if H % Hkv:
            raise ValueError(f"num_kv_heads must divide num_heads, and {Hkv} does not divide {H}")
        self.head_dim = D
        self.rope_theta = config.rope_theta
        self.q_proj = Linear(E, H * D)
        self.k_proj = Linear(E, Hkv * D)
        self.v_proj = Linear(E, Hkv * D)
        self.o_proj = Linear(H * D, E)
        # Modules for Hugging Face's parameter names: their weights go into the op.
        self.q_norm = nn.RMSNorm(D, eps=RMS_NORM_EPS)
        self.k_norm = nn.RMSNorm(D, eps=RMS_NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, E) → (B, T, E)."""
        q, k, v = (
            projection(x).unflatten(-1, (-1, self.head_dim))  # (B, T, H or Hkv, D)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        out = rope_attention(q, k, v, self.q_norm.weight, self.k_norm.weight, self.rope_theta, RMS_NORM_EPS)
        return self.o_proj(out.flatten(-2))  # (B, T, H, D) → (B, T, H·D) → (B, T, E)
