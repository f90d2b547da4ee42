"""What does not go with mixing stops the start with one line that names the flag: real lines, read by the real vLLM."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[3] / "docs" / "vllm.md"
NGRAM = {"method": "ngram", "num_speculative_tokens": 2, "prompt_lookup_max": 3}
KV = {"kv_connector": "ExampleConnector", "kv_role": "kv_both"}
CONFLICTING: dict[str, list[str]] = {
    "--speculative-config": ["--speculative-config", json.dumps(NGRAM)],
    "--pipeline-parallel-size": ["--pipeline-parallel-size", "2"],
    "--decode-context-parallel-size": ["--decode-context-parallel-size", "2", "--tensor-parallel-size", "2"],
    "--enable-batch-sharded-sampling": ["--enable-batch-sharded-sampling", "--tensor-parallel-size", "2"],
    "--kv-transfer-config": ["--kv-transfer-config", json.dumps(KV)],
    "--kv-offloading-size": ["--kv-offloading-size", "1"],
    "--enable-lora": ["--enable-lora"],
}
SETTINGS: dict[str, tuple[Any, dict[str, str], str]] = {
    "beta": ({"beta": -2}, {}, "beta=-2 is not allowed"),
    "key": ({"betta": 2}, {}, "moi key 'betta' is unknown"),
    "kind": (3, {}, "moi=3 is not allowed; it must be a dict of settings, true or false"),
    "until": ({"until": "never"}, {}, "until='never' is not allowed"),
    "until of no token": ({"until": 10**6}, {}, "until=1000000 is not allowed; the model's vocabulary has"),
    "top_k": ({"top_k": 65}, {}, "top_k=65 is not allowed; top_k must be an integer in 1..64"),
    "untested": ({"allow_untested": "yes"}, {}, "allow_untested must be true or false"),
    "variable": (True, {"MOI_TOP_K": "many"}, "MOI_TOP_K='many' is not allowed"),
    "runner": ({}, {"VLLM_USE_V2_MODEL_RUNNER": "0"}, "VLLM_USE_V2_MODEL_RUNNER=0 does not go with MoI"),
}


@pytest.fixture(scope="module")
def report(run_child: Any, vllm_model: Any, tmp_path_factory: Any) -> Any:
    common = ["--model", str(vllm_model("llama")), "--dtype", "float32", "--enforce-eager", "--max-model-len", "128"]
    common += ["--block-size", "32", "--kv-cache-memory-bytes", "67108864"]

    def case(moi: Any, line: list[str], env: dict[str, str]) -> dict[str, Any]:
        return {"line": [*common, "--additional-config", json.dumps({"moi": moi}), *line], "env": env}

    cases = {flag: case({}, line, {}) for flag, line in CONFLICTING.items()}
    cases |= {name: case(moi, [], env) for name, (moi, env, _) in SETTINGS.items()}
    cases |= {"on": case({}, [], {}), "off": case(False, CONFLICTING["--enable-lora"], {"MOI_ENABLE": "1"})}
    cases["environment"] = {"line": [*common, "--enable-lora"], "env": {"MOI_ENABLE": "1"}}
    file = Path(tmp_path_factory.mktemp("refusals")) / "lines.json"
    file.write_text(json.dumps(cases))
    return run_child("refusals_child.py", file)


@pytest.mark.parametrize("flag", CONFLICTING)
def test_a_flag_that_conflicts_is_named_with_the_reason(flag: str, report: Any) -> None:
    (row,) = (each for each in report["table"] if each["flag"] == flag)
    assert report["found"][flag] == f"MoI: {flag} does not go with MoI: {row['reason']}"


@pytest.mark.parametrize("name", SETTINGS)
def test_bad_settings_of_the_server_are_named(name: str, report: Any) -> None:
    assert SETTINGS[name][2] in report["found"][name]


def test_what_goes_with_mixing_starts_and_without_mixing_nothing_is_refused(report: Any) -> None:
    assert (report["found"]["on"], report["found"]["off"]) == ("starts", "starts")
    assert "--enable-lora does not go with MoI" in report["found"]["environment"]


def test_the_page_has_the_table(report: Any) -> None:
    text = DOCS.read_text(encoding="utf-8")
    for row in report["table"]:
        assert f"| `{row['flag']}` | {row['reason']} |" in text


def test_the_installed_vllm_has_all_that_is_declared(report: Any) -> None:
    assert report["contract"] == []
