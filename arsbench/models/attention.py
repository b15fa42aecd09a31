"""Self-attention of a Qwen3 layer: four projections around `ops.rope_attention`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from arsbench.ops import rope_attention

if TYPE_CHECKING:
    from arsbench.config.schema import ModelConfig

# Qwen3 uses this ε in every RMSNorm.
NORM_EPS = 1e-6


class Attention(nn.Module):
    """Causal attention with normalised, rotated queries and keys, without biases.

    The heads' width is `config.head_dim`, whatever embedding_size / num_heads is.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        E, D = config.embedding_size, config.head_dim
        H, Hkv = config.num_heads, config.num_kv_heads or config.num_heads
        if H % Hkv:
            raise ValueError(f"num_kv_heads must divide num_heads, and {Hkv} does not divide {H}")
        self.head_dim = D
        self.rope_theta = config.rope_theta
        self.q_proj = nn.Linear(E, H * D, bias=False)
        self.k_proj = nn.Linear(E, Hkv * D, bias=False)
        self.v_proj = nn.Linear(E, Hkv * D, bias=False)
        self.o_proj = nn.Linear(H * D, E, bias=False)
        # Their weights go into the op; as modules they have Hugging Face's parameter names.
        self.q_norm = nn.RMSNorm(D, eps=NORM_EPS)
        self.k_norm = nn.RMSNorm(D, eps=NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, E) → (B, T, E)."""
        q = self.q_proj(x).unflatten(-1, (-1, self.head_dim))  # (B, T, H, D)
        k = self.k_proj(x).unflatten(-1, (-1, self.head_dim))  # (B, T, Hkv, D)
        v = self.v_proj(x).unflatten(-1, (-1, self.head_dim))  # (B, T, Hkv, D)
        out = rope_attention(q, k, v, self.q_norm.weight, self.k_norm.weight, self.rope_theta, NORM_EPS)
        return self.o_proj(out.flatten(-2))  # (B, T, H, D) → (B, T, H·D) → (B, T, E)
