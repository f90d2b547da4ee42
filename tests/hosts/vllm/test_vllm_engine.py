"""The vllm engine behind the engines' protocol, on a pretrained model; `moi doctor`, `moi selftest` and `moi serve`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from moi import MoIConfig
from moi_engines import ENGINES, SamplingParams
from moi_engines.commands import serve
from moi_engines.parity import Cases, Output, judge
from moi_engines.parity_reference import Reference

TOKENS = 64
MOI: list[dict[str, Any]] = [
    {"policy": "moi", "beta": 1.0},
    {"policy": "token"},
    {"policy": "soft"},
]


@pytest.fixture(scope="module")
def prompts(ask: Any, real_model: Any) -> list[list[int]]:
    """Chats: after ids that form no text, rounding alone moves the first distribution of this model by 6e-5."""
    rng, tokenizer = ask.random("engine"), AutoTokenizer.from_pretrained(real_model("smollm2-135m"))
    kinds, themes = ("a story", "a poem", "a letter", "two sentences"), ("the sea", "winter", "a robot", "old bread")
    asked = [f"Write {rng.choice(kinds)} about {rng.choice(themes)} and {rng.randrange(2, 1000)} cats." for _ in MOI]
    chats = ([{"role": "user", "content": each}] for each in asked)
    texts = [tokenizer.apply_chat_template(each, tokenize=False, add_generation_prompt=True) for each in chats]
    return [tokenizer(text, add_special_tokens=False).input_ids for text in texts]


@pytest.fixture(scope="module")
def child(prompts: Any, run_child: Any, vllm_model: Any, real_model: Any, tmp_path_factory: Any) -> Any:
    scratch = Path(tmp_path_factory.mktemp("engine"))
    file = scratch / "cases.json"
    file.write_text(json.dumps({"prompts": prompts, "moi": MOI, "tokens": TOKENS}))
    return run_child("engine_child.py", vllm_model("qwen2"), real_model("smollm2-135m"), file, scratch)


def test_a_pretrained_model_agrees_over_64_tokens(child: Any, prompts: Any, real_model: Any) -> None:
    sampling = [
        SamplingParams(temperature=0, max_new_tokens=TOKENS, ignore_eos=True, seed=row) for row in range(len(MOI))
    ]
    cases = Cases(prompts, sampling, [MoIConfig.from_dict(each) for each in MOI], own_noise=True)
    keys = ("token_ids", "finish_reason", "entropies", "interventions")
    outputs = [Output(*(each[key] for key in keys)) for each in child["outputs"]]
    found = judge(Reference(real_model("smollm2-135m")), cases, outputs)
    assert found.agrees, str(found)
    assert [each["mixed_tokens"] > 0 for each in child["outputs"]] == [each["policy"] != "token" for each in MOI]


def test_streams_agree_alone_and_open_at_once(child: Any, prompts: Any, real_model: Any) -> None:
    """Held to the torch engine, not to the batch: the rows beside decide how sums are rounded."""
    streams, configs = [child["events"], *child["both"]], [MoIConfig.from_dict(MOI[0])] * 2 + [MoIConfig("token")]
    outputs = []
    for events, config in zip(streams, configs, strict=True):
        assert [event["finish_reason"] for event in events] == [None] * 11 + ["length"]
        entropies, interventions = ([event[name] for event in events] for name in ("entropy", "intervention"))
        told = (None, None) if config.policy == "token" else (entropies, interventions)
        outputs.append(Output([event["token_id"] for event in events], "length", *told))
    sampling = [SamplingParams(temperature=0, max_new_tokens=12, ignore_eos=True)] * 3
    found = judge(Reference(real_model("smollm2-135m")), Cases(prompts[:1] * 3, sampling, configs), outputs)
    assert found.agrees, str(found)


def test_a_stop_string_ends_the_text_before_it(child: Any) -> None:
    assert child["stopped"]["finish_reason"] == "stop"
    before, found, _ = child["whole"].partition(child["stop"])
    assert found
    assert child["stopped"]["text"] == before


def test_what_it_cannot_do_is_a_value_error(child: Any) -> None:
    assert child["told"] == [
        "top_k, entropy and prior of this engine are (20, 'support', 'raw'), got (5, 'support', 'raw'); "
        "they are fixed when vLLM starts, make another engine",
        "noise is not allowed; the engine vllm draws its own random numbers",
        "policy='moi' is not allowed; this engine decodes plainly: use 'token'",
    ]


def test_plain_decoding_reports_nothing(child: Any) -> None:
    (plain,) = child["plain"]
    assert plain["entropies"] == plain["interventions"] == [0.0] * 12
    assert plain["mixed_tokens"] == 0


def test_doctor_finds_every_hook_and_selftest_agrees(child: Any) -> None:
    assert child["doctor"] == {"usable": True, "reason": None}
    assert child["selftest"]["verdict"] == "agrees", child["selftest"]


def test_serve_starts_vllm_with_its_settings_and_prints_a_call_to_paste(vllm_model: Any) -> None:
    folder = vllm_model("llama")
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser)
    flags = ["--engine", "vllm", "--model", str(folder), "--beta", "0.5", "--mix-top-k", "8", "--until", "7"]
    args = parser.parse_args([*flags, "--", "--tensor-parallel-size", "2"])
    command = serve.command(folder, args)
    assert command[1:3] == ["-m", "vllm.entrypoints.openai.api_server"]
    settings = json.loads(command[command.index("--additional-config") + 1])
    assert settings == {"moi": {"beta": 0.5, "top_k": 8, "until": 7}}
    assert command[-2:] == ["--tensor-parallel-size", "2"]
    call = serve.client_call("127.0.0.1", 30000, folder, ENGINES["vllm"].request)
    assert '"vllm_xargs": {"moi_beta": 0.5}' in call
