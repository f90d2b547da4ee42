"""`moi compile` with the real TensorRT-RTX, which compiles without a GPU: engines, sidecars and refusals.

TensorRT-RTX runs in processes of its own. That the engines run is for a GPU that it supports.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tensorrt_exports import MAX_LENGTH, export_once

pytest.importorskip("onnxscript")
pytest.importorskip("moi_tensorrt")
from moi_compile import command
from moi_compile.compile import CompileOptions, compile_engine
from moi_compile.network import profile_of
from moi_compile.sidecar import file_hash, source_hash
from moi_tensorrt.plan import INPUTS, OUTPUTS
from moi_tensorrt.plugin import PLUGIN_ID

pytestmark = pytest.mark.slow

needs_rtx = pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx not installed")


def _compile(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, without the `moi` entry point around it."""
    code = (
        "import argparse, sys; from moi_compile import command; parser = argparse.ArgumentParser(); "
        "command.add_arguments(parser); sys.exit(command.run(parser.parse_args()))"
    )
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module", params=["embedded", "gemma3"])
def export(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_once(request.param, tmp_path_factory.getbasetemp())[1]


def _layers(export: Path) -> int:
    return int(json.loads((export / "moi_config.json").read_text())["layers"])


@needs_rtx
def test_engines_for_two_chips_hold_cache_updates_and_attention(export: Path, tmp_path: Path) -> None:
    out, cache = tmp_path / "m.engine", tmp_path / "timing"
    chips = ("--compute-capability", "8.6", "--compute-capability", "12.0")
    sizes = ("--max-batch", "4", "--max-prompt", "32", "--timing-cache", str(cache))
    result = _compile(str(export), "--out", str(out), "--runtime", "tensorrt-rtx", *chips, *sizes, "--json")
    assert result.returncode == 0, result.stderr
    sidecar = json.loads(result.stdout)
    assert sidecar == {k: v for k, v in json.loads(Path(f"{out}.json").read_text()).items() if k != "format"}
    layers = _layers(export)
    assert sidecar["layers"]["KV_CACHE_UPDATE"] == 2 * layers
    assert sidecar["layers"]["ATTENTION_INPUT"] == sidecar["layers"]["ATTENTION_OUTPUT"] == layers
    assert sidecar["capabilities"] == ["8.6", "12.0"]
    assert sidecar["profile"] == {
        "max_batch": 4,
        "max_prompt": 32,
        "max_length": MAX_LENGTH,
        "slots": 21,
    }
    assert (sidecar["runtime"], sidecar["plugin"]) == ("tensorrt-rtx", None)
    assert sidecar["source"] == source_hash(export)
    assert sidecar["engine"] == file_hash(out)
    assert cache.stat().st_size > 0
    again = _compile(str(export), "--out", str(out), "--runtime", "tensorrt-rtx", *chips, *sizes)
    assert again.returncode == 0, again.stderr
    assert f"{out}: " in again.stdout
    assert "batch <= 4, prompt <= 32, positions 96" in again.stdout


@needs_rtx
def test_progress_reaches_the_end_and_bad_graphs_are_explained(export: Path, tmp_path: Path) -> None:
    code = f"""
import json, sys
from pathlib import Path
from moi_compile.compile import CompileOptions, compile_engine
seen = {{}}
options = CompileOptions("tensorrt-rtx", ("8.9",), 2)
def report(phase, done, total):
    seen[phase] = done, total
compile_engine(Path({str(export)!r}), Path({str(tmp_path / "a.engine")!r}), options, report)
assert seen and all(done == total for done, total in seen.values()), seen
folder = Path({str(tmp_path)!r}) / "broken"
folder.mkdir()
(folder / "model.onnx").write_bytes(b"no graph")
(folder / "moi_config.json").write_text("{{}}")
try:
    compile_engine(folder, folder / "a.engine", options)
except ValueError as error:
    print(error)
assert not (folder / "a.engine").exists()
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert "model.onnx cannot be compiled: " in result.stdout


@needs_rtx
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_batch": 0}, "max-batch=0 is not allowed"),
        ({"max_prompt": 96}, "max-prompt=96 is not allowed; the export has 96 positions"),
    ],
)
def test_limits_that_do_not_fit_are_refused(
    export: Path, tmp_path: Path, options: dict[str, int], message: str
) -> None:
    flags = [part for key, value in options.items() for part in (f"--{key.replace('_', '-')}", str(value))]
    result = _compile(str(export), "--runtime", "tensorrt-rtx", "--compute-capability", "8.6", *flags)
    assert result.returncode != 0
    assert message in result.stderr
    assert not (export / "model.engine").exists()


def test_the_exported_node_is_the_one_the_plugin_replaces(export: Path) -> None:
    """Name, namespace, version, and inputs in the plugin's order and types: TensorRT matches by these."""
    onnx = pytest.importorskip("onnx")
    graph = onnx.load(export / "model.onnx", load_external_data=False).graph
    (node,) = [node for node in graph.node if node.op_type == "MixEmbed"]
    attributes = {attribute.name: onnx.helper.get_attribute_value(attribute).decode() for attribute in node.attribute}
    assert f"{attributes['plugin_namespace']}::{node.op_type}" == PLUGIN_ID
    assert attributes["plugin_version"] == "1"
    assert len(node.input) == len(INPUTS)
    assert len(node.output) == len(OUTPUTS)
    types = {value.name: value.type.tensor_type.elem_type for value in graph.input}
    tables = {tensor.name: tensor.data_type for tensor in graph.initializer}
    assert types[node.input[0]] == onnx.TensorProto.INT32
    assert types[node.input[1]] == onnx.TensorProto.FLOAT
    assert tables[node.input[2]] == onnx.TensorProto.FLOAT


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
    graph = SimpleNamespace(num_inputs=1, num_outputs=0, get_input=lambda i: SimpleNamespace(name="x", shape=(-1,)))
    with pytest.raises(ValueError, match="the graph has no static cache; export with --variant static"):
        profile_of(graph, 1, None)


def test_missing_libraries_name_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("model.onnx", "moi_config.json"):
        (tmp_path / name).write_text("{}")
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
