"""Distributed checkpoints, ZeroRedundancyOptimizer and FSDP2, all in one process."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.optim import ZeroRedundancyOptimizer

from arsbench.optim import ARS, AdaMuon, AdaRMSuon, Muon, RMSuon, split_parameters

Make = Callable[..., torch.optim.Optimizer]
FLAT = [False, True]
pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled")


class Network(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.hidden = torch.nn.Linear(6, 8)
        self.norm = torch.nn.LayerNorm(8)
        self.head = torch.nn.Linear(8, 3)

    def train_steps(self, optimizer: torch.optim.Optimizer, steps: range) -> list[float]:
        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            loss = ((self.head(torch.tanh(self.norm(self.hidden(x)))) - y) ** 2).mean()
            loss.backward()
            return loss

        losses = []
        for step in steps:
            draw = torch.Generator().manual_seed(step)
            x, y = torch.randn(5, 6, generator=draw), torch.randn(5, 3, generator=draw)
            losses.append(optimizer.step(closure).item())
        return losses


@pytest.mark.parametrize("flat", FLAT, ids=["nested", "flat"])
@pytest.mark.parametrize("split", [False, True], ids=["list", "split"])
@pytest.mark.parametrize("begun", [0, 3], ids=["at-start", "begun"])
def test_a_distributed_checkpoint_goes_on_bit_for_bit(
    make: Make, tmp_path: Path, flat: bool, split: bool, begun: int
) -> None:

    def state_of(model: Network, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        saved = get_optimizer_state_dict(model, optimizer, options=options)
        return {"model": model.state_dict(), "optimizer": saved}

    options = StateDictOptions(flatten_optimizer_state_dict=flat)
    model = Network()
    optimizer = make(split_parameters(model) if split else model.parameters())
    model.train_steps(optimizer, range(begun))
    dcp.save(copy.deepcopy(state_of(model, optimizer)), checkpoint_id=tmp_path / "checkpoint")

    other = Network()
    loaded = make(split_parameters(other) if split else other.parameters())
    before = [p.detach().clone() for p in other.parameters()]
    template = state_of(other, loaded)
    for p, old in zip(other.parameters(), before, strict=True):
        assert torch.equal(p, old)  # the step that makes the state moves nothing
    dcp.load(template, checkpoint_id=tmp_path / "checkpoint")
    other.load_state_dict(template["model"])
    set_optimizer_state_dict(other, loaded, template["optimizer"], options=options)

    steps = range(begun, begun + 10)
    assert model.train_steps(optimizer, steps) == other.train_steps(loaded, steps)
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(p, q)
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        for name, value in optimizer.state[p].items():
            assert torch.equal(value, loaded.state[q][name]), name


def test_a_flatness_vector_that_was_lost_is_saved_as_zeros(tmp_path: Path) -> None:
    model = Network()
    optimizer = ARS(model.parameters(), k=4)
    calls: list[int] = []

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        calls.append(1)
        loss = (model.hidden.weight**2).sum()
        if len(calls) == 1:
            loss = loss + sum((p**2).sum() for p in model.parameters())
        loss.backward()
        return loss

    optimizer.step(closure)
    saved = get_optimizer_state_dict(model, optimizer)["state"]
    assert not saved["norm.weight"]["flatness"].any()
    assert saved["hidden.weight"]["flatness"].isfinite().all()


def test_ars_needs_a_closure_where_something_would_move() -> None:
    model = Network()
    sum((p**2).sum() for p in model.parameters()).backward()
    optimizer = ARS(model.parameters(), lr=0.0, adam_lr=0.1)
    before = [p.detach().clone() for p in model.parameters()]
    optimizer.step()
    for p, old in zip(model.parameters(), before, strict=True):
        assert torch.equal(p, old)
        assert optimizer.state[p]["step"] == 0
    optimizer.param_groups[0]["lr"] = 0.1
    with pytest.raises(ValueError, match="needs a closure, as sync steps run the loss twice"):
        optimizer.step()


@pytest.fixture
def one_process(tmp_path: Path) -> Iterator[None]:
    """A process group of this process alone."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("one_process")
@pytest.mark.parametrize("cls", [ARS, AdaRMSuon, RMSuon, AdaMuon, Muon])
def test_zero_redundancy_optimizer(cls: type[torch.optim.Optimizer]) -> None:
    model, reference = Network(), Network()
    arguments: dict[str, Any] = {"lr": 0.01} | ({"k": 0} if cls is ARS else {})
    sharded = ZeroRedundancyOptimizer(model.parameters(), optimizer_class=cls, **arguments)
    plain = cls(reference.parameters(), **arguments)
    assert model.train_steps(sharded, range(4)) == reference.train_steps(plain, range(4))
    sharded.consolidate_state_dict()
    assert "global" not in sharded.state_dict()["state"]


@pytest.mark.usefixtures("one_process")
@pytest.mark.parametrize("cls", [ARS, AdaRMSuon, RMSuon, AdaMuon, Muon])
def test_dtensors_are_refused_in_a_sentence(cls: type[torch.optim.Optimizer]) -> None:
    from torch.distributed.fsdp import fully_shard

    model = Network()
    fully_shard(model, mesh=dist.init_device_mesh("cpu", (1,)))
    with pytest.raises(ValueError, match=f"DTensor, and {cls.__name__} does not support fully_shard"):
        cls(model.parameters())
