"""`moi doctor`: the truth about this machine."""

import json
from dataclasses import replace

import onnx

from moi.cli import main
from moi.kernels import IMPLEMENTATIONS
from moi_engines import ENGINES
from moi_engines.registry import EngineSpec


def test_json_lists_every_implementation_and_engine(capsys):
    assert main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert {"mixture-of-inputs", "python", "torch"} <= set(report["versions"])
    assert report["devices"][0].startswith("cpu")
    assert list(report["implementations"]) == list(IMPLEMENTATIONS)
    assert list(ENGINES) == list(report["engines"])
    assert report["engines"]["torch"] == {"usable": True, "reason": None}
    for entry in (*report["implementations"].values(), *report["engines"].values()):
        assert entry["usable"] == (entry["reason"] is None)


def test_people_get_tables(capsys):
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "implementations" in out
    assert "engines" in out


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
