"""The one-layer transformer on which grokking is studied.

Shapes: B rows of S tokens, V tokens to read and to predict, E width, H heads of D, I width of the MLP.
Sources: Nanda et al., "Progress measures for grokking via mechanistic interpretability" (2023), section 3 and
appendix A; Power et al., "Grokking: Generalization Beyond Overfitting on Small Algorithmic Datasets" (2022).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from arsbench.models.loss_output import LossOutput

if TYPE_CHECKING:
    from arsbench.config.schema import ModelConfig


class OneLayerTransformer(nn.Module):
    """Learned positions, causal attention, a ReLU MLP, no norms, an untied head; initialised on creation.

    It predicts one token, the one after a row; a single layer needs only the last position for it. The inputs
    of attention depend on tokens and positions alone, so queries, keys, values and scores are computed once
    for each token or pair of tokens, not for each row. That is faster for small vocabularies (V ≲ B).

    Args:
        config: its `embedding_size`, `num_heads`, `head_dim`, `intermediate_size` and `sequence_length`.
        vocabulary_size: V.
    """

    def __init__(self, config: ModelConfig, vocabulary_size: int):
        super().__init__()
        E, inner = config.embedding_size, config.num_heads * config.head_dim
        self.heads = config.num_heads
        self.embed_tokens = nn.Embedding(vocabulary_size, E)
        self.embed_positions = nn.Embedding(config.sequence_length, E)
        self.q_proj = nn.Linear(E, inner, bias=False)
        self.k_proj = nn.Linear(E, inner, bias=False)
        self.v_proj = nn.Linear(E, inner, bias=False)
        self.o_proj = nn.Linear(inner, E, bias=False)
        self.up_proj = nn.Linear(E, config.intermediate_size)
        self.down_proj = nn.Linear(config.intermediate_size, E)
        self.lm_head = nn.Linear(E, vocabulary_size, bias=False)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw every matrix from N(0, 1/E), the head from N(0, 1/V), and set the biases to zero."""
        vocabulary_size, E = self.embed_tokens.weight.shape
        for parameter in self.parameters():
            if parameter.dim() == 1:
                parameter.zero_()
            else:
                variance = 1 / (vocabulary_size if parameter is self.lm_head.weight else E)
                parameter.normal_(0.0, variance**0.5)

    def forward(self, input_ids: Tensor) -> Tensor:
        """Logits of the token after each row: (B, S) int64 → (B, V)."""
        (V, _), S, H = self.embed_tokens.weight.shape, input_ids.shape[1], self.heads
        tokens, positions = self.embed_tokens.weight, self.embed_positions.weight[:S]  # (V, E), (S, E)
        last_ids = input_ids[:, -1]
        ends = tokens + positions[-1]  # (V, E), each token at the last position
        q = self.q_proj(ends).unflatten(-1, (H, -1))  # (V, H, D)
        # A key is the sum of a token's part and a position's part, and so is a score.
        of_tokens = torch.einsum("qhd,khd->qkh", q, self.k_proj(tokens).unflatten(-1, (H, -1)))
        of_positions = torch.einsum("qhd,shd->qsh", q, self.k_proj(positions).unflatten(-1, (H, -1)))
        pairs = last_ids.unsqueeze(1) * V + input_ids
        scores = functional.embedding(pairs, of_tokens.flatten(0, 1))  # (B, S, H)
        scores = scores + functional.embedding(last_ids, of_positions.flatten(1)).unflatten(1, (S, H))
        weights = (scores * q.shape[-1] ** -0.5).softmax(1)
        v = functional.embedding(input_ids, self.v_proj(tokens)) + self.v_proj(positions)  # (B, S, HD)
        attended = (weights.unsqueeze(-1) * v.unflatten(-1, (H, -1))).sum(1).flatten(1)  # (B, HD)
        x = functional.embedding(last_ids, ends) + self.o_proj(attended)  # (B, E)
        x = x + self.down_proj(functional.relu(self.up_proj(x), inplace=True))
        return self.lm_head(x)

    def loss(self, input_ids: Tensor, targets: Tensor) -> LossOutput:
        """Cross-entropy of the predictions.

        Args:
            input_ids: (B, S) int64.
            targets: (B,) int64.
        """
        logits = self(input_ids)
        # Under autocast the logits have a lower precision than the loss needs.
        log_probabilities = logits.log_softmax(-1, dtype=torch.promote_types(logits.dtype, torch.float32))
        token_loss = functional.nll_loss(log_probabilities, targets, reduction="none")
        with torch.no_grad():
            entropy = -(log_probabilities.exp() * log_probabilities).sum(-1)
            correct = log_probabilities.argmax(-1) == targets
        return LossOutput(token_loss.mean(), token_loss.detach(), entropy, correct)
