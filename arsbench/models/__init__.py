"""The benchmark's models: Qwen3's architecture, exchangeable with Hugging Face, and a one-layer one."""

from arsbench.models.exchange import export_huggingface, load_huggingface
from arsbench.models.loss_output import LossOutput
from arsbench.models.one_layer import OneLayerTransformer
from arsbench.models.transformer import Transformer, build_model

__all__ = [
    "LossOutput",
    "OneLayerTransformer",
    "Transformer",
    "build_model",
    "export_huggingface",
    "load_huggingface",
]
