"""Candidates: selections of floats and of packed keys give the one order."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp

from moi import candidates
from moi.candidates import largest


def sorted_ids(logits, k):
    return torch.sort(logits, dim=-1, descending=True, stable=True).indices[:, :k]


values = st.sampled_from([-float("inf"), -2.5, -0.0, 0.0, 1.0, 3e38]) | st.floats(-9, 9, width=32)


@given(hnp.arrays("float32", st.tuples(st.integers(1, 4), st.integers(1, 24)), elements=values), st.data())
@settings(max_examples=200, deadline=None)
def test_order_is_that_of_a_stable_sort(array, data):
    logits = torch.from_numpy(array) + 0.0  # torch.sort puts 0.0 before -0.0
    k = data.draw(st.integers(1, logits.shape[1]))
    assert torch.equal(largest(torch.from_numpy(array), k), sorted_ids(logits, k))


@pytest.mark.parametrize(("ties", "packed"), [(0, False), (1, False), (8, False), (70, True)])
def test_keys_are_packed_only_where_many_tie_with_the_last(monkeypatch, ties, packed):
    logits = torch.cat([torch.tensor([3.0, 1.0, 0.5, 2.0]), torch.ones(ties)])[None]
    taken = []
    monkeypatch.setattr(candidates, "_largest_keys", lambda logits, k: taken.append(1) or sorted_ids(logits, k))
    assert largest(logits, 3).tolist() == [[0, 3, 1]]
    assert bool(taken) == packed


def test_logits_of_a_narrow_type_are_ordered_as_their_sort():
    logits = torch.randn(5, 3000).mul(3).bfloat16().float()
    for k in (1, 20, 256, 2999):
        assert torch.equal(largest(logits, k), sorted_ids(logits + 0.0, k))


def test_ties_go_to_the_lower_id():
    assert largest(torch.tensor([[1.0, 2.0, -0.0, 2.0, 0.0, 1.0]]), 6).tolist() == [[1, 3, 0, 5, 2, 4]]


def test_it_compiles_without_looking_at_values():
    logits = torch.randn(3, 50)
    compiled = torch.compile(lambda x: largest(x, 5), fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(logits), sorted_ids(logits, 5))
