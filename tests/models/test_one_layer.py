"""The one-layer transformer against a transcription of its formulas, row by row, in float64."""

import math

import numpy as np
import pytest
import torch

from arsbench.config.schema import ModelConfig
from arsbench.models import OneLayerTransformer

VOCABULARY = 11


def make_model(**sizes):
    small = {"embedding_size": 12, "num_heads": 3, "head_dim": 5, "intermediate_size": 7}
    config = ModelConfig(**small | {"sequence_length": 4} | sizes)
    torch.manual_seed(1)
    model = OneLayerTransformer(config, VOCABULARY).double()
    for parameter in model.parameters():  # biases too, or nobody would notice that one is missing
        torch.nn.init.normal_(parameter, 0.0, 0.7)
    return model


def make_rows(length, rows=6):
    generator = torch.Generator().manual_seed(length)
    inputs = torch.randint(VOCABULARY, (rows, length), generator=generator)
    return inputs, torch.randint(VOCABULARY, (rows,), generator=generator)


def logits_of_a_row(tokens, weights, heads):
    """Every position of an ordinary causal transformer; the last one's logits."""
    w = {name: value.detach().numpy() for name, value in weights.items()}
    x = np.array([w["embed_tokens.weight"][t] + w["embed_positions.weight"][i] for i, t in enumerate(tokens)])
    D = len(w["q_proj.weight"]) // heads
    attended = np.zeros((len(x), heads * D))
    for h in range(heads):
        part = slice(h * D, (h + 1) * D)
        q, k, v = (x @ w[f"{name}_proj.weight"][part].T for name in "qkv")
        for i in range(len(x)):
            scores = np.array([q[i] @ k[j] / math.sqrt(D) for j in range(i + 1)])
            probabilities = np.exp(scores) / np.exp(scores).sum()
            attended[i, part] = sum(p * v[j] for j, p in enumerate(probabilities))
    x = x + attended @ w["o_proj.weight"].T
    inside = np.maximum(x @ w["up_proj.weight"].T + w["up_proj.bias"], 0)
    x = x + inside @ w["down_proj.weight"].T + w["down_proj.bias"]
    return x[-1] @ w["lm_head.weight"].T


@pytest.mark.parametrize("length", [1, 3, 4])
@pytest.mark.parametrize("heads", [1, 3])
def test_logits_are_those_of_the_formulas(length, heads):
    model = make_model(num_heads=heads)
    inputs, _ = make_rows(length)
    got = model(inputs).detach().numpy()
    for row, logits in zip(inputs.tolist(), got, strict=True):
        expected = logits_of_a_row(row, dict(model.named_parameters()), heads)
        np.testing.assert_allclose(logits, expected, rtol=1e-10, atol=1e-12)


def test_gradients_are_those_of_finite_differences():
    model = make_model()
    inputs, targets = make_rows(3)
    model.loss(inputs, targets).loss.backward()
    draw = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        direction = torch.randn(parameter.shape, generator=draw, dtype=torch.float64)
        losses = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter += sign * 1e-6 * direction
                losses.append(model.loss(inputs, targets).loss.item())
                parameter -= sign * 1e-6 * direction
        slope = (losses[0] - losses[1]) / 2e-6
        assert (parameter.grad * direction).sum().item() == pytest.approx(slope, rel=1e-5, abs=1e-8), name


def test_loss_entropy_and_right_answers_are_those_of_the_logits():
    model = make_model()
    inputs, targets = make_rows(3, rows=200)
    logits = model(inputs)
    targets[:50] = logits.argmax(-1)[:50]
    output = model.loss(inputs, targets)
    expected = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
    torch.testing.assert_close(output.token_loss, expected)
    torch.testing.assert_close(output.loss, expected.mean())
    torch.testing.assert_close(output.entropy, torch.distributions.Categorical(logits=logits).entropy())
    assert torch.equal(output.correct, logits.argmax(-1) == targets)
    assert output.loss.requires_grad
    assert not output.token_loss.requires_grad
    assert not output.entropy.requires_grad


def test_initialisation():
    """As in the published experiments: 1/E, the head 1/V, biases zero."""
    torch.manual_seed(3)
    config = ModelConfig(
        embedding_size=64, num_heads=4, head_dim=32, intermediate_size=256, sequence_length=40
    )
    model = OneLayerTransformer(config, 300)
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1:
            assert (parameter == 0).all(), name
        else:
            std = (300 if name == "lm_head.weight" else 64) ** -0.5
            # The standard error of a deviation from n draws is σ/√(2n), of a mean σ/√n.
            n = parameter.numel()
            assert abs(parameter.std() - std) < 5 * std / (2 * n) ** 0.5, name
            assert abs(parameter.mean()) < 5 * std / n**0.5, name


def test_under_autocast_the_loss_stays_float32():
    model = make_model().float()
    inputs, targets = make_rows(3)
    expected = model.loss(inputs, targets)
    with torch.autocast("cpu", torch.bfloat16):
        got = model.loss(inputs, targets)
    assert got.loss.dtype == got.entropy.dtype == torch.float32
    assert got.loss.item() == pytest.approx(expected.loss.item(), rel=0.05)
    got.loss.backward()
    assert all(p.grad.dtype == torch.float32 for p in model.parameters())
