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
import torch

from moi import MoIConfig
from moi_engines import SamplingParams
from moi_engines.checkpoint import load_checkpoint
from moi_engines.testing import save_tiny_model

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from moi_engines.commands import export as command
from moi_engines.onnx_engine import ONNXEngine
from moi_engines.onnx_export import export
from moi_onnx.exporter import to_onnx
from moi_onnx.manifest import read_manifest
from moi_onnx.options import ExportOptions

pytestmark = pytest.mark.slow


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
    assert "of 32 tokens judged, largest margin" in capsys.readouterr().err
    other = save_tiny_model(folder.parent / "other", "qwen3", seed=9)
    with pytest.raises(RuntimeError, match="decodes otherwise than the torch engine"):
        command.self_check(other, folder, ExportOptions())
    command.self_check(other, folder, ExportOptions(dtype="bfloat16"))
    assert "structure only" in capsys.readouterr().err


def test_a_full_folder_needs_force(folder: Path) -> None:
    before = (folder / "moi_config.json").read_bytes()
    with pytest.raises(FileExistsError, match="is not empty; --force replaces a folder that moi wrote"):
        run("--model", folder.parent / "model", "--out", folder)
    assert (folder / "moi_config.json").read_bytes() == before


def test_an_export_is_replaced_by_force_and_nothing_else_is(copy: Path, folder: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(folder.parent / "model", tmp_path / "model"))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    (tmp_path / "link").symlink_to(model)
    argv = ("--max-length", "32", "--skip-check", "--force")
    for out in (model, tmp_path / "link", tmp_path, copy / ".." / "model", model / "config.json"):
        with pytest.raises((OSError, ValueError), match=r"is or holds|is not a folder"):
            run("--model", model, "--out", out, *argv)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert run("--model", model, "--out", copy, *argv) == 0
    assert read_manifest(copy)[1].max_length == 32
    (copy / "model.engine").write_bytes(b"x")
    with pytest.raises(FileExistsError, match=r"holds what moi did not write \(model.engine\)"):
        run("--model", model, "--out", copy, *argv)
    assert all(path.read_bytes() == content for path, content in before.items() if path.is_relative_to(model))


def test_the_current_folder_may_be_the_target(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("--model", folder.parent / "model", "--out", ".", "--max-length", "32", "--skip-check") == 0
    assert read_manifest(Path.cwd())[1].max_length == 32
    assert not list(tmp_path.glob(".*"))


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
    (copy / "model.onnx").write_bytes(model)
    (copy / "tokenizer.json").write_text("{")
    with pytest.raises(ValueError, match="tokenizer"):
        ONNXEngine(copy)
    (copy / "moi_config.json").write_text(json.dumps(manifest | {"format": 9}))
    with pytest.raises(ValueError, match=r"has format 9; allowed: 4\. Export the model again"):
        ONNXEngine(copy)
    (copy / "moi_config.json").write_text(json.dumps(manifest | {"surprise": 9}))
    with pytest.raises(ValueError, match="surprise"):
        ONNXEngine(copy)
    (copy / "moi_config.json").write_text("{")
    with pytest.raises(ValueError, match="cannot be read"):
        ONNXEngine(copy)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"max_length": None}, "max_length=None and positions=64 do not go with the static variant"),
        ({"positions": 65}, "max_length=64 and positions=65 do not go with the static variant"),
        ({"variant": "concat"}, "max_length=64 and positions=64 do not go with the concat variant"),
        ({"candidates": 10**6}, "candidates=1000000 does not go with vocab="),
        ({"policies": {}}, "policies: Dictionary should have at least 1 item"),
        ({"max_length": 65, "positions": 65}, r"past_key_values\.0\.key has shape \[\?,\d+,64,\d+\], not"),
        ({"layers": 2**31 - 1}, r"\d+ layers, not 2147483647"),
        ({"width": 2**31 - 1}, r"past_key_values\.0\.key has shape .*2147483647\]"),
        ({"dtype": "float16"}, "logits has type float32, not float16"),
        ({"top_k": 5}, r"next_mix_ids has shape \[\?,1,21\], not \[\?,1,6\]"),
        ({"mixing": False}, r"next_mix_ids has shape \[\?,1,21\], not \[\?,1,1\]"),
        ({"policies": {"token": ["a", "b", "c", "d"]}}, r"parameters has shape \[\?,\d\], not"),
    ],
    ids=str,
)
def test_a_manifest_that_does_not_describe_its_graph(copy: Path, changed: dict[str, Any], reason: str) -> None:
    """Found before anything of the sizes that it tells is made."""
    manifest = json.loads((copy / "moi_config.json").read_text())
    (copy / "moi_config.json").write_text(json.dumps(manifest | changed))
    with pytest.raises(ValueError, match=reason):
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


ROPE = {
    "linear": {"factor": 2.0},
    "yarn": {"factor": 4.0, "original_max_position_embeddings": 32},
    "llama3": {"factor": 8.0, "original_max_position_embeddings": 32, "low_freq_factor": 1.0, "high_freq_factor": 4.0},
    "dynamic": {"factor": 2.0},
    "longrope": {
        "factor": 2.0,
        "original_max_position_embeddings": 32,
        "short_factor": [1.0] * 4,
        "long_factor": [2.0] * 4,
    },
}


def rope_model(folder: Path, kind: str) -> Path:
    return save_tiny_model(folder, "llama", rope_parameters={"rope_type": kind, "rope_theta": 10000.0, **ROPE[kind]})


@pytest.mark.parametrize("kind", ["linear", "yarn", "llama3"])
def test_rotary_frequencies_that_are_numbers_are_exported(tmp_path: Path, kind: str) -> None:
    model = rope_model(tmp_path / "model", kind)
    out = export(model, tmp_path / "out", ExportOptions(max_length=96))
    prompt, settings = [*range(3, 43)], SamplingParams(temperature=0, max_new_tokens=12, ignore_eos=True)
    (got,) = ONNXEngine(out).generate([prompt], settings, MoIConfig("token"))
    with torch.inference_mode():
        reference = load_checkpoint(model, torch.device("cpu"), torch.float32).model
        logits = reference(torch.tensor([[*prompt, *got.token_ids]])).logits[0, len(prompt) - 1 : -1]
    chosen = logits.gather(1, torch.tensor(got.token_ids)[:, None])[:, 0]
    assert float((logits.max(-1).values - chosen).max()) < 1e-3


@pytest.mark.parametrize("kind", ["dynamic", "longrope"])
def test_rotary_frequencies_that_follow_the_text_are_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    model = rope_model(tmp_path / "model", kind)
    command = [sys.executable, "-m", "moi", "export", "--model", str(model), "--out", str(tmp_path / "out")]
    done = subprocess.run([*command, "--max-length", "64"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout == ""
    said = [line for line in done.stderr.splitlines() if not line.startswith("moi export: load")]
    assert len(said) == 1
    assert f"rope_type='{kind}' of the model cannot be exported" in said[0]
    assert not (tmp_path / "out").exists()


def test_what_the_exporter_raises_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    class Undecided(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + 1 if x.sum() > 0 else x

    with pytest.raises(RuntimeError, match=r"^torch.onnx.export cannot export this model: .+$") as caught:
        to_onnx(Undecided(), (torch.ones(3),), ["x"], ["y"], None, 23)
    assert len(str(caught.value).splitlines()) == 1
    assert capfd.readouterr() == ("", "")
