"""The benchmark's models: Qwen3's architecture, interchangeable with Hugging Face's, and a one-layer one."""

from __future__ import annotations

from arsbench.models.exchange import export_huggingface, load_huggingface
from arsbench.models.one_layer import ClassificationOutput, OneLayerTransformer
from arsbench.models.transformer import LossOutput, Transformer, build_model

__all__ = [
    "ClassificationOutput",
    "LossOutput",
    "OneLayerTransformer",
    "Transformer",
    "build_model",
    "export_huggingface",
    "load_huggingface",
]
