"""The structural check of TensorRT's subset, on models with one fault each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper  # noqa: E402

from moi_onnx.subset import check  # noqa: E402


def saved(folder: Path, nodes: list[Any], length: int | str = 16, functions: Any = ()) -> Path:
    """A model with a cache input [B,2,length,8], its update as output, and the constants `k` and `axes`."""
    shape = ["batch", 2, length, 8]
    inputs = [
        helper.make_tensor_value_info("cache", TensorProto.FLOAT, shape),
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2, 1, 8]),
        helper.make_tensor_value_info("computed", TensorProto.INT64, [1]),
    ]
    outputs = [helper.make_tensor_value_info("present", TensorProto.FLOAT, shape)]
    constants = [
        helper.make_tensor("k", TensorProto.INT64, [1], [20]),
        helper.make_tensor("large", TensorProto.INT64, [1], [3840]),
        helper.make_tensor("axes", TensorProto.INT64, [1], [1]),
    ]
    graph = helper.make_graph(nodes, "g", inputs, outputs, constants)
    imports = [helper.make_opsetid("", 24), helper.make_opsetid("moi", 1)]
    path = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=imports, functions=functions), path)
    return path


def node(op: str, inputs: list[str], outputs: list[str] | None = None, **attributes: Any) -> Any:
    return helper.make_node(op, inputs, outputs or ["y"], name=f"the_{op}", **attributes)


GOOD = [
    node("TensorScatter", ["cache", "x"], ["present"], axis=-2),
    node("TopK", ["x", "k"], ["v", "i"]),
    node("Attention", ["x", "cache", "cache", ""], ["a"]),
    node("ReduceSum", ["x", "axes"], ["s"]),
]

BAD = [
    (node("TopK", ["x", "large"], ["v", "i"]), "K=3840; K must be less than 3840"),
    (node("TopK", ["x", "computed"], ["v", "i"]), "K is computed"),
    (node("TopK", ["x", "k"], ["v", "i"], sorted=0), "sorted=0"),
    (node("Attention", ["x", "x", "x", "", "cache", "cache"], ["a"]), "more than four inputs"),
    (node("Attention", ["x", "x", "x"], ["a", "present_key"]), "more than one output"),
    (node("Attention", ["x", "x", "x"], ["a"], q_num_heads=2, kv_num_heads=2), "3-D inputs"),
    (node("TensorScatter", ["cache", "x"], ["present"], axis=1), "axis=1; axis must be -2"),
    (node("TensorScatter", ["cache", "x"], ["present"], mode="circular"), "mode must be 'linear'"),
    (node("TensorScatter", ["x", "x"], ["hidden"]), "must be an input of the network"),
    (node("ReduceSum", ["x", "computed"]), "axes are computed"),
    (node("NonZero", ["x"]), "outputs of unknown size"),
    (node("SequenceEmpty", []), "sequences"),
    (node("RandomUniformLike", ["x"]), "noise must be an input"),
    (node("MatMulNBits", ["x"], domain="com.microsoft"), "domain 'com.microsoft' is not standard"),
    (node("MixEmbed", ["x"], domain="moi"), "holds no body"),
]


def test_the_subset_has_no_refusals(tmp_path: Path) -> None:
    assert check(saved(tmp_path, GOOD)) == []
    assert check(tmp_path) == [], "a folder means its model.onnx"


@pytest.mark.parametrize(("bad", "reason"), BAD, ids=lambda value: value if isinstance(value, str) else "")
def test_each_fault_is_refused_by_name(tmp_path: Path, bad: Any, reason: str) -> None:
    refusals = check(saved(tmp_path, [bad]))
    assert len(refusals) == 1
    assert refusals[0].node == f"the_{bad.op_type}"
    assert reason in refusals[0].reason
    assert bad.op_type in str(refusals[0])


def test_an_open_cache_length_is_refused(tmp_path: Path) -> None:
    (refusal,) = check(saved(tmp_path, GOOD[:1], length="max_length"))
    assert "third dimension must be a number" in refusal.reason


def test_function_bodies_are_read(tmp_path: Path) -> None:
    imports = [helper.make_opsetid("", 24)]
    body = helper.make_function("moi", "Draw", ["x"], ["y"], [node("RandomNormalLike", ["x"])], imports)
    path = saved(tmp_path, [node("Draw", ["x"], domain="moi")], functions=[body])
    (refusal,) = check(path)
    assert refusal.node == "moi::Draw/the_RandomNormalLike"


def test_unreadable_models(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"model\.onnx does not exist"):
        check(tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"no protobuf")
    with pytest.raises(ValueError, match="cannot be read"):
        check(tmp_path)
