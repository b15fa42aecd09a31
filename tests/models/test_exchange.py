"""Both directions between our model and a Hugging Face directory, judged by transformers itself."""

import dataclasses
import json

import pytest
import safetensors.torch
import tokenizers
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

from arsbench.config.schema import ModelConfig
from arsbench.errors import UserError
from arsbench.models import build_model, export_huggingface, load_huggingface

TEXT = ["The river keeps — slowly — its name.", "A café, a window: nothing more.", "the lantern  walks\n"]
EOS, PAD = 0, 1


@pytest.fixture(scope="module")
def tokenizer_path(tmp_path_factory):
    """Byte-level BPE with all 256 bytes and the benchmark's two special tokens first."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=280,
        special_tokens=["<|endoftext|>", "<pad>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    path = tmp_path_factory.mktemp("tokenizer") / "wikitext2_tokenizer.json"
    tokenizer.save(str(path))
    return path


def make_model(tokenizer_path, **sizes):
    sizes = {"tie_word_embeddings": True, "num_kv_heads": 2, **sizes}
    config = ModelConfig(
        embedding_size=48,
        intermediate_size=80,
        num_layers=2,
        num_heads=4,
        head_dim=16,
        sequence_length=63,
        **sizes,
    )
    torch.manual_seed(0)
    model = build_model(config, tokenizers.Tokenizer.from_file(str(tokenizer_path)).get_vocab_size())
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


def export(model, directory, tokenizer_path):
    export_huggingface(model, directory, tokenizer_path=tokenizer_path, eos_id=EOS, pad_id=PAD)


def logits_of(model):
    inputs = torch.randint(270, (2, 63), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        output = model(inputs)
    return getattr(output, "logits", output)


def assert_same_logits(ours, theirs):
    a, b = logits_of(ours), logits_of(theirs)
    assert (a - b).norm() <= 1e-5 * b.norm()


@pytest.mark.parametrize(
    "sizes", [{}, {"tie_word_embeddings": False}, {"num_kv_heads": None, "rope_theta": 5e5}]
)
def test_export_loads_in_transformers_and_back_here(sizes, tmp_path, tokenizer_path):
    model = make_model(tokenizer_path, **sizes)
    export(model, tmp_path / "hf", tokenizer_path)
    theirs, report = AutoModelForCausalLM.from_pretrained(
        tmp_path / "hf", local_files_only=True, output_loading_info=True
    )
    assert isinstance(theirs, Qwen3ForCausalLM)
    assert not any(report.values()), report
    assert (theirs.config.eos_token_id, theirs.config.pad_token_id, theirs.dtype) == (EOS, PAD, torch.float32)
    assert_same_logits(model, theirs)

    back = load_huggingface(tmp_path / "hf")
    assert torch.equal(logits_of(back), logits_of(model))
    expected = dataclasses.replace(
        model.config, vocabulary_size=model.vocabulary_size, num_kv_heads=model.config.num_kv_heads or 4
    )
    assert back.config == expected


def test_exported_tokenizer_is_the_file(tmp_path, tokenizer_path):
    export(make_model(tokenizer_path), tmp_path, tokenizer_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    ours = tokenizers.Tokenizer.from_file(str(tokenizer_path))
    for text in TEXT:
        ids = ours.encode(text).ids
        assert theirs(text)["input_ids"] == ids
        assert theirs.decode(ids) == text
    assert (theirs.eos_token, theirs.pad_token) == ("<|endoftext|>", "<pad>")
    assert (theirs.eos_token_id, theirs.pad_token_id, theirs.model_max_length) == (EOS, PAD, 63)


def test_transformers_4_finds_its_own_names(tmp_path, tokenizer_path):
    export(make_model(tokenizer_path, rope_theta=5e5), tmp_path, tokenizer_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["rope_theta"], config["rope_parameters"]["rope_theta"]) == (5e5, 5e5)
    assert (config["dtype"], config["torch_dtype"]) == ("float32", "float32")


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("shard", ["5GB", "20KB"], ids=["one file", "shards"])
def test_a_qwen3_saved_by_transformers_loads(tied, shard, tmp_path):
    torch.manual_seed(0)
    theirs = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=270, hidden_size=48, intermediate_size=80, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, head_dim=16, max_position_embeddings=63, tie_word_embeddings=tied,
            rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        )
    )  # fmt: skip
    theirs.save_pretrained(tmp_path, max_shard_size=shard)
    assert (len(list(tmp_path.glob("*.safetensors"))) > 1) == (shard == "20KB")
    ours = load_huggingface(tmp_path)
    assert_same_logits(ours, theirs)
    assert all(p.requires_grad and p.dtype == torch.float32 for p in ours.parameters())


def test_bfloat16_weights_load_as_float32(tmp_path, tokenizer_path):
    model = make_model(tokenizer_path).bfloat16()
    export(model, tmp_path, tokenizer_path)
    back = load_huggingface(tmp_path)
    for parameter, source in zip(back.parameters(), model.parameters(), strict=True):
        assert torch.equal(parameter, source.float())


def test_a_tied_head_that_was_saved_anyway_is_passed_over(tmp_path, tokenizer_path):
    model = make_model(tokenizer_path)
    export(model, tmp_path, tokenizer_path)
    weights = safetensors.torch.load_file(tmp_path / "model.safetensors")
    assert "lm_head.weight" not in weights
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()
    safetensors.torch.save_file(weights, tmp_path / "model.safetensors")
    assert torch.equal(logits_of(load_huggingface(tmp_path)), logits_of(model))


def edit_config(**changes):
    def edit(directory):
        config = json.loads((directory / "config.json").read_text())
        config.update(changes)
        (directory / "config.json").write_text(json.dumps({k: v for k, v in config.items() if v is not None}))

    return edit


def truncate_weights(directory):
    path = directory / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def drop_tensor(directory):
    weights = safetensors.torch.load_file(directory / "model.safetensors")
    del weights["model.norm.weight"]
    safetensors.torch.save_file(weights, directory / "model.safetensors")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda directory: (directory / "config.json").unlink(), "cannot read .*config.json"),
        (lambda directory: (directory / "config.json").write_text("[]"), "no JSON object"),
        (lambda directory: (directory / "model.safetensors").unlink(), "cannot read .*model.safetensors"),
        (truncate_weights, "cannot read .*model.safetensors"),
        (drop_tensor, "model.norm.weight is missing"),
        (edit_config(model_type="llama"), "model_type 'llama'"),
        (edit_config(attention_bias=True), "attention_bias True"),
        (edit_config(rope_parameters={"rope_type": "yarn", "rope_theta": 1e4}), "rope_type 'yarn'"),
        (edit_config(hidden_size=None), "lacks 'hidden_size'"),
        (edit_config(num_key_value_heads=3), "3 does not divide 4"),
        (edit_config(hidden_size="wide"), "describes no model"),
        (edit_config(intermediate_size=81), r"gate_proj.weight is \(80, 48\), not \(81, 48\)"),
    ],
)
def test_a_directory_that_does_not_fit(damage, message, tmp_path, tokenizer_path):
    export(make_model(tokenizer_path), tmp_path, tokenizer_path)
    damage(tmp_path)
    with pytest.raises(UserError, match=message):
        load_huggingface(tmp_path)


def test_export_refuses_another_tokenizer(tmp_path, tokenizer_path):
    model = build_model(
        ModelConfig(embedding_size=8, num_layers=1, num_heads=1, head_dim=8, intermediate_size=8), 99
    )
    with pytest.raises(UserError, match="has 280 entries and the model 99"):
        export(model, tmp_path / "hf", tokenizer_path)
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    with pytest.raises(UserError, match="cannot read the tokenizer"):
        export(model, tmp_path / "hf", broken)
    assert not (tmp_path / "hf").exists()


def test_export_to_a_place_that_cannot_be_written(tmp_path, tokenizer_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        export(make_model(tokenizer_path), tmp_path / "file" / "hf", tokenizer_path)
