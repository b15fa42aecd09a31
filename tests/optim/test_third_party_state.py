"""The state of third-party optimizers in checkpoints."""

from __future__ import annotations

import enum
import io

import pytest
import torch
from torch import nn

from arsbench.errors import UserError
from arsbench.optim import ARS, check_storable, load_state


class Mode(enum.Enum):
    FAST = 1


class Keeping(torch.optim.SGD):
    """Keeps something of each parameter."""

    def __init__(self, params, kept) -> None:
        super().__init__(params, lr=0.1)
        self.kept = kept

    def step(self) -> None:
        super().step()
        for p in self.param_groups[0]["params"]:
            self.state[p]["kept"] = self.kept


def stepped(kept) -> tuple[torch.optim.Optimizer, nn.Module]:
    model = nn.Linear(2, 2)
    optimizer = Keeping(model.parameters(), kept)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    return optimizer, model


def through_a_file(state: dict) -> dict:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def test_float64_state_of_float32_parameters_is_not_rounded() -> None:
    third = torch.tensor(1 / 3, dtype=torch.float64)
    kept = {"tensor": third, "list": [third], "tuple": (third, 1), "count": torch.tensor(3)}
    optimizer, model = stepped(kept)
    again = Keeping(model.parameters(), None)
    load_state(again, through_a_file(optimizer.state_dict()))
    for p in model.parameters():
        loaded = again.state[p]["kept"]
        for value in (loaded["tensor"], *loaded["list"], loaded["tuple"][0]):
            assert value.dtype == torch.float64
            assert torch.equal(value, third)
        assert loaded["tuple"][1] == 1
        assert torch.equal(loaded["count"], torch.tensor(3))


@pytest.mark.parametrize(
    ("kept", "reason"), [(lambda: None, "pickle"), (Mode.FAST, "Mode"), ([{"a": (Mode.FAST,)}], "Mode")]
)
def test_a_state_that_could_not_be_loaded_is_refused(kept, reason: str) -> None:
    optimizer, _ = stepped(kept)
    with pytest.raises(
        UserError, match=rf"mine:Keeping cannot be saved in a checkpoint \(.*{reason}"
    ) as caught:
        check_storable(optimizer, "mine:Keeping")
    assert "\n" not in str(caught.value)


def test_ordinary_states_pass() -> None:
    check_storable(stepped({"a": [torch.ones(2), (1, None)], "b": "text", "c": b"bytes"})[0], "mine:Keeping")
    check_storable(ARS(nn.Linear(2, 2).parameters(), lr=0.1, k=0), "ARS")
