"""Sampling from given noise, against transformers' own filters."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
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


LEVELS = st.sampled_from([0.0, -0.0, 1.0, 1.5, -3.0, 8.0, 60.0, -torch.inf]) | st.floats(-9, 9, width=32)
NOISE = st.sampled_from([0.0, 1e-7, 0.5, 1 - 2**-24]) | st.floats(0, 1 - 2**-24, width=32)
FILTERS = st.builds(
    SamplingParams,
    temperature=st.sampled_from([0.0, 0.3, 1.0, 2.5]),
    top_p=st.sampled_from([0.05, 0.5, 0.9, 1.0]),
    top_k=st.sampled_from([0, 1, 3, 7, 12, 1000]),
    min_p=st.sampled_from([0.0, 0.02, 0.5]),
)


@st.composite
def batches(draw_from):
    """Logits with ties and masked ids, filters and noise of up to six rows."""
    rows, vocab = draw_from(st.integers(0, 6)), draw_from(st.sampled_from([1, 2, 9, 33]))
    lines = draw_from(st.lists(st.lists(LEVELS, min_size=vocab, max_size=vocab), min_size=rows, max_size=rows))
    filters = draw_from(st.lists(FILTERS, min_size=rows, max_size=rows))
    noise = draw_from(st.lists(NOISE, min_size=rows, max_size=rows))
    logits = torch.tensor(lines, dtype=torch.float32).reshape(rows, vocab)
    return logits, SamplingTensors.of(filters, vocab, CPU), torch.tensor(noise, dtype=torch.float32), filters


@given(batches(), st.sampled_from([(1,), (2, 5), (4, 8, 16), (32,)]))
@settings(deadline=None, max_examples=300)
def test_the_best_candidates_first_draw_what_a_whole_sort_draws(batch, widths):
    logits, params, noise, _ = batch
    assert sample(logits, params, noise, widths).tolist() == sample(logits, params, noise, ()).tolist()


@given(batches())
@settings(deadline=None, max_examples=300)
def test_a_token_is_where_the_noise_falls_in_the_cdf(batch):
    """Against the contract in float64: what is kept, in order, and the interval of the token, up to rounding."""
    logits, params, noise, filters = batch
    for row, asked, u, token in zip(
        logits, filters, noise.tolist(), sample(logits, params, noise).tolist(), strict=True
    ):
        order = sorted(range(len(row)), key=lambda i, row=row: (-row[i].item(), i))
        if row.max() == -torch.inf:
            assert token == 0
            continue
        limit = 1 if asked.temperature == 0 else asked.top_k or len(row)
        p = (row[order].double() / (asked.temperature or 1.0)).softmax(0)
        p[limit:] = 0
        p /= p.sum()
        before, rank, eps = p.cumsum(0) - p, order.index(token), 1e-5
        # Rounding may keep or drop an id whose mass ends at a threshold: bounds with both.
        sure = (before < asked.top_p - eps) & (p >= asked.min_p * p[0] + eps)
        may = (before < asked.top_p + eps) & (p >= asked.min_p * p[0] - eps) & (p > 0)
        assert may[rank]
        least, most = (p * sure)[:rank].sum(), (p * may)[: rank + 1].sum()
        assert least <= u * (p * may).sum() + eps
        assert most >= u * (p * sure).sum() - eps


def test_a_row_that_reaches_beyond_the_candidates_is_drawn_from_all_of_them():
    """A flat row, whose best four ids hold a tenth of the mass."""
    logits, params = torch.zeros(3, 40), SamplingTensors.of([SamplingParams()] * 3, 40, CPU)
    assert sample(logits, params, torch.tensor([0.0, 0.51, 0.99]), (4, 8)).tolist() == [0, 20, 39]


def test_nan_is_masked_and_a_row_of_nothing_gives_the_first_id():
    logits = torch.tensor([[torch.nan, 1.0, -torch.inf], [torch.nan] * 3, [-torch.inf] * 3, [0.0, torch.inf, 2.0]])
    for temperature in (0.0, 1.0):
        assert draw(logits, [SamplingParams(temperature=temperature)] * 4, [0.9] * 4).tolist() == [1, 0, 0, 1]


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
