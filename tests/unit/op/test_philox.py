"""Philox 4x32-10: the published vectors, and the same bits in torch, Numba and Triton."""

from __future__ import annotations

import importlib
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from moi.philox import philox, uniforms

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
Uniforms = Callable[[Tensor, Tensor, int], Tensor]

# counter, key and block of Random123's known answers for philox4x32 with 10 rounds.
KNOWN = [
    ([0, 0, 0, 0], [0, 0], [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]
seeds = st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**63 - 1)), min_size=1, max_size=4)


def others() -> list[Uniforms]:
    """Of the implementations that are installed here and run on this machine."""
    places = {"numba": "moi.kernels.numba_philox"} if DEVICE.type == "cpu" else {}
    return [
        importlib.import_module(place).uniforms
        for name, place in {**places, "triton": "moi.kernels.triton_philox"}.items()
        if importlib.util.find_spec(name) is not None
    ]


@pytest.mark.parametrize(("counter", "key", "block"), KNOWN)
def test_the_known_answers_of_the_published_generator(counter: list[int], key: list[int], block: list[int]) -> None:
    assert [int(word) for word in philox(tuple(map(torch.tensor, counter)), tuple(map(torch.tensor, key)))] == block  # type: ignore[arg-type]
    numba_philox = pytest.importorskip("moi.kernels.numba_philox", reason="needs Numba: the extra cpu")
    import numpy as np

    assert [int(word) for word in numba_philox.philox(*map(np.uint64, (*counter, *key)))] == block


def test_a_row_is_the_block_of_its_seed_and_position() -> None:
    """The upper 24 bits of each word: float32 holds them."""
    (_, _, words), expected = KNOWN[0], torch.empty(1, 4)
    expected[0] = torch.tensor([word >> 8 for word in words]) / 2**24
    for each in (uniforms, *others()):
        zero = torch.zeros(1, dtype=torch.int64, device=DEVICE)
        assert torch.equal(each(zero, zero, 4).cpu(), expected)


@pytest.mark.filterwarnings("ignore:.* encountered in .*:RuntimeWarning")  # numpy's, of integers that wrap
@given(seeds, st.integers(1, 75))
@settings(max_examples=20, deadline=None)
def test_all_implementations_agree_bit_for_bit(rows: list[tuple[int, int]], count: int) -> None:
    seed, position = torch.tensor(rows, device=DEVICE).unbind(1)
    expected = uniforms(seed, position, count)
    assert expected.dtype == torch.float32
    assert ((expected >= 0) & (expected < 1)).all()
    assert all(torch.equal(each(seed, position, count), expected) for each in others())


def test_a_row_is_its_own_in_any_batch_and_any_length() -> None:
    seed, position = torch.tensor([5, 5, 6, 5]), torch.tensor([1, 2, 1, 1 + 2**32])
    whole = uniforms(seed, position, 40)
    assert len({tuple(row) for row in whole.tolist()}) == 4
    for i in range(4):
        assert torch.equal(uniforms(seed[i : i + 1], position[i : i + 1], 7)[0], whole[i, :7])


def test_numbers_are_spread_evenly() -> None:
    """Chi-squared over 64 bins of a million numbers: 63 degrees of freedom, beyond 150 once in 10^8."""
    drawn = uniforms(torch.arange(1000), torch.full((1000,), 17), 1000)
    counts = torch.histc(drawn, 64, 0, 1)
    assert ((counts - 15625) ** 2 / 15625).sum() < 150
