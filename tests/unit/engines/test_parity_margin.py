"""The margin of a choice: 0 for the sampler's own, and the size of what would have to be off for any other."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moi_engines.parity_margin import Choices
from moi_engines.protocol import SamplingParams
from moi_engines.sampler import SamplingTensors, sample

PARAMS = st.builds(
    SamplingParams,
    temperature=st.sampled_from([0.0, 0.5, 1.0, 1.7]),
    top_p=st.sampled_from([0.3, 0.9, 1.0]),
    top_k=st.sampled_from([0, 1, 3]),
    min_p=st.sampled_from([0.0, 0.05, 0.5]),
)
LOGITS = st.lists(st.floats(-20, 20, width=32), min_size=3, max_size=12)


@settings(max_examples=200, deadline=None)
@given(LOGITS, PARAMS, st.floats(0, 1, width=32, exclude_max=True))
def test_the_samplers_token_has_no_margin(logits: list[float], params: SamplingParams, noise: float) -> None:
    own = torch.tensor(logits)
    tensors = SamplingTensors.of([params], len(logits), own.device)
    token = int(sample(own[None], tensors, torch.tensor([noise])))
    assert Choices(own, params, noise).margin(token) <= 1e-6
    assert Choices(own, params, None).margin(token) <= 1e-6


@settings(max_examples=200, deadline=None)
@given(LOGITS, PARAMS, st.floats(0, 1, width=32, exclude_max=True))
def test_the_references_own_choice_has_margin_zero(logits: list[float], params: SamplingParams, noise: float) -> None:
    choices = Choices(torch.tensor(logits), params, noise)
    assert choices.margin(choices.best()) <= 1e-6
    assert all(0 <= choices.margin(token) <= 1 for token in range(len(logits)))


def margin(p: list[float], token: int, noise: float | None = None, **params: float) -> float:
    return Choices(torch.tensor(p).log(), SamplingParams(**params), noise).margin(token)  # type: ignore[arg-type]


def test_a_greedy_margin_is_in_nats() -> None:
    assert margin([0.5, 0.4, 0.1], 1, temperature=0) == pytest.approx(math.log(5 / 4), rel=1e-3)
    assert margin([0.5, 0.4, 0.1], 2, temperature=0) == 1.0
    assert margin([0.5, 0.0, 0.5], 1, temperature=0) == 1.0
    assert Choices(torch.tensor([math.nan, 1.0]), SamplingParams(temperature=0), None).margin(1) == 1.0


def test_noise_is_measured_from_the_tokens_interval() -> None:
    assert margin([0.5, 0.3, 0.2], 0, noise=0.52) == pytest.approx(0.02, rel=1e-3)
    assert margin([0.5, 0.3, 0.2], 2, noise=0.7) == pytest.approx(0.1, rel=1e-3)
    assert margin([0.5, 0.3, 0.2], 1, noise=0.52) == 0.0


def test_a_tokens_threshold_is_measured() -> None:
    assert margin([0.5, 0.3, 0.2], 2, top_p=0.79) == pytest.approx(0.01, rel=1e-3)
    assert margin([0.5, 0.3, 0.2], 2, min_p=0.45) == pytest.approx(0.05, rel=1e-3)
    assert margin([0.5, 0.21, 0.2, 0.09], 2, top_k=2) == pytest.approx(math.log(21 / 20), rel=1e-3)


def test_tokens_that_tie_may_change_places() -> None:
    """Their order decides whose interval the noise falls in: 0.3 off, but for a tie of 1e-6."""
    p = [0.4, 0.3 + 3e-7, 0.3]
    assert margin(p, 2, noise=0.5) < 1e-5
    assert margin(p, 1, noise=0.9) < 1e-5


def test_a_candidate_at_the_threshold_may_be_kept_or_dropped() -> None:
    """Whether the last is kept rescales the noise: 0.03 off here, but for 1e-6 in the threshold."""
    assert margin([0.6, 0.3, 0.1], 0, noise=0.64, top_p=0.9 + 1e-6) < 1e-5
    assert margin([0.6, 0.3, 0.1], 1, noise=0.64, top_p=0.9 + 1e-6) < 1e-5
