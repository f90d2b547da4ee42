"""What the host keeps of a request: each generated token's row, in order, however they came and were asked for."""

from __future__ import annotations

import random

import numpy as np
import pytest

from moi import MoIConfig
from moi_serving.mixing_marks import Marks
from moi_serving.replay import RequestState
from moi_serving.settings import RequestSettings
from moi_serving.telemetry import TokenTelemetry

WIDTH = 44


@pytest.mark.parametrize("seed", range(4))
def test_rows_are_those_that_were_sampled_for_the_request(seed: int) -> None:
    """In batches where its place changes, asked for in between, over several growths."""
    rng, generator = random.Random(seed), np.random.default_rng(seed)
    state, kept = RequestState(RequestSettings(MoIConfig()), Marks()), []
    assert len(state.rows(0, 10)) == 0
    for _ in range(rng.choice([1, 63, 64, 65, 128, 300])):
        batch = generator.integers(0, 1 << 30, (rng.randrange(1, 5), WIDTH), np.int32)
        index = rng.randrange(len(batch))
        state.append(batch, index)
        kept.append(batch[index].copy())
        if rng.random() < 0.2:
            start, end = sorted(rng.choices(range(len(kept) + 2), k=2))
            assert np.array_equal(state.rows(start, end), np.reshape(kept[start:end], (-1, WIDTH)))
    assert np.array_equal(state.rows(0, len(kept)), kept)
    records = TokenTelemetry(state)[0 : len(kept)]
    assert len(records) == len(kept)
    assert {type(record) for record in records} == {tuple}, "orjson, which SGLang answers with, takes no named ones"


@pytest.mark.parametrize(("count", "length"), [(5, 3), (70, 66), (70, 10), (64, 0), (200, 100), (3, 9)])
def test_rows_of_dropped_tokens_are_forgotten_and_others_take_their_places(count: int, length: int) -> None:
    state = RequestState(RequestSettings(MoIConfig()), Marks())
    rows = np.arange((count + 5) * WIDTH, dtype=np.int32).reshape(-1, WIDTH)
    for index in range(count):
        state.append(rows, index)
    state.truncate(length)
    kept = min(count, length)
    assert len(state) == kept
    for index in range(count, count + 5):
        state.append(rows, index)
    assert np.array_equal(state.rows(0, kept + 5), np.concatenate([rows[:kept], rows[count:]]))


def test_a_beta_beyond_float32_is_infinite() -> None:
    settings = RequestState(RequestSettings(MoIConfig(beta=1e300)), Marks()).settings_after([], [])
    assert np.array(settings.words(), np.int32).view(np.float32)[6] == np.inf
