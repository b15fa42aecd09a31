"""Which tensors are matrices, and what a group's hyperparameters come from."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from arsbench.optim import ARS, AdamW, Muon, describe_groups, split_parameters


class Small(nn.Module):
    def __init__(self, tied: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(12, 8)
        self.bag = nn.EmbeddingBag(5, 8)
        self.layers = nn.ModuleList(nn.ModuleDict({"output": nn.Linear(8, 8)}) for _ in range(2))
        self.norm = nn.LayerNorm(8)
        self.conv = nn.Conv2d(2, 3, 3)
        self.unembed = nn.Linear(8, 12, bias=False)  # named like no head: known only by its weight
        self.classifier = nn.Linear(8, 4)
        if tied:
            self.unembed.weight = self.embedding.weight


def names(model: nn.Module) -> tuple[set[str], set[str]]:
    matrix, rest = split_parameters(model)
    assert (matrix["kind"], rest["kind"]) == ("matrix", "adamw")
    assert len(matrix["param_names"]) == len(matrix["params"])
    return set(matrix["param_names"]), set(rest["param_names"])


def test_embeddings_and_heads_are_no_matrices() -> None:
    matrix, rest = names(Small(tied=True))
    assert matrix == {"layers.0.output.weight", "layers.1.output.weight", "conv.weight"}
    assert {"embedding.weight", "bag.weight", "classifier.weight", "norm.weight", "conv.bias"} <= rest
    assert "unembed.weight" not in matrix | rest  # the same tensor as the embedding's, counted once


def test_all_matrices_are_those_of_embeddings_and_heads_too() -> None:
    matrix, rest = split_parameters(Small(tied=True), "all")
    hidden, _ = names(Small(tied=True))
    assert set(matrix["param_names"]) == hidden | {"embedding.weight", "bag.weight", "classifier.weight"}
    assert set(rest["param_names"]) == {
        "layers.0.output.bias",
        "layers.1.output.bias",
        "norm.weight",
        "norm.bias",
        "conv.bias",
        "classifier.bias",
    }


def test_an_untied_linear_of_another_name_is_a_matrix() -> None:
    assert "unembed.weight" in names(Small(tied=False))[0]


def test_get_output_embeddings_is_asked() -> None:
    class WithGetter(Small):
        def get_output_embeddings(self) -> nn.Module:
            return self.unembed

    wrapped = nn.ModuleDict({"module": WithGetter(tied=False)})
    assert "module.unembed.weight" in names(wrapped)[1]


def test_frozen_parameters_are_left_out() -> None:
    model = Small(tied=False)
    model.conv.requires_grad_(False)
    assert not any("conv" in name for name in set.union(*names(model)))


@pytest.mark.parametrize("tied", [True, False])
def test_the_seed_model(tied: bool) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.Qwen3Config(
        vocab_size=40479, hidden_size=512, intermediate_size=2048, num_hidden_layers=4, num_attention_heads=6,
        num_key_value_heads=6, head_dim=128, tie_word_embeddings=tied,
    )  # fmt: skip
    with torch.device("meta"):
        matrix, rest = split_parameters(transformers.Qwen3ForCausalLM(config))
    assert len(matrix["params"]) == 28
    assert sum(p.numel() for p in matrix["params"]) == 18_874_368
    total = sum(p.numel() for group in (matrix, rest) for p in group["params"])
    assert total == 39_605_248 + (0 if tied else 40479 * 512)


def test_plain_parameters_are_one_group_and_split_by_dimensions_inside() -> None:
    params = [nn.Parameter(torch.ones(shape)) for shape in ((3,), (2, 2), (2, 2, 2), ())]
    optimizer = Muon(iter(params))
    (only,) = optimizer.param_groups
    assert all(p is q for p, q in zip(only["params"], params, strict=True))
    for p in params:
        p.grad = torch.ones_like(p)
    optimizer.step()
    assert ["momentum_buffer" in optimizer.state[p] for p in params] == [False, True, True, False]
    assert ["exp_avg" in optimizer.state[p] for p in params] == [True, False, False, True]


def test_named_parameters_keep_their_names() -> None:
    (only,) = ARS(nn.Linear(3, 2).named_parameters()).param_groups
    assert only["param_names"] == ["weight", "bias"]


def test_the_adamw_group_has_hyperparameters_of_its_own() -> None:
    model = nn.Linear(3, 2)
    matrix, rest = ARS(split_parameters(model), lr=0.1, weight_decay=0.5).param_groups
    assert rest["lr"] == 0.1
    assert (rest["betas"], rest["eps"], rest["weight_decay"]) == ((0.9, 0.999), 1e-8, 0.01)
    assert "ns_steps" in matrix
    assert "ns_steps" not in rest
    assert "k" not in matrix
    rest_alone = {"adam_lr": 0.3, "adam_betas": [0.5, 0.6], "adam_eps": 1e-3, "adam_weight_decay": 0.7}
    _, rest = ARS(split_parameters(model), lr=0.1, **rest_alone).param_groups
    assert [rest[key] for key in ("lr", "betas", "eps", "weight_decay")] == [0.3, (0.5, 0.6), 1e-3, 0.7]


def test_what_a_group_gives_goes_first() -> None:
    weight, bias = nn.Linear(3, 2).parameters()
    given = {"params": [weight, bias], "lr": 0.7, "adam_eps": 1e-4, "label": "mine"}
    (group,) = ARS([given], lr=0.1, adam_lr=0.2).param_groups
    assert (group["lr"], group["adam_lr"], group["adam_eps"]) == (0.7, None, 1e-4)
    assert group["label"] == "mine"
    assert given.keys() == {"params", "lr", "adam_eps", "label"}  # the caller's dict is the caller's
    (rest,) = ARS([{"params": [bias], "kind": "adamw", "lr": 0.7}], lr=0.1, adam_lr=0.2).param_groups
    assert rest["lr"] == 0.7


def test_a_scheduler_of_lr_scales_adam_lr_too() -> None:
    moves = []
    for arguments in ({"lr": 0.1, "adam_lr": 0.4}, {"lr": 0.025, "adam_lr": 0.1}):
        p = nn.Parameter(torch.ones(3))
        optimizer = ARS([p], k=0, adam_weight_decay=0.0, **arguments)
        optimizer.param_groups[0]["lr"] = 0.025
        p.grad = torch.ones(3)
        optimizer.step()
        moves.append(1 - p.detach())
    assert torch.equal(*moves)
    assert moves[0][0].item() == pytest.approx(0.1)


def test_a_group_made_at_a_learning_rate_of_zero_moves_once_it_has_one() -> None:
    p = nn.Parameter(torch.ones(3))
    optimizer = ARS([p], k=0, lr=0.0, adam_lr=0.1, adam_weight_decay=0.0)
    moves = []
    for lr in (0.0, 0.5):
        optimizer.param_groups[0]["lr"] = lr
        p.grad, before = torch.ones(3), p.detach().clone()
        optimizer.step()
        moves.append((before - p.detach()).max().item())
    assert moves == [0.0, pytest.approx(0.1)]


def test_groups_are_described_in_plain_types() -> None:
    model = nn.Linear(3, 2)
    matrix, rest = json.loads(json.dumps(describe_groups(ARS(split_parameters(model), lr=0.1))))
    assert matrix["name"] == "matrix"
    assert (matrix["tensors"], matrix["parameters"]) == (1, 6)
    assert (matrix["hyperparameters"]["lr"], matrix["hyperparameters"]["betas"]) == (0.1, [0.9, 0.999])
    assert (rest["name"], rest["tensors"], rest["parameters"]) == ("adamw", 1, 2)
    (only,) = json.loads(json.dumps(describe_groups(AdamW(model.parameters()))))
    assert (only["name"], only["tensors"], only["parameters"]) == ("0", 2, 8)
