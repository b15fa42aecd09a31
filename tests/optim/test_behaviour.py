"""What anybody expects of a torch.optim.Optimizer, of every one of ours."""

from __future__ import annotations

import io
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch

from arsbench.optim import ARS, AdaRMSuon, Muon

DTYPES = [torch.float32, torch.bfloat16, torch.float64]
Make = Callable[..., torch.optim.Optimizer]


def tensors_of(state: Any) -> dict[str, torch.Tensor]:
    """Every tensor in a nested state, by its path."""
    if isinstance(state, torch.Tensor):
        return {"": state}
    items = state.items() if isinstance(state, dict) else enumerate(state) if isinstance(state, list) else ()
    return {f"{key}/{path}": t for key, value in items for path, t in tensors_of(value).items()}


def assert_same_bits(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for path, tensor in a.items():
        assert tensor.dtype == b[path].dtype, path
        assert torch.equal(tensor, b[path]), path


def bits(p: Any, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    return tensors_of({"params": [q.detach() for q in p.params], "optimizer": optimizer.state_dict()})


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_two_runs_are_bitwise_equal(make: Make, problem: type, dtype: torch.dtype) -> None:
    runs = []
    for _ in range(2):
        p = problem(dtype)
        optimizer = make(p.params)
        losses = p.train(optimizer, range(6))
        runs.append((losses, bits(p, optimizer), optimizer.diagnostics()))
    assert runs[0][0] == runs[1][0]
    assert_same_bits(runs[0][1], runs[1][1])
    assert runs[0][2] == runs[1][2]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_resumes_bit_for_bit_from_a_file(make: Make, problem: type, dtype: torch.dtype) -> None:
    """Three steps end in the middle of a cycle of k = 4."""
    whole = problem(dtype)
    undisturbed = make(whole.params)
    whole.train(undisturbed, range(3))

    file = io.BytesIO()
    torch.save({"optimizer": undisturbed.state_dict(), "params": [p.detach() for p in whole.params]}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)

    resumed = problem(dtype)
    for p, value in zip(resumed.params, saved["params"], strict=True):
        p.data.copy_(value)
    optimizer = make(resumed.params)
    optimizer.load_state_dict(saved["optimizer"])
    assert_same_bits(bits(resumed, optimizer), bits(whole, undisturbed))

    steps = range(3, 8)
    assert whole.train(undisturbed, steps) == resumed.train(optimizer, steps)
    assert_same_bits(bits(resumed, optimizer), bits(whole, undisturbed))
    assert optimizer.diagnostics() == undisturbed.diagnostics()


@pytest.mark.parametrize("optimizer", [ARS, AdaRMSuon, Muon])
def test_loaded_state_shares_nothing(optimizer: type, problem: type) -> None:
    a, b = problem(), problem()
    first, second = optimizer(a.params), optimizer(b.params)
    a.train(first, range(2))
    before = deepcopy(first.state_dict())
    second.load_state_dict(first.state_dict())
    b.train(second, range(2, 5))
    assert_same_bits(tensors_of(first.state_dict()), tensors_of(before))
    assert first.state_dict()["state"][0]["step"] == 2


def test_state_of_another_optimizer_is_refused(problem: type) -> None:
    a = problem()
    torch_optimizer = torch.optim.SGD(a.params, lr=0.1)
    single_group = ARS([{"params": a.params[:5], "kind": "matrix"}])
    with pytest.raises(ValueError, match=r"not ARS's: a parameter group has no .*ns_steps"):
        single_group.load_state_dict(torch_optimizer.state_dict())
    muon, other = Muon(a.params), AdaRMSuon(a.params)
    a.train(muon, range(1))
    mixed = {"state": muon.state_dict()["state"], "param_groups": other.state_dict()["param_groups"]}
    with pytest.raises(ValueError, match="not AdaRMSuon's: the state of a parameter has no exp_avg"):
        other.load_state_dict(mixed)


def test_deepcopy_goes_on_alike(make: Make, problem: type) -> None:
    p = problem()
    optimizer = make(p.params)
    p.train(optimizer, range(3))
    q, twin = deepcopy((p, optimizer))
    assert p.train(optimizer, range(3, 7)) == q.train(twin, range(3, 7))
    assert_same_bits(bits(p, optimizer), bits(q, twin))
    new = [torch.nn.Parameter(torch.ones(shape)) for shape in ((3,), (3, 3))]
    twin.add_param_group({"params": new})
    assert len(twin.param_groups) == len(optimizer.param_groups) + 1


def test_one_list_of_parameters_is_one_group_for_a_scheduler(make: Make, problem: type) -> None:
    p = problem()
    optimizer = make(p.params)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, [lambda step: float(step < 2)])
    for step in range(2):
        p.train(optimizer, range(step, step + 1))
        scheduler.step()
    before = [q.detach().clone() for q in p.params]
    p.train(optimizer, range(2, 4))
    for q, old in zip(p.params, before, strict=True):
        assert torch.equal(q, old)  # at a learning rate of 0 nothing moves


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_parameters_move_but_for_those_without_gradient(
    make: Make, problem: type, dtype: torch.dtype
) -> None:
    p = problem(dtype)
    before = [q.detach().clone() for q in p.params]
    optimizer = make(p.params)
    p.train(optimizer, range(6))
    for q, old in zip(p.params[:-1], before[:-1], strict=True):
        assert q.isfinite().all()
        assert not torch.equal(q, old)
    assert torch.equal(p.unused, before[-1])
    assert p.unused not in optimizer.state


def test_converges_on_a_regression(make: Make) -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 4))
    x = torch.randn(64, 8)
    y = torch.tanh(x @ torch.randn(8, 4))
    optimizer = make(model.parameters(), weight_decay=0.0)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = ((model(x) - y) ** 2).mean()
        loss.backward()
        return loss

    losses = [optimizer.step(closure).item() for _ in range(100)]
    assert losses[-1] < 0.3 * losses[0]


def test_a_step_without_any_gradient_changes_nothing(make: Make, problem: type) -> None:
    p = problem()
    before = [q.detach().clone() for q in p.params]
    optimizer = make(p.params)
    optimizer.step(lambda: torch.zeros(()))
    for q, old in zip(p.params, before, strict=True):
        assert torch.equal(q, old)
    assert optimizer.diagnostics()["grad_norm"] == 0.0


def test_empty_and_strided_tensors(make: Make) -> None:
    base = torch.randn(6, 8)
    strided = torch.nn.Parameter(base.t()[::2])  # (4, 6), not contiguous
    compact = torch.nn.Parameter(base.t()[::2].clone().contiguous())
    empty = torch.nn.Parameter(torch.zeros(0, 5))
    gradient = torch.randn(4, 6)
    for p in (strided, compact):
        optimizer = make([p, empty])

        def closure(p: torch.Tensor = p, optimizer: torch.optim.Optimizer = optimizer) -> torch.Tensor:
            optimizer.zero_grad()
            loss = (p * gradient).sum() + (p**2).sum() + empty.sum()
            loss.backward()
            return loss

        for _ in range(3):
            optimizer.step(closure)
    torch.testing.assert_close(strided, compact, rtol=1e-6, atol=1e-6)


def test_step_hooks_run_once(make: Make, problem: type) -> None:
    torch.optim.AdamW([torch.nn.Parameter(torch.ones(1))])  # torch hooks a class when one is first made
    AdaRMSuon([torch.nn.Parameter(torch.ones(1))])
    p = problem()
    optimizer = make(p.params)
    calls = []
    optimizer.register_step_post_hook(lambda *_: calls.append(1))
    p.train(optimizer, range(2))
    assert len(calls) == 2


@pytest.mark.parametrize("optimizer", [ARS, AdaRMSuon, Muon])
def test_sparse_gradients_are_refused(optimizer: type) -> None:
    embedding = torch.nn.Embedding(5, 3, sparse=True)
    o = optimizer(embedding.parameters())

    def closure() -> torch.Tensor:
        loss = embedding(torch.tensor([1, 2])).sum()
        loss.backward()
        return loss

    with pytest.raises(RuntimeError, match="sparse"):
        o.step(closure)


def test_later_load_hooks_are_respected(problem: type) -> None:
    a, b = problem(torch.bfloat16), problem(torch.bfloat16)
    source, target = ARS(a.params), ARS(b.params)
    a.train(source, range(2))

    def double(_: torch.optim.Optimizer, state_dict: dict) -> dict:
        state_dict = deepcopy(state_dict)
        state_dict["state"][0]["exp_avg"] *= 2
        return state_dict

    target.register_load_state_dict_pre_hook(double)
    target.load_state_dict(source.state_dict())
    assert torch.equal(target.state[b.params[0]]["exp_avg"], 2 * source.state[a.params[0]]["exp_avg"])


def test_state_of_several_dtypes_can_be_saved(tmp_path):
    params = [torch.nn.Parameter(torch.ones(4, 4, dtype=dtype)) for dtype in (torch.float32, torch.float64)]
    optimizer = AdaRMSuon(params)
    for p in params:
        p.grad = torch.ones_like(p)
    optimizer.step()
    torch.save(optimizer.state_dict(), tmp_path / "state.pt")
    loaded = torch.load(tmp_path / "state.pt", weights_only=True)
    assert [loaded["state"][i]["exp_avg"].dtype for i in (0, 1)] == [torch.float32, torch.float64]
