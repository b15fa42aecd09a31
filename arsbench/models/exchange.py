"""Exchange with Hugging Face: a directory that transformers loads, and a Qwen3 directory read back.

A directory holds config.json, model.safetensors (or shards with model.safetensors.index.json) and the
tokenizer's files; an export also has a manifest (see `export_folder`). transformers is not needed.
Parameter names are the same on both sides.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import safetensors.torch
import tokenizers
import torch
from safetensors import SafetensorError
from torch import Tensor

from arsbench.config.schema import ModelConfig
from arsbench.documents import parse_json
from arsbench.errors import UserError
from arsbench.files import atomic_write, read_regular
from arsbench.models.export_folder import export_folder
from arsbench.models.transformer import INITIAL_STD, Transformer
from arsbench.models.weights_file import write_safetensors
from arsbench.ops import RMS_NORM_EPS

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
TOKENIZER = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
README = "README.md"
# The sizes in config.json, and the keys of this package's section `model` that they stand for.
SIZES = {
    "hidden_size": "embedding_size",
    "intermediate_size": "intermediate_size",
    "num_hidden_layers": "num_layers",
    "num_attention_heads": "num_heads",
    "num_key_value_heads": "num_kv_heads",
    "head_dim": "head_dim",
    "max_position_embeddings": "sequence_length",
}


def export_huggingface(
    model: Transformer,
    directory: str | os.PathLike[str],
    *,
    tokenizer_path: str | os.PathLike[str],
    eos_id: int,
    pad_id: int,
    readme: str | None = None,
) -> None:
    """Write what `AutoModelForCausalLM` and `AutoTokenizer` load with `from_pretrained(directory)`.

    Args:
        model: its weights are written in their dtype.
        directory: made where missing; an earlier export in it is replaced, whole or not at all.
        tokenizer_path: file of the `tokenizers` library, of the model's vocabulary.
        eos_id: token at which generation ends.
        pad_id: token that pads batches.
        readme: text of README.md, if the directory should have one.

    Raises:
        UserError: the tokenizer cannot be read or has a different vocabulary, the directory holds files that
            are not an export's, or a file cannot be written.
    """
    directory, tokenizer_path = Path(directory), Path(tokenizer_path)
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(tokenizer_path))
    except Exception as error:  # the library raises no narrower type
        raise UserError(f"cannot read the tokenizer {tokenizer_path}: {error}; restore the file") from error
    if tokenizer.get_vocab_size() != model.vocabulary_size:
        raise UserError(
            f"the tokenizer {tokenizer_path} has {tokenizer.get_vocab_size()} entries and the model "
            f"{model.vocabulary_size}; give the tokenizer that the model was trained with"
        )
    tokenizer_config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": model.config.sequence_length,
        "clean_up_tokenization_spaces": False,
        "eos_token": tokenizer.id_to_token(eos_id),
        "pad_token": tokenizer.id_to_token(pad_id),
    }
    token_ids = {"bos_token_id": None, "eos_token_id": eos_id, "pad_token_id": pad_id}
    texts = {TOKENIZER_CONFIG: _json(tokenizer_config)} | ({README: readme} if readme else {})
    texts[CONFIG] = _json(_to_huggingface(model) | token_ids)
    with export_folder(directory, (WEIGHTS, TOKENIZER, *texts)) as folder:
        with atomic_write(folder / WEIGHTS, "wb") as file:
            # A tied head is not a separate parameter, and transformers expects no entry for it.
            write_safetensors(file, dict(model.named_parameters()))
        with atomic_write(folder / TOKENIZER, "wb") as file:
            file.write(tokenizer_path.read_bytes())
        for name, text in texts.items():
            with atomic_write(folder / name) as file:
                file.write(text)


def load_huggingface(directory: str | os.PathLike[str]) -> Transformer:
    """The model of a Hugging Face Qwen3 directory, in float32 on the CPU.

    Args:
        directory: config.json beside model.safetensors, or beside shards and their index.

    Raises:
        UserError: a file is missing or damaged, the weights do not fit config.json, or the architecture is
            not the Qwen3 that this package computes.
    """
    directory = Path(directory)
    path = directory / CONFIG
    table = _read_json(path)
    try:
        config = _from_huggingface(table, path)
        with torch.device("meta"):
            model = Transformer(config, table["vocab_size"])
    except KeyError as error:
        raise UserError(f"{path} lacks {error}; give a complete Qwen3 directory") from error
    except (AttributeError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{path} describes no model: {error}; give a complete Qwen3 directory") from error
    weights = _read_weights(directory)
    if config.tie_word_embeddings:
        weights.pop("lm_head.weight", None)  # a copy of the embedding that some writers add
    problem = _misfit(dict(model.named_parameters()), weights)
    if problem:
        raise UserError(f"{directory}: the weights do not fit {CONFIG}: {problem}; give a complete directory")
    model.load_state_dict({name: weight.float() for name, weight in weights.items()}, assign=True)
    return model


def _to_huggingface(model: Transformer) -> dict[str, Any]:
    config = model.config
    dtype = str(model.model.embed_tokens.weight.dtype).removeprefix("torch.")
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "vocab_size": model.vocabulary_size,
        **{key: getattr(config, name) for key, name in SIZES.items()},
        "num_key_value_heads": config.num_kv_heads or config.num_heads,
        # transformers 5 reads the table, transformers 4 the number.
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        "rope_theta": config.rope_theta,
        "hidden_act": "silu",
        "rms_norm_eps": RMS_NORM_EPS,
        "initializer_range": INITIAL_STD,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "use_sliding_window": False,
        "tie_word_embeddings": config.tie_word_embeddings,
        "use_cache": True,
        # The older name is transformers 4's.
        "dtype": dtype,
        "torch_dtype": dtype,
    }


def _from_huggingface(table: dict[str, Any], path: Path) -> ModelConfig:
    """Our configuration from Hugging Face's; a model that we would compute differently is refused."""
    rope = table.get("rope_parameters") or table.get("rope_scaling") or {}
    fixed = {
        "model_type": (table.get("model_type"), "qwen3"),
        "hidden_act": (table.get("hidden_act", "silu"), "silu"),
        "rms_norm_eps": (table.get("rms_norm_eps", RMS_NORM_EPS), RMS_NORM_EPS),
        "attention_bias": (table.get("attention_bias", False), False),
        "use_sliding_window": (table.get("use_sliding_window", False), False),
        "rope_type": (rope.get("rope_type", rope.get("type", "default")), "default"),
    }
    for name, (value, wanted) in fixed.items():
        if value != wanted:
            raise UserError(f"{path} has {name} {value!r}; only Qwen3 with {wanted!r} can be read")
    return ModelConfig(
        vocabulary_size=table["vocab_size"],
        rope_theta=float(rope["rope_theta"] if "rope_theta" in rope else table["rope_theta"]),
        tie_word_embeddings=table.get("tie_word_embeddings", False),
        **{name: table[key] for key, name in SIZES.items()},
    )


def _read_weights(directory: Path) -> dict[str, Tensor]:
    """All tensors by name, from one file or from the shards that the index names."""
    shards = [WEIGHTS]
    if not (directory / WEIGHTS).exists() and (directory / INDEX).exists():
        index = _read_json(directory / INDEX).get("weight_map")
        if not isinstance(index, dict) or not all(isinstance(name, str) for name in index.values()):
            raise UserError(f"{directory / INDEX} has no weight_map of file names; restore the file")
        shards = sorted(set(index.values()))
    weights: dict[str, Tensor] = {}
    for name in shards:
        try:
            weights |= safetensors.torch.load_file(directory / name)
        except (OSError, SafetensorError) as error:
            raise UserError(f"cannot read {directory / name}: {error}; restore the file") from error
    return weights


def _misfit(parameters: dict[str, Tensor], weights: dict[str, Tensor]) -> str | None:
    """Why `weights` cannot be the values of `parameters`, or None."""
    for name in sorted(parameters.keys() ^ weights.keys()):
        return f"{name} is {'missing' if name in parameters else 'not a parameter of the model'}"
    for name, parameter in parameters.items():
        if parameter.shape != weights[name].shape:
            return f"{name} is {tuple(weights[name].shape)}, not {tuple(parameter.shape)}"
    return None


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = parse_json(read_regular(path))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {error}; give a Hugging Face model's directory") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no JSON object; give a Hugging Face model's directory")
    return content
