"""What engines are handed: prompts, settings and noise, checked before any work."""

import pytest
import torch
from transformers import AutoTokenizer

from moi import MoIConfig
from moi_engines import SamplingParams
from moi_engines.noise import noise_stream
from moi_engines.protocol import Generation
from moi_engines.request import Limits, collect, prepare
from moi_engines.sampler import SamplingTensors, sample

LIMITS = Limits(vocab=258, positions=64, eos=frozenset({1}))
SHORT = SamplingParams(max_new_tokens=4)


@pytest.fixture(scope="module")
def tokenizer(tiny_model):
    return AutoTokenizer.from_pretrained(tiny_model("qwen3"))


def ready(tokenizer, prompts, sampling=SHORT, moi=MoIConfig(), noise=None):
    return prepare(prompts, sampling, moi, noise, tokenizer, LIMITS)


def test_a_shared_seed_gives_row_i_the_noise_of_seed_plus_i(tokenizer):
    rows = ready(tokenizer, ["a", "b", "c"], SamplingParams(max_new_tokens=4, seed=5))
    assert [next(row.noise) for row in rows] == [next(noise_stream(seed)) for seed in (5, 6, 7)]
    own = [SamplingParams(max_new_tokens=4, seed=seed) for seed in (9, 9)]
    assert [next(row.noise) for row in ready(tokenizer, ["a", "b"], own)] == [next(noise_stream(9))] * 2


def test_text_and_ids_are_both_prompts(tokenizer):
    assert [row.prompt for row in ready(tokenizer, ["ab", [5, 6, 7]])] == [tokenizer("ab").input_ids, [5, 6, 7]]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ({"prompts": "ab"}, "prompts must be a list of prompts"),
        ({"prompts": ["a", ""]}, "prompt 1 is empty; a prompt must hold at least one token"),
        ({"prompts": [[]]}, "prompt 0 is empty"),
        (
            {"prompts": ["a", "bad \ud835"]},
            "prompt 1 is not Unicode text: it holds half a surrogate, '.ud835', at position 4",
        ),
        ({"prompts": ["caf\udce9"]}, "prompt 0 is not Unicode text: it holds the byte 0xe9, no UTF-8, at position 3"),
        ({"prompts": [[3, 258]]}, "prompt 0 holds the token id 258; allowed: 0..257"),
        ({"prompts": [[-1]]}, "prompt 0 holds the token id -1"),
        ({"prompts": [[1.5]]}, "prompt 0 holds the token id 1.5"),
        ({"prompts": ["a" * 61]}, "prompt 0 has 61 tokens and max_new_tokens is 4; the model has 64 positions"),
        ({"prompts": ["a"], "sampling": [SHORT, SHORT]}, "sampling has 2 entries for 1 prompts"),
        ({"prompts": ["a"], "moi": {"beta": 1}}, "moi must be a MoIConfig or one per prompt"),
        ({"prompts": ["a", "b"], "moi": [MoIConfig(), MoIConfig(top_k=3)]}, "share top_k, entropy and prior"),
        ({"prompts": ["a"], "noise": [[0.5] * 3]}, r"noise\[0\] must hold at least 4 numbers in \[0, 1\), got 3"),
        ({"prompts": ["a"], "noise": [[0.5, 1.0, 0.1, 0.1]]}, r"noise\[0\] must hold at least 4 numbers"),
        ({"prompts": ["a"], "noise": []}, "noise has 0 rows for 1 prompts"),
    ],
)
def test_bad_calls_name_the_prompt_or_the_setting(tokenizer, call, words):
    with pytest.raises(ValueError, match=words):
        ready(tokenizer, **call)


def test_a_row_ends_at_eos_at_a_stop_string_or_at_its_length(tokenizer):
    letters = tokenizer("abcd").input_ids

    def finish(ids, **settings):
        (row,) = ready(tokenizer, ["x"], SamplingParams(**({"max_new_tokens": 4} | settings)))
        events = [row.append_token(token_id, 0.5, 0.25) for token_id in ids]
        return collect(events, 1)[0]

    assert (finish(letters).finish_reason, finish(letters).text) == ("length", "abcd")
    done = finish([letters[0], 1])
    assert (done.finish_reason, done.text, done.token_ids) == ("eos", "a", (letters[0], 1))
    assert finish([letters[0], 1, *letters[:2]], ignore_eos=True).finish_reason == "length"
    assert (finish(letters[:3], stop=("c",)).finish_reason, finish(letters[:3], stop=("c",)).text) == ("stop", "ab")
    assert done.mean_entropy == 0.5
    assert done.mean_intervention == 0.25
    assert done.mixed_tokens == 1  # the last token is never fed back
    nothing = Generation("", (), (), (), 0, "stop")
    assert (nothing.mean_entropy, nothing.mean_intervention) == (0.0, 0.0)


@pytest.mark.parametrize("temperature", [1e-39, 2.2e-308, 5e-324, 9e-7, 0, 0.0])
def test_temperatures_too_small_to_divide_by_are_greedy(temperature):
    assert SamplingParams(temperature=temperature).temperature == 0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"temperature": 1e39}, "temperature is larger than float32 holds"),
        ({"temperature": 10**400}, "temperature is larger than float32 holds"),
        ({"temperature": float("inf")}, "temperature=inf is not allowed; temperature must be a finite number >= 0"),
        ({"temperature": float("nan")}, "temperature=nan is not allowed"),
        ({"top_p": 10**400}, "top_p=10.* is not allowed"),
        ({"top_p": float("nan")}, "top_p=nan is not allowed"),
        ({"top_k": 2**31}, r"top_k=2147483648 is not allowed; top_k must be an integer in 0\.\.2147483647"),
        ({"stop": ("ok", "\udce9")}, "a stop string is not Unicode text"),
    ],
)
def test_settings_beyond_what_engines_hold_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        SamplingParams(**settings)


def test_a_tiny_top_p_keeps_the_best_token():
    params = SamplingTensors.of([SamplingParams(top_p=1e-46)], 4, torch.device("cpu"))
    assert sample(torch.tensor([[0.0, 0.1, 3.0, 1.0]]), params, torch.tensor([0.99])).tolist() == [2]


def test_a_stop_string_that_waited_for_more_tokens_ends_the_row_as_such(tokenizer):
    half = tokenizer("\u00e9").input_ids[0]
    (row,) = ready(tokenizer, ["x"], SamplingParams(max_new_tokens=1, stop=("\ufffd",)))
    done = collect([row.append_token(half, 0.5, 0.25)], 1)[0]
    assert (done.text, done.finish_reason) == ("", "stop")
