"""The sampler inside the graph: whatever it decides is what a sampler over the whole vocabulary draws."""

from __future__ import annotations

import pytest
import torch

from moi_engines.protocol import SamplingParams
from moi_engines.sampler import SamplingTensors, sample

pytest.importorskip("onnx")

from moi_onnx.sampling import SampleToken

pytestmark = pytest.mark.slow

SETTINGS = [
    SamplingParams(temperature=0.0),
    SamplingParams(),
    SamplingParams(temperature=0.7, top_p=0.9),
    SamplingParams(temperature=1.5, top_k=5),
    SamplingParams(top_k=40, top_p=0.95),
    SamplingParams(temperature=1.2, min_p=0.1),
    SamplingParams(top_p=0.5, min_p=0.02, top_k=60),
]


@pytest.mark.parametrize("candidates", [1, 8, 64, 500])
@pytest.mark.parametrize("spread", [0.5, 2.0, 6.0])
def test_decided_rows_draw_what_the_engine_draws(candidates: int, spread: float) -> None:
    vocab, repeats = 500, 40
    params = SETTINGS * repeats
    generator = torch.Generator().manual_seed(candidates)
    logits = torch.randn(len(params), vocab, generator=generator) * spread
    noise = torch.rand(len(params), generator=generator)
    tensors = SamplingTensors.of(params, vocab, logits.device)
    wanted = torch.tensor([p.top_k for p in params])
    token, decided = SampleToken(vocab, candidates)(
        logits, noise, tensors.temperature, wanted, tensors.top_p, tensors.min_p
    )
    expected = sample(logits, tensors, noise)
    assert torch.equal(token[decided], expected[decided])
    assert decided[:: len(SETTINGS)].all(), "greedy rows need one candidate"
    assert decided.all() or candidates < vocab
    if candidates == 64 and spread == 6.0:
        assert decided.float().mean() > 0.8, "peaked rows should rarely need the whole vocabulary"
    if candidates == 1:
        assert not decided.all()


def test_noise_beyond_the_candidates_is_undecided() -> None:
    # Almost flat: torch.topk, unlike ONNX's TopK, orders ties as it likes.
    logits, ones = -torch.arange(100).expand(2, 100) * 1e-6, torch.ones(2)
    keep_all = torch.zeros(2, dtype=torch.int64)
    token, decided = SampleToken(100, 10)(logits, torch.tensor([0.055, 0.95]), ones, keep_all, ones, 0 * ones)
    assert token.tolist()[0] == 5
    assert decided.tolist() == [True, False]
