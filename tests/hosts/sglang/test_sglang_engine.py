"""The sglang engine behind the engines' protocol, and `moi serve`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from moi import MoIConfig
from moi_engines import ENGINES, SamplingParams, embedded_model
from moi_engines.commands import serve
from moi_engines.parity import Cases, Output, judge
from moi_engines.parity_reference import Reference

# Those of engine_child.py.
PROMPTS: list[Any] = ["18 7 7 > 67 :", [5, 6, 7, 8]]
CONFIGS = [MoIConfig(beta=2.0), MoIConfig(policy="token")]


@pytest.fixture(scope="module")
def child(run_child: Any) -> Any:
    return run_child("engine_child.py", embedded_model())


def agrees(outputs: list[Output], configs: list[MoIConfig]) -> Any:
    """Held to the torch engine, not to another run: prompts that are cached are other shapes, which round otherwise."""
    sampling = [SamplingParams(temperature=0, max_new_tokens=32, ignore_eos=True)] * 2
    found = judge(Reference(embedded_model()), Cases(PROMPTS, sampling, configs), outputs)
    return found.agrees or str(found)


def test_generate_and_stream_agree(child: Any) -> None:
    keys = ("token_ids", "finish_reason", "entropies", "interventions")
    assert agrees([Output(*(each[key] for key in keys)) for each in child["outputs"]], CONFIGS) is True
    assert [each["mixed_tokens"] for each in child["outputs"]] == [31, 0]
    streamed, tokenizer = [], AutoTokenizer.from_pretrained(embedded_model())
    for row in range(2):
        events = [event for event in child["events"] if event["row"] == row]
        assert [event["finish_reason"] for event in events] == [None] * 31 + ["length"]
        names = ("token_id", "entropy", "intervention")
        ids, entropies, interventions = ([event[name] for event in events] for name in names)
        assert "".join(event["text"] for event in events) == tokenizer.decode(ids, skip_special_tokens=True)
        streamed.append(Output(ids, "length", entropies, interventions))
    assert agrees(streamed, CONFIGS) is True


def test_a_stop_string_ends_the_text_before_it(child: Any) -> None:
    assert child["stopped"]["finish_reason"] == "stop"
    assert child["stopped"]["text"] == child["whole"].partition(child["stop"])[0] != ""


def test_what_it_cannot_do_is_a_value_error(child: Any) -> None:
    assert child["told"] == [
        "noise is not allowed; the engine sglang draws its own random numbers",
        "top_k, entropy and prior of this engine are (20, 'support', 'raw'), got (5, 'support', 'raw'); "
        "they are fixed when SGLang starts, make another engine",
        "policy='moi' is not allowed; this engine decodes plainly: use 'token'",
    ]


def test_plain_decoding_agrees_and_reports_nothing(child: Any) -> None:
    outputs = [Output(each["token_ids"], each["finish_reason"]) for each in child["plain"]]
    assert agrees(outputs, [MoIConfig("token")] * 2) is True
    for output in child["plain"]:
        assert output["mixed_tokens"] == 0
        assert output["entropies"] == output["interventions"] == [0.0] * 32


def test_serve_starts_sglang_with_its_flags_and_prints_a_call_to_paste(qwen2: Path) -> None:
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser)
    args = parser.parse_args(["--model", str(qwen2), "--beta", "0.5", "--mix-top-k", "8", "--", "--tp-size", "2"])
    command = serve.command(qwen2, args)
    assert command[1:3] == ["-m", "sglang.launch_server"]
    flags = " ".join(command[3:])
    assert "--enable-moi --moi-beta 0.5 --moi-top-k 8 --tp-size 2" in flags
    call = serve.client_call("127.0.0.1", 30000, qwen2, ENGINES["sglang"].request)
    assert call.startswith("curl -s http://127.0.0.1:30000/v1/completions")
    assert '"custom_params": {"moi": {"beta": 0.5}}' in call
