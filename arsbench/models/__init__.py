"""The benchmark's language model, interchangeable with Hugging Face's Qwen3."""

from __future__ import annotations

from arsbench.models.exchange import export_huggingface, load_huggingface
from arsbench.models.transformer import LossOutput, Transformer, build_model

__all__ = ["LossOutput", "Transformer", "build_model", "export_huggingface", "load_huggingface"]
