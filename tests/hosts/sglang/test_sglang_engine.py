"""The sglang engine behind the engines' protocol, and `moi serve`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from moi import MoIConfig
from moi_engines import ENGINES, SamplingParams, embedded_model
from moi_engines.commands import serve
from moi_engines.parity import Cases, Output, judge
from moi_engines.parity_reference import Reference


@pytest.fixture(scope="module")
def child(run_child: Any) -> Any:
    return run_child("engine_child.py", embedded_model())


def test_generate_agrees_and_the_stream_holds_the_same(child: Any) -> None:
    sampling = [SamplingParams(temperature=0, max_new_tokens=32, ignore_eos=True)] * 2
    cases = Cases(["18 7 7 > 67 :", [5, 6, 7, 8]], sampling, [MoIConfig(beta=2.0), MoIConfig(policy="token")])
    outputs = [
        Output(*(each[key] for key in ("token_ids", "finish_reason", "entropies", "interventions")))
        for each in child["outputs"]
    ]
    found = judge(Reference(embedded_model()), cases, outputs)
    assert found.agrees, str(found)
    assert [each["mixed_tokens"] for each in child["outputs"]] == [31, 0]
    for row, output in enumerate(child["outputs"]):
        streamed = [event for event in child["events"] if event["row"] == row]
        assert [event["token_id"] for event in streamed] == list(output["token_ids"])
        assert "".join(event["text"] for event in streamed) == output["text"]
        assert [event["finish_reason"] for event in streamed] == [None] * 31 + ["length"]


def test_a_stop_string_ends_the_text_before_it(child: Any) -> None:
    assert child["stopped"]["finish_reason"] == "stop"
    assert child["stopped"]["text"] == child["outputs"][0]["text"].partition(child["stop"])[0] != ""


def test_what_it_cannot_do_is_a_value_error(child: Any) -> None:
    assert child["told"] == [
        "noise is not allowed; the engine sglang draws its own random numbers",
        "top_k, entropy and prior of this engine are (20, 'support', 'raw'), got (5, 'support', 'raw'); "
        "they are fixed when SGLang starts, make another engine",
        "policy='moi' is not allowed; this engine decodes plainly: use 'token'",
    ]


def test_plain_decoding_is_by_the_same_server_and_reports_nothing(child: Any) -> None:
    usual = child["outputs"][1]
    assert child["plain"][1]["token_ids"] == usual["token_ids"]
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
