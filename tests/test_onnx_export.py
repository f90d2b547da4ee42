"""`moi export`: folders whole or not at all, and a clear word for what cannot be exported or loaded."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from moi_engines.testing import save_tiny_model

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from moi_engines.commands import export as command
from moi_engines.onnx_engine import ONNXEngine
from moi_engines.onnx_export import export
from moi_onnx.folder import whole_folder
from moi_onnx.manifest import read_manifest
from moi_onnx.options import ExportOptions


def run(*argv: str | Path) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([str(arg) for arg in argv]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export by the command, self-check included."""
    scratch = tmp_path_factory.mktemp("export")
    model = save_tiny_model(scratch / "model", "qwen3")
    assert run("--model", model, "--out", scratch / "out", "--max-length", "64") == 0
    return scratch / "out"


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def test_the_folder_convention(folder: Path) -> None:
    names = {file.name for file in folder.iterdir()}
    assert {"model.onnx", "model.onnx.data", "moi_config.json", "config.json", "genai_config.json"} <= names
    assert "tokenizer.json" in names
    assert not list(folder.parent.glob(".*")), "nothing else is left"
    _, manifest = read_manifest(folder)
    assert (manifest.variant, manifest.max_length, manifest.top_k, manifest.candidates) == ("static", 64, 20, 64)
    assert [plugin["name"] for plugin in manifest.plugins] == ["MixEmbed", "MixInputs"]
    assert manifest.versions["onnx"]
    genai = json.loads((folder / "genai_config.json").read_text())["model"]
    assert genai["context_length"] == 64
    assert genai["decoder"]["num_hidden_layers"] == 2


def test_the_self_check_reports(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = folder.parent / "model"
    command.self_check(model, folder, ExportOptions())
    assert "24 of 24 tokens" in capsys.readouterr().err
    other = save_tiny_model(folder.parent / "other", "qwen3", seed=9)
    with pytest.raises(RuntimeError, match="decodes otherwise than the torch engine"):
        command.self_check(other, folder, ExportOptions())
    command.self_check(other, folder, ExportOptions(dtype="float16"))
    command.self_check(other, folder, ExportOptions(dtype="bfloat16"))
    assert "structure only" in capsys.readouterr().err


def test_a_full_folder_needs_force(folder: Path) -> None:
    before = (folder / "moi_config.json").read_bytes()
    with pytest.raises(FileExistsError, match="is not empty; --force replaces it"):
        run("--model", folder.parent / "model", "--out", folder)
    assert (folder / "moi_config.json").read_bytes() == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
@pytest.mark.parametrize("existing", [True, False])
def test_an_interrupted_export_leaves_everything_as_it_was(
    tmp_path: Path, error: type[BaseException], existing: bool
) -> None:
    target = tmp_path / "out"
    if existing:
        target.mkdir()
        (target / "old").write_text("old")

    def fail() -> None:
        with whole_folder(target, force=True) as draft:
            (draft / "model.onnx").write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == (["out"] if existing else [])
    assert not existing or (target / "old").read_text() == "old"


def test_force_replaces_the_whole_folder(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "old").write_text("old")
    with whole_folder(target, force=True) as draft:
        (draft / "new").write_text("new")
    assert [path.name for path in target.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_failed_self_check_writes_nothing(tmp_path: Path, folder: Path) -> None:
    def fail(model: Path, draft: Path) -> None:
        assert (draft / "model.onnx").is_file()
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        export(folder.parent / "model", tmp_path / "out", ExportOptions(max_length=32), check=fail)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"variant": "paged"}, "variant='paged' is unknown; allowed: static, concat"),
        ({"max_length": 1}, "max_length=1 is not allowed; max_length must be an integer >= 2"),
        ({"dtype": "int8"}, "dtype='int8' is unknown"),
        ({"candidates": 5000}, r"candidates=5000 is not allowed; candidates must be an integer in 1\.\.1024"),
        ({"quantize": "int4", "dtype": "bfloat16"}, "not allowed with dtype='bfloat16'"),
    ],
)
def test_bad_options(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        ExportOptions(**settings)


def test_a_cache_longer_than_the_model(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="max_length=4096 is not allowed; the model has 512 positions"):
        export(folder.parent / "model", tmp_path / "out", ExportOptions(max_length=4096))
    assert list(tmp_path.iterdir()) == []


def test_models_that_cannot_be_exported(tmp_path: Path, tiny_model: Callable[[str], Path]) -> None:
    with pytest.raises(FileNotFoundError, match="does not exist"):
        export(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(FileNotFoundError, match=r"no config\.json"):
        export(tmp_path, tmp_path / "out")
    other = Path(shutil.copytree(tiny_model("qwen2"), tmp_path / "other"))
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"model_type": "gpt2"}))
    with pytest.raises(ValueError, match="model type 'gpt2' cannot be exported; allowed: qwen2, qwen3, llama"):
        export(other, tmp_path / "out")
    (other / "config.json").write_text(json.dumps(config))
    (other / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(ValueError, match="cannot be read"):
        export(other, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_truncated_data_is_named(copy: Path) -> None:
    data = copy / "model.onnx.data"
    size = data.stat().st_size
    data.write_bytes(data.read_bytes()[:-100])
    with pytest.raises(ValueError, match=rf"model\.onnx\.data has {size - 100} bytes instead of {size}"):
        ONNXEngine(copy)
    data.unlink()
    with pytest.raises(FileNotFoundError, match=r"has no model\.onnx\.data; export the model again"):
        ONNXEngine(copy)


def test_unreadable_folders(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="does not exist"):
        ONNXEngine(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no moi_config\.json; make one with `moi export`"):
        ONNXEngine(tmp_path / "empty")
    manifest = json.loads((copy / "moi_config.json").read_text())
    model = (copy / "model.onnx").read_bytes()
    (copy / "model.onnx").write_bytes(b"\0" * len(model))
    with pytest.raises(ValueError, match="ONNX Runtime cannot load"):
        ONNXEngine(copy)
    (copy / "tokenizer.json").write_text("{")
    with pytest.raises(ValueError, match="tokenizer"):
        ONNXEngine(copy)
    (copy / "moi_config.json").write_text(json.dumps(manifest | {"format": 9}))
    with pytest.raises(ValueError, match=r"has format 9; allowed: 2\. Export the model again"):
        ONNXEngine(copy)
    (copy / "moi_config.json").write_text(json.dumps(manifest | {"surprise": 9}))
    with pytest.raises(ValueError, match="surprise"):
        ONNXEngine(copy)
    (copy / "moi_config.json").write_text("{")
    with pytest.raises(ValueError, match="cannot be read"):
        ONNXEngine(copy)


def test_bfloat16_is_written_but_not_run_on_the_cpu(copy: Path) -> None:
    manifest = json.loads((copy / "moi_config.json").read_text())
    (copy / "moi_config.json").write_text(json.dumps(manifest | {"dtype": "bfloat16"}))
    with pytest.raises(ValueError, match="bfloat16 does not run on ONNX Runtime's CPU provider"):
        ONNXEngine(copy, provider="cpu")


def test_help_imports_no_torch() -> None:
    code = (
        "import argparse, sys\nfrom moi_engines.commands import export as command\n"
        "command.add_arguments(argparse.ArgumentParser())\n"
        "assert not {'onnx', 'onnxruntime', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
