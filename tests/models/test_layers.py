"""The embedding that shares its weight with the head, against autograd's own sum of gradients."""

from types import SimpleNamespace

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from arsbench.models.layers import Embedding, _Tied

IDS = torch.tensor([[3, 0, 3], [3, 5, 0]])


def make():
    torch.manual_seed(0)
    embedding = Embedding(7, 4).double()
    with torch.no_grad():
        embedding.weight.normal_()
    return embedding


def separately(embedding):
    return embedding(IDS), embedding.weight


def head_and_rows(rows, head):
    return (functional.linear(rows, head).square() * torch.arange(7)).sum()


def head_only(rows, head):
    return head.square().sum()


def rows_only(rows, head):
    return rows.square().sum()


def expanded(rows, head):
    return rows.sum() + 3 * head.sum()


@pytest.mark.parametrize("use", [head_and_rows, head_only, rows_only, expanded])
def test_gradient_is_the_sum_of_both_uses(use):
    embedding = make()
    (got,) = torch.autograd.grad(use(*embedding.tied(IDS)), embedding.weight)
    (expected,) = torch.autograd.grad(use(*separately(embedding)), embedding.weight)
    torch.testing.assert_close(got, expected)


def test_the_head_is_the_weight_itself():
    embedding = make()
    rows, head = embedding.tied(IDS)
    assert torch.equal(rows, embedding(IDS))
    assert head.data_ptr() == embedding.weight.data_ptr()


def test_second_derivative():
    embedding = make()
    seconds = []
    for uses in (embedding.tied(IDS), separately(embedding)):
        (first,) = torch.autograd.grad(head_and_rows(*uses), embedding.weight, create_graph=True)
        seconds.append(torch.autograd.grad(first.square().sum(), embedding.weight)[0])
    torch.testing.assert_close(*seconds)


def test_a_weight_shared_by_two_passes_accumulates():
    embedding = make()
    for _ in range(2):
        head_and_rows(*embedding.tied(IDS)).backward()
    (once,) = torch.autograd.grad(head_and_rows(*separately(embedding)), embedding.weight)
    torch.testing.assert_close(embedding.weight.grad, 2 * once)


class Calls(TorchDispatchMode):
    """Notes the names of the ops that are called."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        self.names.add(op._schema.name)
        return op(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("device", "used", "unused"),
    [("cuda", "aten::index_put_", "aten::index_add_"), ("cpu", "aten::index_add_", "aten::index_put_")],
)
def test_rows_are_added_in_an_order_that_is_always_the_same(device, used, unused):
    """Each device has one op that does so; tensors without values tell which is called."""
    with FakeTensorMode(), torch.device(device), torch.no_grad():
        context = SimpleNamespace(saved_tensors=(torch.zeros(2, 3, dtype=torch.int64),))
        rows, weight = torch.zeros(2, 3, 4), torch.zeros(7, 4)
        with Calls() as calls:
            gradient, _ = _Tied.backward(context, rows, weight)
    assert gradient is weight  # in place
    assert used in calls.names
    assert unused not in calls.names
