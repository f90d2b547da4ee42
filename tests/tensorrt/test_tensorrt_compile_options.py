"""Options and folders that cannot be compiled, and what the documentation claims: nothing here compiles."""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tensorrt_exports import manifest

pytest.importorskip("onnxscript")
pytest.importorskip("moi_tensorrt")
from moi_compile import command
from moi_compile.compile import CompileOptions, compile_engine
from moi_compile.network import profile_of

needs_rtx = pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx not installed")


def _chips(*names: str) -> CompileOptions:
    return CompileOptions("tensorrt-rtx", names)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (CompileOptions("tensorrt-lite"), "runtime='tensorrt-lite' is unknown; allowed: tensorrt, tensorrt-rtx"),
        (_chips(), "compute-capability is missing; tensorrt-rtx knows 7.5"),
        (_chips("9.0"), "compute-capability='9.0' is not supported by tensorrt-rtx; allowed: 7.5"),
        (CompileOptions("tensorrt", ("8.6",)), "tensorrt compiles for the GPU it runs on"),
    ],
)
def test_bad_options_are_named_before_anything_is_loaded(tmp_path: Path, options: CompileOptions, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compile_engine(tmp_path, tmp_path / "x", options)


def test_a_folder_that_is_no_export_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="does not exist"):
        compile_engine(tmp_path / "absent", tmp_path / "x", _chips("8.6"))
    with pytest.raises(FileNotFoundError, match=r"has no model\.onnx: it is not an export; make one with: moi export"):
        compile_engine(tmp_path, tmp_path / "x", _chips("8.6"))
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=r"has no moi_config\.json"):
        compile_engine(tmp_path, tmp_path / "x", _chips("8.6"))


def test_a_growing_cache_is_refused() -> None:
    growing = replace(manifest(), variant="concat", max_length=None)
    with pytest.raises(ValueError, match="the graph has no static cache; export with --variant static"):
        profile_of(growing, 1, None)


def test_missing_libraries_name_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.onnx").write_bytes(b"")
    manifest().write(tmp_path)
    monkeypatch.setattr("moi_compile.runtimes.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"tensorrt is not installed; pip install 'mixture-of-inputs\[tensorrt\]'"):
        compile_engine(tmp_path, tmp_path / "x", CompileOptions())
    with pytest.raises(ImportError, match=r"pip install 'mixture-of-inputs\[tensorrt-rtx\]'"):
        compile_engine(tmp_path, tmp_path / "x", _chips("8.6"))


def test_the_parser_knows_its_defaults() -> None:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    args = parser.parse_args(["folder"])
    assert (args.runtime, args.max_batch, args.max_prompt, args.out) == ("tensorrt", 8, None, None)
    assert os.fspath(args.folder) == "folder"


@needs_rtx
def test_the_bindings_have_every_name_that_is_called() -> None:
    code = "import sys; sys.path.insert(0, sys.argv[1]); import names, tensorrt_rtx; print(names.missing(tensorrt_rtx))"
    fixture = Path(__file__).parent / "fixture"
    result = subprocess.run([sys.executable, "-c", code, str(fixture)], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_the_documentation_claims_what_is_true_and_no_more() -> None:
    text = " ".join((Path(__file__).parents[2] / "docs" / "tensorrt.md").read_text(encoding="utf-8").split())
    for claim in (
        "TensorRT plugin layer (QDP)",
        "TensorRT-LLM PyTorch-backend integration",
        "Engine compilation is tested in CI with TensorRT-RTX",
        "full TensorRT and TensorRT-LLM execution is confirmed on your machine by the bundled self-test",
    ):
        assert claim in text
    assert "runs in TensorRT-LLM engines" not in text
