"""Sampling from given noise, against transformers' own filters."""

import pytest
import torch
from transformers import MinPLogitsWarper, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from moi_engines import SamplingParams
from moi_engines.sampler import SamplingTensors, sample

CPU = torch.device("cpu")


def draw(logits, params, noise):
    return sample(logits, SamplingTensors.of(params, logits.shape[1], CPU), torch.tensor(noise))


def reachable(row, params):
    """Every id that some noise picks, with how often: 4,000 evenly spaced draws."""
    count = 4000
    noise = [(i + 0.5) / count for i in range(count)]
    ids = draw(row.expand(count, -1), [params] * count, noise)
    return torch.bincount(ids, minlength=row.shape[1]) / count


@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(),
        SamplingParams(temperature=0.6, top_p=0.8),
        SamplingParams(temperature=1.5, top_k=5),
        SamplingParams(temperature=0.8, top_k=7, top_p=0.7, min_p=0.1),
        SamplingParams(min_p=0.3),
    ],
    ids=str,
)
def test_frequencies_equal_the_filters_of_transformers(params):
    torch.manual_seed(0)
    row = torch.randn(1, 20) * 2
    z = TemperatureLogitsWarper(float(params.temperature))(None, row)
    if params.top_k:
        z = TopKLogitsWarper(params.top_k)(None, z)
    if params.top_p < 1:
        z = TopPLogitsWarper(params.top_p)(None, z)
    if params.min_p:
        z = MinPLogitsWarper(params.min_p)(None, z)
    assert reachable(row, params).tolist() == pytest.approx(z.softmax(-1)[0].tolist(), abs=1.5e-3)


def test_greedy_rows_take_the_best_id_and_the_lower_one_of_a_tie():
    logits = torch.tensor([[0.0, 2.0, 2.0, 1.0]]).repeat(3, 1)
    assert draw(logits, [SamplingParams(temperature=0)] * 3, [0.0, 0.5, 0.999]).tolist() == [1, 1, 1]


def test_rows_keep_their_own_settings():
    logits = torch.tensor([[3.0, 2.0, 1.0, 0.0]]).repeat(4, 1)
    params = [SamplingParams(temperature=0), SamplingParams(top_k=2), SamplingParams(), SamplingParams(top_p=0.01)]
    assert draw(logits, params, [0.9999] * 4).tolist() == [0, 1, 3, 0]


def test_masked_ids_are_never_drawn():
    logits = torch.tensor([[1.0, -torch.inf, 1.0, -torch.inf]])
    got = reachable(logits, SamplingParams())
    assert got.tolist() == pytest.approx([0.5, 0, 0.5, 0], abs=1e-3)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"temperature": -1}, "temperature=-1 is not allowed; temperature must be a finite number >= 0"),
        ({"temperature": float("nan")}, "temperature=nan is not allowed"),
        ({"temperature": "hot"}, "temperature='hot' is not allowed"),
        ({"top_p": 0}, r"top_p=0 is not allowed; top_p must be a number in \(0, 1\]"),
        ({"top_p": 1.1}, "top_p=1.1 is not allowed"),
        ({"min_p": -0.1}, r"min_p=-0.1 is not allowed; min_p must be a number in \[0, 1\]"),
        ({"top_k": -1}, r"top_k=-1 is not allowed; top_k must be an integer in 0\.\."),
        ({"max_new_tokens": 0}, "max_new_tokens=0 is not allowed; max_new_tokens must be an integer >= 1"),
        ({"seed": 1.5}, "seed=1.5 is not allowed"),
        ({"stop": "x"}, "stop='x' is not allowed; stop must be a tuple of non-empty strings"),
        ({"stop": ("",)}, "stop must be a tuple of non-empty strings"),
    ],
)
def test_bad_settings_are_named(setting, words):
    with pytest.raises(ValueError, match=words):
        SamplingParams(**setting)
