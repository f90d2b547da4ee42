"""`moi doctor`: the truth about this machine."""

import json
import re
from dataclasses import replace
from pathlib import Path

import onnx
import onnxruntime
import pytest

from moi.cli import main
from moi.kernels import IMPLEMENTATIONS
from moi_engines import ENGINES
from moi_engines.onnx_providers import RTX, rtx_reason
from moi_engines.onnx_session import PROVIDERS
from moi_engines.registry import EngineSpec


def test_json_lists_every_implementation_and_engine(capsys):
    assert main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert {"mixture-of-inputs", "python", "torch"} <= set(report["versions"])
    assert report["devices"][0].startswith("cpu")
    assert list(report["implementations"]) == list(IMPLEMENTATIONS)
    assert list(ENGINES) == list(report["engines"])
    assert report["engines"]["torch"] == {"usable": True, "reason": None}
    assert list(report["providers"]) == [*PROVIDERS.values(), RTX]
    assert report["providers"]["CPUExecutionProvider"] == {"usable": True, "reason": None}
    for entry in (*report["implementations"].values(), *report["engines"].values(), *report["providers"].values()):
        assert entry["usable"] == (entry["reason"] is None)


def test_people_get_tables(capsys):
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "implementations" in out
    assert "engines" in out
    assert "ONNX Runtime providers" in out


def test_a_missing_library_says_what_to_install():
    reason = EngineSpec("warp", None, modules=("no_such_library",), extra="warp").unavailable()
    assert reason == "no_such_library not installed; pip install 'mixture-of-inputs[warp]'"


def test_problems_of_a_host_are_told():
    moved = EngineSpec("host", None, problems=lambda: ["Sampler.forward moved", "Engine.stop is gone"])
    assert moved.unavailable() == "Sampler.forward moved; Engine.stop is gone"
    assert EngineSpec("host", None).unavailable() is None


def test_one_backend_alone(capsys):
    assert main(["doctor", "--backend", "torch"]) == 0
    assert capsys.readouterr().out == "torch: usable\n"
    assert main(["doctor", "--backend", "tensorrt_llm", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["backend"] == "tensorrt_llm"
    assert not report["usable"]
    assert "tensorrt_llm" in report["reason"]


def test_nodes_that_tensorrt_refuses_are_listed(capsys, tmp_path):
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n"])
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.INT64, [1, "m"])
    node = onnx.helper.make_node("NonZero", ["x"], ["y"], name="find")
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([node], "g", [x], [y])), tmp_path / "model.onnx")
    assert main(["doctor", "--onnx", str(tmp_path)]) == 1
    assert capsys.readouterr().out.startswith("find (NonZero): ")


def test_a_missing_export_is_one_line(capsys):
    assert main(["doctor", "--onnx", "nowhere"]) == 2
    assert "moi doctor: error: ONNX model nowhere does not exist" in capsys.readouterr().err


def test_what_to_install_is_told_with_its_extra(capsys, monkeypatch):
    warp = replace(ENGINES["sglang"], modules=("no_such_library",), extra="warp")
    monkeypatch.setitem(ENGINES.loaded, "sglang", warp)
    assert main(["doctor"]) == 0
    assert "mixture-of-inputs[warp]" in "".join(capsys.readouterr().out.split())


PLUGIN = """
def get_ep_name(): return "NvTensorRTRTXExecutionProvider"
def get_library_path(): return "/nowhere/libprovider.so"
"""
REGISTERED = """
import onnxruntime as ort
from types import SimpleNamespace
ort.register_execution_provider_library = lambda name, path: None
ort.get_ep_devices = lambda: [SimpleNamespace(ep_name=name) for name in {names}]
"""


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (None, "onnxruntime_ep_nv_tensorrt_rtx not installed; pip install onnxruntime-ep-nv-tensorrt-rtx"),
        (PLUGIN, r".*its library cannot be registered: .*/nowhere/libprovider\.so"),  # by the real ONNX Runtime
        ("import sys; sys.exit(3)", ".*its library cannot be registered: exit status 3"),
        (
            PLUGIN + REGISTERED.format(names=["CPUExecutionProvider"]),
            r".*finds no GPU that it supports \(Ampere or later\)",
        ),
        (PLUGIN + REGISTERED.format(names=["CPUExecutionProvider", RTX]), None),
    ],
)
def test_the_provider_of_tensorrt_rtx_is_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str | None, reason: str | None
) -> None:
    if source is not None:
        (tmp_path / "onnxruntime_ep_nv_tensorrt_rtx.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = rtx_reason()
    assert found is None if reason is None else re.fullmatch(reason + ".*", found or "")


def test_a_provider_that_is_built_in_needs_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [RTX])
    assert rtx_reason() is None


def test_the_documented_route_calls_what_this_onnx_runtime_has() -> None:
    text = (Path(__file__).parents[3] / "docs" / "onnx.md").read_text(encoding="utf-8")
    assert f"`{RTX}`" in text
    for name in ("register_execution_provider_library", "get_ep_devices"):
        assert f"ort.{name}(" in text
        assert callable(getattr(onnxruntime, name))
    assert ".add_provider_for_devices(" in text
    assert callable(onnxruntime.SessionOptions.add_provider_for_devices)
