"""`python -m moi_bench.sglang_decode`, `vllm_decode` and `onnx_decode`, as far as no host is needed: bad input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from moi_bench import onnx_decode, sglang_decode, vllm_decode

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
