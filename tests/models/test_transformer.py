"""The model against transformers' Qwen3, and what is ours alone: initialisation, loss, compilation."""

import pytest
import torch
from torch.nn import functional
from transformers import Qwen3Config, Qwen3ForCausalLM

from arsbench.config.schema import ModelConfig
from arsbench.models import build_model

SMALL = {"embedding_size": 48, "intermediate_size": 80, "num_layers": 2, "num_heads": 4, "head_dim": 16}


def make_config(**sizes):
    return ModelConfig(**{**SMALL, "sequence_length": 64, **sizes})


def make_peer(config, vocabulary_size):
    """transformers' model of the same sizes, its norms away from one so that they matter."""
    torch.manual_seed(0)
    peer = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=vocabulary_size,
            hidden_size=config.embedding_size,
            intermediate_size=config.intermediate_size,
            num_hidden_layers=config.num_layers,
            num_attention_heads=config.num_heads,
            num_key_value_heads=config.num_kv_heads or config.num_heads,
            head_dim=config.head_dim,
            max_position_embeddings=config.sequence_length,
            rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
            tie_word_embeddings=config.tie_word_embeddings,
        )
    )
    for name, parameter in peer.named_parameters():
        if parameter.dim() == 1:
            torch.nn.init.normal_(parameter, 1.0, 0.2, generator=torch.Generator().manual_seed(len(name)))
    return peer


def make_tokens(vocabulary_size, length, batch=2):
    return torch.randint(vocabulary_size, (batch, length), generator=torch.Generator().manual_seed(length))


def relative(got, expected):
    return ((got - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize(
    ("sizes", "vocabulary_size", "length"),
    [
        ({}, 97, 33),
        ({}, 5, 1),
        ({"num_kv_heads": 2}, 97, 64),
        ({"num_kv_heads": 1, "rope_theta": 1e6}, 97, 7),
        ({"embedding_size": 512, "num_heads": 6, "head_dim": 128, "sequence_length": 255}, 301, 255),
    ],
)
def test_logits_and_gradients_are_transformers(sizes, vocabulary_size, length, tied):
    config = make_config(tie_word_embeddings=tied, **sizes)
    peer = make_peer(config, vocabulary_size)
    model = build_model(config, vocabulary_size)
    weights = {name: parameter.detach() for name, parameter in peer.named_parameters()}
    model.load_state_dict(weights)  # strict: the very same names
    inputs, targets = make_tokens(vocabulary_size, length), make_tokens(vocabulary_size, length).roll(1, 0)

    logits = peer(inputs).logits
    assert relative(model(inputs), logits) <= 1e-5

    functional.cross_entropy(logits.flatten(0, 1), targets.flatten()).backward()
    model.loss(inputs, targets).loss.backward()
    for name, parameter in model.named_parameters():
        expected = peer.get_parameter(name).grad
        if length == 1 and name.rsplit(".", 2)[-2] in ("q_proj", "k_proj", "q_norm", "k_norm"):
            # A single position attends to itself whatever its query and key: both gradients are rounding.
            assert parameter.grad.abs().max() <= 1e-6
        else:
            # Two float32 computations in different order; measured 1e-6 to 4e-6.
            assert relative(parameter.grad, expected) <= 2e-5, name


def test_the_seeds_model_has_its_size():
    model = build_model(ModelConfig(), 40479)
    assert sum(parameter.numel() for parameter in model.parameters()) == 39_605_248
    matrices = [p for name, p in model.named_parameters() if p.dim() == 2 and "embed_tokens" not in name]
    assert (len(matrices), sum(p.numel() for p in matrices)) == (28, 18_874_368)


def test_initialisation():
    torch.manual_seed(3)
    model = build_model(make_config(tie_word_embeddings=False), 500)
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad
        if parameter.dim() == 1:
            assert (parameter == 1).all(), name
        else:
            # The standard error of a deviation from n draws is σ/√(2n), of a mean σ/√n.
            n = parameter.numel()
            assert abs(parameter.std() - 0.02) < 5 * 0.02 / (2 * n) ** 0.5, name
            assert abs(parameter.mean()) < 5 * 0.02 / n**0.5, name


def test_the_generator_decides_the_weights():
    def weights(**options):
        return torch.cat([p.flatten() for p in build_model(make_config(), 97, **options).parameters()])

    torch.manual_seed(3)
    first = weights()
    assert not torch.equal(first, weights())
    torch.manual_seed(3)
    assert torch.equal(first, weights())
    assert torch.equal(first, weights(generator=torch.Generator().manual_seed(3)))


def test_loss_is_that_of_the_logits():
    model = build_model(make_config(), 97).double()
    inputs = make_tokens(97, 9)
    targets = inputs.roll(-1, 1)
    targets[:, -1] = 0
    loss, token_loss, entropy, _ = model.loss(inputs, targets, ignore_index=0)
    logits = model(inputs)
    expected = functional.cross_entropy(logits.mT, targets, ignore_index=0, reduction="none")
    torch.testing.assert_close(token_loss, expected)
    torch.testing.assert_close(loss, expected.sum() / (targets != 0).sum())
    torch.testing.assert_close(entropy, torch.distributions.Categorical(logits=logits).entropy())


def test_compiles_without_a_break():
    model = build_model(make_config(num_kv_heads=2), 97)
    inputs, targets = make_tokens(97, 9), make_tokens(97, 9).roll(1, 0)
    compiled = torch.compile(model.loss, backend="aot_eager", fullgraph=True)
    compiled(inputs, targets).loss.backward()
    got = [p.grad for p in model.parameters()]
    model.zero_grad()
    model.loss(inputs, targets).loss.backward()
    for a, p in zip(got, model.parameters(), strict=True):
        torch.testing.assert_close(a, p.grad)
    torch.testing.assert_close(compiled(inputs, targets).entropy, model.loss(inputs, targets).entropy)


def test_trains_under_bfloat16_autocast_with_float32_weights():
    torch.manual_seed(0)
    model = build_model(make_config(), 97)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    inputs = make_tokens(97, 17)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            output = model.loss(inputs[:, :-1], inputs[:, 1:])
        output.loss.backward()
        optimizer.step()
        losses.append(output.loss.item())
    assert output.loss.dtype == torch.float32
    assert all(p.grad.dtype == torch.float32 for p in model.parameters())
    assert losses[-1] < 0.5 * losses[0]


def test_autocast_leaves_float64_alone():
    model = build_model(make_config(), 97).double()
    inputs, targets = make_tokens(97, 9), make_tokens(97, 9).roll(1, 0)
    with torch.autocast("cpu", torch.bfloat16):
        got = model.loss(inputs, targets).loss
    assert torch.equal(got, model.loss(inputs, targets).loss)


def test_key_value_heads_must_divide_the_heads():
    with pytest.raises(ValueError, match="3 does not divide 4"):
        build_model(make_config(num_kv_heads=3), 97)
