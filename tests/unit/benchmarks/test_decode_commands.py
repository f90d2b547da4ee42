"""`python -m moi_bench.sglang_decode`, `vllm_decode` and `onnx_decode`, as far as no host is needed: bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from moi_bench import decode_sides, onnx_decode, sglang_decode, vllm_decode
from moi_bench.gpu import figures
from moi_bench.report.results import read
from moi_bench.report.testing import write_samples

SIDES = [(sglang_decode, "sglang"), (vllm_decode, "vllm")]
BOTH = [
    (["--rounds", "0"], "--rounds=0 is not allowed; it must be an integer >= 1"),
    (["--repeats", "0"], "--repeats=0 is not allowed"),
    (["--batch", "8", "0"], "--batch=0 is not allowed"),
    (["--tokens", "8", "8"], "--tokens 8 8 is not allowed; the first must be >= 1, the second greater"),
    (["--tokens", "0", "8"], "--tokens 0 8 is not allowed"),
    (["--options", "[1]"], "--options=[1] is not allowed; it must be a JSON object"),
    (["--out", "FOLDER"], "is a folder; give the name of a file"),
]
ONNX = [
    (["--rounds", "0"], "--rounds=0 is not allowed"),
    (["--new-tokens", "2"], "--new-tokens=2 is not allowed; it must be an integer >= 3"),
    (["--new-tokens", "8", "--max-length", "39"], "--max-length=39 is not allowed; it must be an integer >= 40"),
    (["--model", "nowhere"], "--model nowhere is no folder"),
    (["--out", "FOLDER"], "is a folder; give the name of a file"),
]


@pytest.mark.parametrize(
    ("module", "name", "flags", "words"),
    [
        *((module, name, *case) for module, name in SIDES for case in BOTH),
        *((onnx_decode, "onnx", *case) for case in ONNX),
    ],
)
def test_bad_input_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, module: Any, name: str, flags: list[str], words: str
) -> None:
    assert module.main([str(tmp_path) if flag == "FOLDER" else flag for flag in flags]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(f"moi_bench.{name}_decode: ")
    assert words in told.err
    assert told.err.count("\n") == 1


@pytest.mark.parametrize("idle", [True, False])
def test_rows_of_vllm_say_where_all_requests_were_plain(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, idle: bool
) -> None:
    """They are reported as vLLM's, and told in a line of a day's summary."""
    made = json.loads(next(path for path in write_samples(tmp_path / "made") if path.stem == "vllm").read_text())
    rows = [{key: value for key, value in row.items() if key not in ("kind", "idle")} for row in made]
    monkeypatch.setattr(vllm_decode, "host_time", lambda device: iter(rows[:2]))
    monkeypatch.setattr(decode_sides, "compare", lambda *_: iter(rows[2:]))
    out = tmp_path / "vllm.json"
    assert vllm_decode.main(["--out", str(out), *(["--idle"] if idle else [])]) == 0
    results = read([out])
    assert [row.get("idle") for row in results.vllm] == [True if idle else None] * 2
    assert [row.get("target_ratio") == vllm_decode.IDLE_TARGET for row in results.vllm] == [idle] * 2
    assert [row.get("idle") for row in results.vllm_host] == [None] * 2
    assert results.sglang == results.host == []
    assert len(results.machines) == 2  # one of the rows has a note
    assert "made up B=8: 0.900 (0.880 to 0.930)" in figures.read(out)
