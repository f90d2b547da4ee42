"""The reference engine against transformers' own generate and a loop without cache, batch or fused anything."""

import math

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from moi import MoIConfig, RowParams
from moi.testing import Inputs, oracle_embed, oracle_mix
from moi_engines import SamplingParams, load_engine
from moi_engines.noise import noise_stream
from moi_engines.testing import ARCHITECTURES

PROMPTS = ["to be, or not", "a", "the question is which of these"]
GREEDY = SamplingParams(temperature=0, max_new_tokens=64, ignore_eos=True)


@pytest.fixture(scope="module", params=ARCHITECTURES)
def folder(request, tiny_model):
    return tiny_model(request.param)


@pytest.fixture(scope="module")
def engine(folder):
    return load_engine("torch", folder)


def naive(folder, prompt, sampling, moi):
    """One sequence, the whole prefix anew at each step, mixing by the float64 restatement of the op."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    embedding = model.get_input_embeddings()
    every_row = embedding(torch.arange(embedding.num_embeddings)).detach()
    x = every_row[AutoTokenizer.from_pretrained(folder)(prompt).input_ids][None]
    noise, tokens, entropies = noise_stream(sampling.seed), [], []
    for _ in range(sampling.max_new_tokens):
        with torch.no_grad():
            logits = model(inputs_embeds=x).logits[:, -1]
        u = next(noise)
        if sampling.temperature == 0:
            token = logits.argmax(-1)
        else:
            p, ids = (logits / sampling.temperature).softmax(-1)[0].sort(descending=True)
            token = ids[(p.double().cumsum(0) <= u).sum().clamp_max(len(ids) - 1)][None]
        mixture = oracle_mix(Inputs(logits, token, RowParams.of([moi], [sampling.temperature])), moi)
        tokens.append(token.item())
        entropies.append(mixture.entropy.item())
        x = torch.cat([x, oracle_embed(mixture, every_row).float()[None]], 1)
    return tokens, entropies


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


@pytest.mark.parametrize(
    ("sampling", "moi"),
    [
        (GREEDY, MoIConfig(beta=1.0)),
        (GREEDY, MoIConfig.preset("paper", beta=2.0)),
        (SamplingParams(temperature=0.8, seed=3, max_new_tokens=64, ignore_eos=True), MoIConfig(beta=1.0)),
        (
            SamplingParams(temperature=0.7, seed=11, max_new_tokens=64, ignore_eos=True),
            MoIConfig.preset("paper", beta=1.0),
        ),
    ],
    ids=["official greedy", "paper greedy", "official sampled", "paper sampled"],
)
def test_a_ragged_batch_equals_the_naive_loop(folder, engine, sampling, moi):
    got = engine.generate(PROMPTS, sampling, moi)
    for index, prompt in enumerate(PROMPTS):
        alone = SamplingParams(**{**_fields(sampling), "seed": sampling.seed + index})
        tokens, entropies = naive(folder, prompt, alone, moi)
        assert list(got[index].token_ids) == tokens
        assert got[index].entropies == pytest.approx(entropies, abs=1e-4)


def _fields(params):
    return {name: getattr(params, name) for name in params.__dataclass_fields__}


def test_direct_mixture_follows_the_naive_loop_while_rounding_allows(folder, engine):
    """Direct Mixture on random weights is chaotic: ten steps, not sixty-four."""
    short = SamplingParams(temperature=0, max_new_tokens=10, ignore_eos=True)
    got = engine.generate(PROMPTS[:1], short, MoIConfig("direct"))
    assert list(got[0].token_ids) == naive(folder, PROMPTS[0], short, MoIConfig("direct"))[0]


def test_rows_of_one_batch_keep_their_own_settings(engine):
    configs = [MoIConfig("token"), MoIConfig(beta=1.0), MoIConfig(beta=4.0)]
    together = engine.generate(PROMPTS[:1] * 3, [GREEDY] * 3, configs)
    alone = [engine.generate(PROMPTS[:1], GREEDY, config)[0] for config in configs]
    assert [row.token_ids for row in together] == [row.token_ids for row in alone]
    assert together[0].mixed_tokens == 0
    assert set(together[0].interventions) == {0.0}
    assert together[1].mixed_tokens == 63
    assert 0 < together[1].mean_intervention <= 0.5


def test_rows_that_end_early_leave_the_others_alone(engine):
    sampling = [SamplingParams(temperature=0, max_new_tokens=n, ignore_eos=True) for n in (3, 40, 9, 40, 1)]
    prompts = [*PROMPTS, "x y", "z"]
    together = engine.generate(prompts, sampling)
    assert [len(row.token_ids) for row in together] == [3, 40, 9, 40, 1]
    alone = engine.generate(prompts[3:4], sampling[3])
    assert together[3].token_ids == alone[0].token_ids


def test_batches_of_one_call_are_cut_to_the_batch_size(folder, engine):
    small = load_engine("torch", folder, batch_size=2)
    one, other = (e.generate(PROMPTS, GREEDY) for e in (small, engine))
    assert [row.token_ids for row in one] == [row.token_ids for row in other]


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
