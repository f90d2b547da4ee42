"""`moi compile` with the real TensorRT-RTX, which compiles without a GPU: engines, sidecars and refusals.

TensorRT-RTX runs in processes of its own. That the engines run is for a GPU that it supports.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from dataclasses import astuple, replace
from pathlib import Path

import pytest

from tensorrt_exports import MAX_LENGTH, export_once, manifest

pytest.importorskip("onnxscript")
pytest.importorskip("moi_tensorrt")
from moi import MoIConfig
from moi.policies import policy_named
from moi.rows import encode, policy_layout
from moi_compile.rules import policy_specs
from moi_compile.sidecar import file_hash, read_sidecar, source_hash
from moi_onnx.manifest import read_manifest
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


@pytest.fixture(scope="module")
def some_export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For what is the same whatever the model."""
    return export_once("embedded", tmp_path_factory.getbasetemp())[1]


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


# What TensorRT-RTX itself says of the network and of the profiles it was given. An engine cannot be asked: loading one
# takes NVIDIA's driver.
_ASK = """
import json, sys
from pathlib import Path
import tensorrt_rtx as trt
from moi_compile import compile as c
names = {trt.DataType.FLOAT: "float32", trt.DataType.INT32: "int32", trt.DataType.INT64: "int64"}
names[trt.DataType.BOOL] = "bool"
profiles, seen = [], {}
def network_tensors(network, ranges):
    for count, get in ((network.num_inputs, network.get_input), (network.num_outputs, network.get_output)):
        for tensor in map(get, range(count)):
            seen[tensor.name] = [tensor.is_network_input, names[tensor.dtype], list(tensor.shape)]
    return told(network, ranges)
def add_profiles(builder, config, ranges):
    class Config:
        def add_optimization_profile(self, profile):
            inputs = [name for name in ranges["prefill"]]
            profiles.append({name: [list(shape) for shape in profile.get_shape(name)] for name in inputs})
            return config.add_optimization_profile(profile)
    added(builder, Config(), ranges)
told, c.network_tensors = c.network_tensors, network_tensors
added, c.add_profiles = c.add_profiles, add_profiles
options = c.CompileOptions("tensorrt-rtx", ("8.9",), 3, 30)
c.compile_engine(Path(sys.argv[1]), Path(sys.argv[2]), options)
print(json.dumps([seen, profiles]))
"""


@needs_rtx
def test_the_sidecar_describes_what_tensorrt_and_onnx_runtime_see(export: Path, tmp_path: Path) -> None:
    ort = pytest.importorskip("onnxruntime")
    command = [sys.executable, "-c", _ASK, str(export), str(tmp_path / "m.engine")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    seen, profiles = json.loads(result.stdout)
    sidecar = read_sidecar(tmp_path / "m.engine")
    fixed = {each.name: [-1 if isinstance(size, str) else size for size in each.shape] for each in sidecar.tensors}
    assert {t.name: [t.direction == "input", t.dtype, fixed[t.name]] for t in sidecar.tensors} == seen
    assert [
        {t.name: [list(shape) for shape in astuple(t.profiles[name])] for t in sidecar.tensors if t.profiles}
        for name in sorted(sidecar.profiles, key=sidecar.profiles.__getitem__)
    ] == profiles
    session = ort.InferenceSession(str(export / "model.onnx"))
    types = {"float32": "tensor(float)", "int32": "tensor(int32)", "int64": "tensor(int64)", "bool": "tensor(bool)"}
    for direction, values in (("input", session.get_inputs()), ("output", session.get_outputs())):
        told = {t.name: (types[t.dtype], list(t.shape)) for t in sidecar.tensors if t.direction == direction}
        assert told == {value.name: (value.type, value.shape) for value in values}
    layers = [f"{layer}.{kind}" for layer in range(_layers(export)) for kind in ("key", "value")]
    assert sidecar.aliases == {f"present.{name}": f"past_key_values.{name}" for name in layers}
    assert sidecar.model == read_manifest(export)[1]
    inputs, outputs = ({t.name for t in sidecar.tensors if t.direction == each} for each in ("input", "output"))
    assert sidecar.feeds.keys() | sidecar.aliases.keys() | set(sidecar.host_reads) | {"logits"} == outputs
    assert {*sidecar.feeds.values(), *sidecar.aliases.values()} < inputs


@needs_rtx
def test_an_engine_with_an_earlier_sidecar_is_replaced(some_export: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.engine"
    flags = ("--out", str(out), "--runtime", "tensorrt-rtx", "--compute-capability", "8.9", "--max-batch", "1")
    assert _compile(str(some_export), *flags).returncode == 0
    now = json.loads(Path(f"{out}.json").read_text())
    keys = ("runtime", "version", "capabilities", "profile", "layers", "plugin", "source", "engine")
    Path(f"{out}.json").write_text(json.dumps({"format": 1, **{key: now[key] for key in keys}}))
    with pytest.raises(ValueError, match="its format is not 2; compile the engine again"):
        read_sidecar(out)
    again = _compile(str(some_export), *flags)
    assert again.returncode == 0, again.stderr
    assert read_sidecar(out).model == read_manifest(some_export)[1]


def test_policies_have_the_codes_and_columns_of_the_graph() -> None:
    """As the engines encode the same settings."""
    layout = {name: list(names) for name, names in policy_layout().items()}
    exported = replace(manifest(), policies=layout)
    for spec in policy_specs(exported):
        policy = policy_named(spec.name)
        values = {each.name: float(each.default) for each in spec.parameters}
        codes, rows = encode([MoIConfig(spec.name, parameters=values)], layout)
        assert codes == [spec.code]
        assert rows[0] == [
            next((float(each.default) for each in spec.parameters if each.column == column), 0.0)
            for column in range(len(rows[0]))
        ]
        assert (spec.draws, spec.weights_need_token) == (policy.draws, "other" in policy.arguments)
    assert [spec.name for spec in policy_specs(replace(exported, mixing=False))] == ["token"]
    with pytest.raises(ValueError, match="policy='moi' of the export has the parameters gamma; here it has beta"):
        policy_specs(replace(exported, policies={"token": [], "moi": ["gamma"]}))


@needs_rtx
def test_progress_reaches_the_end_and_bad_graphs_are_explained(some_export: Path, tmp_path: Path) -> None:
    code = f"""
import json, shutil, sys
from pathlib import Path
from moi_compile.compile import CompileOptions, compile_engine
seen = {{}}
options = CompileOptions("tensorrt-rtx", ("8.9",), 2)
def report(phase, done, total):
    seen[phase] = done, total
compile_engine(Path({str(some_export)!r}), Path({str(tmp_path / "a.engine")!r}), options, report)
assert seen and all(done == total for done, total in seen.values()), seen
folder = Path({str(tmp_path)!r}) / "broken"
folder.mkdir()
(folder / "model.onnx").write_bytes(b"no graph")
config = json.loads((Path({str(some_export)!r}) / "moi_config.json").read_text())
(folder / "moi_config.json").write_text(json.dumps({{**config, "files": {{"model.onnx": 8}}}}))
other = Path({str(tmp_path)!r}) / "other"
shutil.copytree({str(some_export)!r}, other)
(other / "moi_config.json").write_text(json.dumps({{**config, "layers": 7}}))
for wrong in folder, other:
    try:
        compile_engine(wrong, wrong / "a.engine", options)
    except ValueError as error:
        print(error)
    assert not (wrong / "a.engine").exists()
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert "model.onnx cannot be compiled: " in result.stdout
    told = f"does not describe its model.onnx ({_layers(some_export)} layers, not 7); export the model again"
    assert told in result.stdout


@needs_rtx
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_batch": 0}, "max-batch=0 is not allowed"),
        ({"max_prompt": 96}, "max-prompt=96 is not allowed; the export has 96 positions"),
    ],
)
def test_limits_that_do_not_fit_are_refused(
    some_export: Path, tmp_path: Path, options: dict[str, int], message: str
) -> None:
    flags = [part for key, value in options.items() for part in (f"--{key.replace('_', '-')}", str(value))]
    result = _compile(str(some_export), "--runtime", "tensorrt-rtx", "--compute-capability", "8.6", *flags)
    assert result.returncode != 0
    assert message in result.stderr
    assert not (some_export / "model.engine").exists()


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
