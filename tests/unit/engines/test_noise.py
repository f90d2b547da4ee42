"""The explicit noise stream."""

from itertools import islice

import torch

from moi_engines.noise import noise_stream


def test_a_seed_gives_these_numbers_everywhere():
    assert [round(x * 2**24) for x in islice(noise_stream(0), 4)] == [14167047, 6463343, 12716364, 14935814]


def test_noise_is_uniform_in_the_half_open_interval_and_exact_in_float32():
    values = list(islice(noise_stream(7), 20_000))
    assert 0 <= min(values) < 0.001
    assert 0.999 < max(values) < 1
    assert abs(sum(values) / len(values) - 0.5) < 0.01
    assert torch.tensor(values, dtype=torch.float32).double().tolist() == values


def test_seeds_give_different_streams():
    assert list(islice(noise_stream(1), 3)) != list(islice(noise_stream(2), 3))
