"""Leaving mixtures in the tables: the kernel of a GPU does what the torch calls do, and both what is documented."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from moi import Mixture
from moi_sglang.leave import _compose, _launch
from moi_sglang.tables import NO_GATE, NOT_DUE, Tables, ids_of, position_of, weights_of

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
ROWS, SLOTS, GATE = 5, 9, 41


def arguments(top_k: int, integers: torch.dtype) -> list[Any]:
    """Slots in no order, all policies, one row that samples its gate and one that samples another's."""
    generator = torch.Generator().manual_seed(top_k)
    slots = torch.tensor([3, 1, 8, 5, 2])
    tables = Tables.allocate(SLOTS, top_k, "cpu")
    tables.policy[slots] = torch.tensor([1, 0, 2, 1, 1], dtype=torch.int32)
    tables.gate[slots] = torch.tensor([GATE, NO_GATE, NO_GATE, 7, GATE], dtype=torch.int32)
    ids = torch.randint(0, 1000, (ROWS, top_k + 1), generator=generator, dtype=torch.int32)
    weights = torch.rand(ROWS, top_k + 1, generator=generator)
    weights[1, -1] = -torch.nan
    mixture = Mixture(ids, weights, torch.rand(ROWS, generator=generator))
    token, position = torch.tensor([GATE, 9, 10, GATE, 12]), torch.tensor([30, 31, 32, 33, 34])
    tables = Tables(*(each.to(DEVICE) for each in vars(tables).values()))
    on_device = [each.to(DEVICE) for each in (slots, token.to(integers), position.to(integers))]
    policy = tables.policy.index_select(0, on_device[0])
    return [tables, on_device[0], policy, Mixture(*(each.to(DEVICE) for each in mixture)), *on_device[1:]]


@pytest.fixture(params=["compose", "launch"])
def run(request: pytest.FixtureRequest) -> Any:
    if request.param == "launch":
        pytest.importorskip("triton", reason="Triton is not installed; pip install mixture-of-inputs[triton]")
    return {"compose": _compose, "launch": _launch}[request.param]


@pytest.mark.parametrize("top_k", [1, 20, 64])
@pytest.mark.parametrize("integers", [torch.int32, torch.int64], ids=str)
@pytest.mark.parametrize("gated", [False, True])
def test_rows_are_left_as_documented(run: Any, top_k: int, integers: torch.dtype, gated: bool) -> None:
    tables, slots, policy, mixture, token, position = given = arguments(top_k, integers)
    untouched = torch.ones(SLOTS, dtype=torch.bool, device=DEVICE).index_fill_(0, slots, False)
    before = tables.mixtures[untouched].clone()
    rows = run(*given, gated)
    assert torch.equal(rows, tables.mixtures[slots])
    assert torch.equal(tables.mixtures[untouched], before)
    assert torch.equal(ids_of(rows)[:, 0], token.int())
    assert torch.equal(ids_of(rows)[:, 1:], mixture.ids[:, 1:])
    assert torch.equal(bits(weights_of(rows)), bits(mixture.weights))
    assert torch.equal(rows[:, -1], bits(mixture.entropy))
    plain = [0, 1] if gated else [1]  # by its gate, by its policy
    due = position.int().clone()
    due[plain] = NOT_DUE
    assert torch.equal(position_of(rows), due)
    policy[plain] = 0
    assert torch.equal(tables.policy[slots], policy)


def bits(tensor: Tensor) -> Tensor:
    return tensor.contiguous().view(torch.int32)
