"""`moi selftest`: verdicts, the report, and exit statuses."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from moi import MoIConfig
from moi_engines import ENGINES, load_engine, selfcheck
from moi_engines.commands import selftest
from moi_engines.parity import Cases
from moi_engines.registry import SelfTest
from moi_engines.selfcheck import check_backend, make_cases
from moi_engines.testing import save_tiny_model

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model"), "qwen3")


def _run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    parser = argparse.ArgumentParser()
    selftest.add_arguments(parser)
    status = selftest.run(parser.parse_args(list(arguments)))
    return status, capsys.readouterr().out


def _usable(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Only these backends are there; others say so."""
    for name, spec in ENGINES.items():
        missing = () if name in names else ("no_such_module",)
        monkeypatch.setitem(ENGINES.loaded, name, replace(spec, modules=missing, extra="extra", problems=list))


def _decoding(monkeypatch: pytest.MonkeyPatch, decode: Any) -> None:
    """The sglang engine is there, and decodes like this."""
    _usable(monkeypatch, "sglang")
    spec = replace(ENGINES["sglang"], own_noise=False, selftest=SelfTest(decode=decode))
    monkeypatch.setitem(ENGINES.loaded, "sglang", spec)


def test_every_backend_can_be_checked() -> None:
    assert set(ENGINES) == {"torch", "onnxruntime", "sglang", "vllm", "tensorrt", "tensorrt_rtx", "tensorrt_llm"}
    assert all(spec.load is not None or spec.selftest.decode is not None for spec in ENGINES.values())


def test_the_torch_engine_passes_and_the_report_is_complete(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "report.json"
    status, out = _run(capsys, "--backend", "torch", "--model", str(model), "--report", str(file))
    report = json.loads(file.read_text())
    assert status == 0
    assert "passed: 1 of 1 backends ran" in out
    assert report["passed"] is True
    assert report["backends"]["torch"]["verdict"] == "agrees"
    entry = report["backends"]["torch"]
    assert entry["tokens"] == 6 * selfcheck.NEW_TOKENS
    assert 3 * entry["judged"] >= entry["tokens"]
    assert entry["margin"] <= entry["allowed"] == 1e-4
    assert report["format"] == 2
    assert set(report) == {"format", "passed", "backends", "model", "versions", "devices"}
    assert str(model.parent) not in file.read_text(), "a report names no folder of the user"


def test_onnxruntime_agrees(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    status, out = _run(capsys, "--backend", "onnxruntime", "--json")
    report = json.loads(out)
    assert status == 0, report["backends"]
    assert report["backends"]["onnxruntime"]["verdict"] == "agrees"


@pytest.mark.parametrize("name", ["tensorrt", "tensorrt_rtx", "tensorrt_llm"])
@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_what_cannot_run_here_is_named_and_fails(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out = _run(capsys, "--backend", name)
    assert status == 1
    assert f"{name:<13}unavailable" in out
    assert any(text in out for text in ("not installed", "finds none here"))
    assert "FAILED: 0 of 1 backends ran" in out


def test_without_a_choice_missing_backends_are_listed_and_do_not_fail(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _usable(monkeypatch, "torch")
    status, out = _run(capsys, "--model", str(model))
    assert status == 0
    assert out.count("unavailable") == len(ENGINES) - 1
    assert "pip install 'mixture-of-inputs[extra]'" in out
    assert f"passed: 1 of {len(ENGINES)} backends ran" in out


def test_nothing_usable_is_no_success(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    _usable(monkeypatch)
    assert _run(capsys)[0] == 1


def test_a_backend_that_ignores_mixtures_is_found(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def plainly(model: Path, cases: Cases) -> Any:
        return load_engine("torch", model).generate(cases.prompts, cases.sampling, MoIConfig(policy="token"))

    _decoding(monkeypatch, plainly)
    status, out = _run(capsys, "--backend", "sglang", "--model", str(model))
    assert status == 1
    assert "differs" in out
    assert "row 0, step 0: intervention 0, not" in out


def test_a_crash_becomes_a_verdict(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(model: Path, cases: Cases) -> Any:
        raise RuntimeError("x" * 500)

    _decoding(monkeypatch, crash)
    verdict = check_backend("sglang", model, tmp_path)
    assert verdict.verdict == "failed"
    assert verdict.reason == f"RuntimeError: {'x' * 500}"
    assert len(selftest.summary({"passed": False, "backends": {"sglang": verdict.to_dict()}}).splitlines()[0]) < 220
    assert check_backend("sglang", tmp_path / "absent", tmp_path).verdict == "failed"


def test_a_native_crash_becomes_a_verdict_too(
    model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho 'free(): invalid pointer' >&2\nkill -SEGV $$\n")
    program.chmod(0o755)
    monkeypatch.setattr(selfcheck.sys, "executable", str(program))
    verdict = selfcheck.check_isolated("tensorrt", model, tmp_path)
    assert verdict.verdict == "failed"
    assert verdict.reason == "its process ended with status -11: free(): invalid pointer"


def test_an_isolated_check_says_what_the_check_says(model: Path, tmp_path: Path) -> None:
    assert selfcheck.check_isolated("torch", model, tmp_path).verdict == "agrees"


def test_what_backends_are_asked_for(model: Path) -> None:
    assert {params.temperature for params in make_cases(model, ENGINES["tensorrt_llm"]).sampling} == {0.0}
    assert max(params.temperature for params in make_cases(model, ENGINES["sglang"]).sampling) == 1.0
    assert [name for name, spec in ENGINES.items() if spec.own_noise] == ["sglang", "vllm", "tensorrt_llm"]
