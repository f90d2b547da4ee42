"""The torch engine against transformers' own generate, and what its batches must not change.

That its mixed tokens are right is for test_parity.py.
"""

import math
from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from moi import MoIConfig
from moi_engines import SamplingParams, load_engine
from moi_engines.noise import noise_stream
from moi_engines.parity import Cases, judge
from moi_engines.parity_reference import Reference
from moi_engines.testing import ARCHITECTURES

PROMPTS = ["to be, or not", "a", "the question is which of these"]
GREEDY = SamplingParams(temperature=0, max_new_tokens=64, ignore_eos=True)


@pytest.fixture(scope="module", params=ARCHITECTURES)
def folder(request, tiny_model):
    return tiny_model(request.param)


@pytest.fixture(scope="module")
def engine(folder):
    return load_engine("torch", folder)


def test_plain_decoding_equals_generate_of_transformers(folder, engine):
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    batch = tokenizer(PROMPTS, return_tensors="pt", padding=True, return_token_type_ids=False)
    expected = model.generate(**batch, do_sample=False, max_new_tokens=64, min_new_tokens=64)[:, -64:]
    # min_new_tokens forbids eos, so compare up to where ours would have ended
    got = engine.generate(PROMPTS, SamplingParams(temperature=0, max_new_tokens=64), MoIConfig("token"))
    for row, ids in zip(got, expected.tolist(), strict=True):
        count = len(row.token_ids) - (row.finish_reason == "eos")
        assert list(row.token_ids[:count]) == ids[:count]
        assert count > 3


def agrees(folder, prompts, sampling, configs, outputs):
    found = judge(Reference(folder), Cases(prompts, sampling, configs), outputs)
    return found.agrees or str(found)


def test_rows_of_one_batch_keep_their_own_settings(folder, engine):
    configs = [MoIConfig("token"), MoIConfig(beta=1.0), MoIConfig(beta=4.0)]
    together = engine.generate(PROMPTS[:1] * 3, [GREEDY] * 3, configs)
    assert agrees(folder, PROMPTS[:1] * 3, [GREEDY] * 3, configs, together) is True
    assert together[0].mixed_tokens == 0
    assert set(together[0].interventions) == {0.0}
    assert together[1].mixed_tokens == 63
    assert 0 < together[1].mean_intervention <= 0.5


def test_rows_that_end_early_leave_the_others_alone(folder, engine):
    sampling = [SamplingParams(temperature=0, max_new_tokens=n, ignore_eos=True) for n in (3, 40, 9, 40, 1)]
    prompts = [*PROMPTS, "x y", "z"]
    together = engine.generate(prompts, sampling)
    assert [len(row.token_ids) for row in together] == [3, 40, 9, 40, 1]
    assert agrees(folder, prompts, sampling, [MoIConfig()] * 5, together) is True


def test_batches_of_one_call_are_cut_to_the_batch_size(folder):
    small = load_engine("torch", folder, batch_size=2)
    rows, decode = [], small.decode_batch
    small.decode_batch = lambda batch: rows.append(len(batch)) or decode(batch)
    outputs = small.generate(PROMPTS, GREEDY)
    assert rows == [2, 1]
    assert agrees(folder, PROMPTS, [GREEDY] * 3, [MoIConfig()] * 3, outputs) is True


def test_infinite_beta_is_plain_decoding(engine):
    plain = engine.generate(PROMPTS, GREEDY, MoIConfig("token"))
    limit = engine.generate(PROMPTS, GREEDY, MoIConfig(beta=math.inf))
    assert [row.token_ids for row in plain] == [row.token_ids for row in limit]


def test_the_stream_holds_the_same_tokens_and_text(engine):
    whole = engine.generate(PROMPTS, GREEDY)
    events = list(engine.stream(PROMPTS, GREEDY))
    for index, row in enumerate(whole):
        own = [event for event in events if event.row == index]
        assert tuple(event.token_id for event in own) == row.token_ids
        assert "".join(event.text for event in own) == row.text
        assert [event.finish_reason for event in own] == [None] * 63 + ["length"]


def test_given_noise_replaces_the_seed(engine):
    sampling = SamplingParams(seed=5, max_new_tokens=6, ignore_eos=True)
    stream = noise_stream(5)
    noise = [[next(stream) for _ in range(6)]]
    by_seed, by_noise = (
        engine.generate(PROMPTS[:1], sampling),
        engine.generate(PROMPTS[:1], noise=noise, sampling=sampling),
    )
    assert by_seed[0].token_ids == by_noise[0].token_ids


def test_the_output_layer_is_given_a_copy_of_the_last_inputs(engine):
    """Of a view of a batch torch on a CPU copies the layer for each row: gigabytes with a real vocabulary."""
    seen = []

    def note(module, args):
        if isinstance(module, torch.nn.Linear) and module.out_features == engine.limits.vocab:
            seen.append((args[0].shape[1], args[0].is_contiguous()))

    handle = torch.nn.modules.module.register_module_forward_pre_hook(note)
    try:
        engine.generate(PROMPTS, replace(GREEDY, max_new_tokens=3))
    finally:
        handle.remove()
    assert seen == [(1, True)] * 3


def test_progress_is_told_after_every_token(engine):
    told = []
    engine.generate(
        PROMPTS[:2], SamplingParams(max_new_tokens=5), progress=lambda done, total: told.append((done, total))
    )
    assert told[-1][1] == 10
    assert [done for done, _ in told] == list(range(1, len(told) + 1))


def test_bad_options_are_named(tiny_model):
    with pytest.raises(ValueError, match="dtype='int8' is unknown; allowed: auto, float32, float16, bfloat16"):
        load_engine("torch", tiny_model("qwen3"), dtype="int8")
    with pytest.raises(ValueError, match="batch_size=0 is not allowed"):
        load_engine("torch", tiny_model("qwen3"), batch_size=0)
    with pytest.raises(ValueError, match="engine='jax' is unknown; allowed: torch"):
        load_engine("jax", tiny_model("qwen3"))
