"""Walks of the documentation from a model to its export and its engine, each command in turn, on the model on board."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import torch

from documented import indented
from moi.cli import main
from moi_engines import embedded_model

pytestmark = [pytest.mark.slow, pytest.mark.skipif(torch.cuda.is_available(), reason="shows a machine without a GPU")]


def walk(page: str, folder: Path, *commands: str) -> list[int]:
    """The status of each command, with a model, its largest length, a folder and a prompt in their places."""
    filled = {"MODEL": str(embedded_model()), "1024": "512", "2048": "512", "...": "18 7 7 > 67 :"}
    filled |= dict.fromkeys(("FOLDER", "DIR"), str(folder))
    lines = [line for start in commands for line in indented(page, f"moi {start}")[:1]]
    return [main([filled.get(word, word) for word in shlex.split(line)[1:]]) for line in lines]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnxscript")
    out = tmp_path_factory.mktemp("walk") / "out"
    assert walk("onnx.md", out, "export") == [0]
    (of_tensorrt,), (of_onnx,) = indented("tensorrt.md", "moi export"), indented("onnx.md", "moi export")
    assert of_tensorrt.replace("2048", "1024").replace("DIR", "FOLDER") == of_onnx
    return out


def test_an_export_decodes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    assert walk("onnx.md", folder, "generate", "doctor --onnx") == [0, 0]
    assert "67" in capsys.readouterr().out


def test_an_engine_is_compiled_and_says_that_it_runs_on_a_gpu(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tensorrt_rtx")
    assert walk("tensorrt.md", folder, "compile") == [0]
    assert [*folder.rglob("*.engine")]
    capsys.readouterr()
    assert walk("tensorrt.md", folder, "generate") == [2]
    assert "GPU" in capsys.readouterr().err
