"""The language model "rope": Qwen3's architecture at any size, with Hugging Face's parameter names.

Shapes: B rows, T positions, E embedding size, I intermediate size, V vocabulary size.
Source: Qwen Team, "Qwen3 Technical Report" (2025), section 2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from arsbench.models.attention import Attention
from arsbench.models.layers import Embedding, Linear, RMSNorm
from arsbench.models.loss_output import LossOutput
from arsbench.ops import RMS_NORM_EPS, linear_cross_entropy, swiglu_linear

if TYPE_CHECKING:
    from arsbench.config.schema import ModelConfig

INITIAL_STD = 0.02


class MLP(nn.Module):
    """SwiGLU (Shazeer, "GLU Variants Improve Transformer", 2020), without biases."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        E, intermediate = config.embedding_size, config.intermediate_size
        self.gate_proj = Linear(E, intermediate)
        self.up_proj = Linear(E, intermediate)
        self.down_proj = Linear(intermediate, E)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, E) → (B, T, E)."""
        gate, up = self.gate_proj(x).flatten(0, -2), self.up_proj(x).flatten(0, -2)  # (B·T, I)
        # A module for Hugging Face's parameter name: its weight goes into the op.
        return swiglu_linear(gate, up, self.down_proj.weight).view(x.shape)


class Block(nn.Module):
    """One layer: attention and MLP, each on the normalised residual stream."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.input_layernorm = RMSNorm(config.embedding_size, eps=RMS_NORM_EPS)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config.embedding_size, eps=RMS_NORM_EPS)
        self.mlp = MLP(config)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, E) → (B, T, E)."""
        x = x + self.self_attn(self.input_layernorm(x))
        return x + self.mlp(self.post_attention_layernorm(x))


class Decoder(nn.Module):
    """Embedding, blocks and final norm: everything but the head. Called with the embedding's output."""

    def __init__(self, config: ModelConfig, vocabulary_size: int):
        super().__init__()
        self.embed_tokens = Embedding(vocabulary_size, config.embedding_size)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.norm = RMSNorm(config.embedding_size, eps=RMS_NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, E) → (B, T, E)."""
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)


class Transformer(nn.Module):
    """The whole model with uninitialised weights; `build_model` makes an initialised one.

    `lm_head` exists only if the head is untied; a tied head uses the embedding's weight.

    Args:
        config: sizes; `config.vocabulary_size` is only the tokenizer's upper limit and is not read.
        vocabulary_size: the tokenizer's real size.

    Raises:
        ValueError: num_kv_heads does not divide num_heads.
    """

    def __init__(self, config: ModelConfig, vocabulary_size: int):
        super().__init__()
        self.config = config
        self.vocabulary_size = vocabulary_size
        self.model = Decoder(config, vocabulary_size)
        if not config.tie_word_embeddings:
            self.lm_head = Linear(config.embedding_size, vocabulary_size)

    def forward(self, input_ids: Tensor) -> Tensor:
        """Logits of the next token: (B, T) int64 → (B, T, V)."""
        return nn.functional.linear(*self._hidden_and_head(input_ids))

    def loss(self, input_ids: Tensor, targets: Tensor, ignore_index: int = -100) -> LossOutput:
        """Cross-entropy without storing the logits.

        Args:
            input_ids: (B, T) int64.
            targets: (B, T) int64, `ignore_index` where a target does not count.
            ignore_index: an id that no token has, or a token such as the padding.

        Raises:
            ValueError: a target is out of range.
        """
        hidden, head = self._hidden_and_head(input_ids)
        result = linear_cross_entropy(hidden.flatten(0, 1), head, targets.flatten(), ignore_index)
        token_loss, entropy = (x.view(targets.shape) for x in (result.token_loss, result.entropy))  # (B, T)
        return LossOutput(result.loss, token_loss, entropy)

    def _hidden_and_head(self, input_ids: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T) int64 → the input of the head, (B, T, E), and its weight, (V, E)."""
        embedding = self.model.embed_tokens
        if self.config.tie_word_embeddings:
            x, head = embedding.tied(input_ids)
        else:
            x, head = embedding(input_ids), self.lm_head.weight
        return self.model(x), head

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw every matrix and the embedding from N(0, 0.02²), set every norm to one."""
        for parameter in self.parameters():
            if parameter.dim() == 1:
                parameter.fill_(1.0)
            else:
                parameter.normal_(0.0, INITIAL_STD, generator=generator)


def build_model(
    config: ModelConfig, vocabulary_size: int, generator: torch.Generator | None = None
) -> Transformer:
    """An initialised float32 model on the CPU: `Transformer(config, vocabulary_size)`.

    Its weights come from `generator`, by default torch's global one, which `torch.manual_seed` seeds.
    """
    model = Transformer(config, vocabulary_size)
    model.reset_parameters(generator)
    return model
