"""The embedding that shares its weight with the head, against autograd's own sum of gradients."""

import pytest
import torch
from torch.nn import functional

from arsbench.models.layers import Embedding

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
