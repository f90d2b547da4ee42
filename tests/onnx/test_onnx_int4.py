"""int4: the weights of the reference are those of the graph, bit for bit, so that only its products are in question."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper

from int4_graphs import with_float32_products
from moi_engines.onnx_engine import ONNXEngine
from moi_engines.onnx_export import export
from moi_engines.parity import Cases, judge
from moi_engines.parity_reference import Reference
from moi_engines.parity_types import INT4_BLOCK, int4
from moi_onnx.options import ExportOptions
from moi_onnx.quantize import quantize_int4


def quantized(weight: Tensor, draft: Path) -> Tensor:
    """weight [out,in] as the export keeps it."""
    (rows, inputs), value = weight.shape, helper.make_tensor_value_info
    kind = TensorProto.FLOAT16 if weight.dtype == torch.float16 else TensorProto.FLOAT
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    x, y = value("x", kind, [1, inputs]), value("y", kind, [1, rows])
    graph = helper.make_graph(nodes, "product", [x], [y], [numpy_helper.from_array(weight.T.numpy(), "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    result = ir.to_proto(quantize_int4(ir.from_proto(model), draft)).graph
    (node,) = result.node
    kept = {each.name: torch.tensor(numpy_helper.to_array(each)) for each in result.initializer}
    packed, scale = kept[node.input[1]], kept[node.input[2]].float().reshape(rows, -1, 1)
    steps = torch.stack([packed & 15, packed >> 4], -1).reshape(rows, scale.shape[1], INT4_BLOCK).float() - 8
    return (steps * scale).reshape(rows, -1)[:, :inputs]


@pytest.mark.parametrize("inputs", [96, 80, 33])
def test_the_references_weights_are_the_graphs(inputs: int, base_seed: int, tmp_path: Path) -> None:
    """Drawn ones, and such as pretrained models have: of few levels, so that halves and ties of both signs abound."""
    generator = torch.Generator().manual_seed(base_seed)
    drawn = torch.randn(64, inputs, generator=generator)
    levels = drawn.mul(2.5).round().div(7).bfloat16().float()  # as from a file of 4-bit weights
    whole = torch.randint(-9, 10, (64, inputs), generator=generator).float()
    for weight in (drawn, drawn.bfloat16().float(), levels, whole, whole / 3, drawn.abs(), -drawn.abs(), whole * 0):
        assert torch.equal(int4(weight), quantized(weight, tmp_path))


def test_ties_and_halves_go_where_the_graph_takes_them() -> None:
    block = torch.zeros(INT4_BLOCK)
    block[:6] = torch.tensor([8.0, -8.0, 2.5, -2.5, 7.5, 0.5])
    # The negative one of a tie becomes -8, so the scale is 1; halves round up; 8 is cut to 7.
    assert int4(block[None])[0, :6].tolist() == [7, -8, 3, -2, 7, 1]


@pytest.mark.parametrize("source", ["float32", "float16"])
def test_a_reference_rounds_what_the_export_rounds(
    source: str, random_model: Callable[..., Path], tmp_path: Path
) -> None:
    rounded, whole = (
        Reference(random_model("qwen3"), weights=kind, source=source).checkpoint.model.model.layers[0].mlp.up_proj
        for kind in ("int4", source)
    )
    given = whole.weight.to(getattr(torch, source))
    assert torch.equal(rounded.weight.float(), quantized(given, tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "coarse"),
    [("qwen3", False), ("qwen3", True), ("llama", False)],
    ids=["drawn", "few levels", "output layer of its own"],
)
def test_graphs_are_exact_but_for_their_products(
    architecture: str, coarse: bool, random_model: Callable[..., Path], make_cases: Callable[..., Cases], tmp_path: Path
) -> None:
    """With activations kept in float32 the graph is held to float32's tolerance."""
    model = random_model(architecture)
    if coarse:
        model = _coarse(model, tmp_path / "coarse")
    folder = export(model, tmp_path / "int4", ExportOptions(max_length=128, quantize="int4"))
    exact = with_float32_products(folder, tmp_path / "exact")
    cases = make_cases(name="exact int4")
    outputs = ONNXEngine(exact, threads=1).generate(cases.prompts, cases.sampling, cases.moi, noise=cases.noise)
    found = judge(Reference(model, weights="int4"), cases, outputs)
    assert found.agrees, str(found)


def _coarse(model: Path, out: Path) -> Path:
    """The model with weights of few levels, as one that was quantized before."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    decoder = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    with torch.no_grad():
        for layer in decoder.modules():
            if isinstance(layer, torch.nn.Linear) and layer.weight is not decoder.get_input_embeddings().weight:
                step = layer.weight.std() / 2.5
                layer.weight.copy_((layer.weight / step).round() * step.bfloat16())
    decoder.save_pretrained(out)
    AutoTokenizer.from_pretrained(model).save_pretrained(out)
    return out


def test_quantizing_leaves_logging_alone(tmp_path: Path) -> None:
    """ONNX Runtime's module writes a line per node through the root logger that it sets up."""
    program = (
        "import logging, sys; sys.path[:0] = sys.argv[2:]\n"
        "from pathlib import Path; import torch; from test_onnx_int4 import quantized\n"
        "quantized(torch.randn(8, 64), Path(sys.argv[1]))\n"
        "assert not logging.getLogger().handlers and logging.getLogger().level == logging.WARNING\n"
    )
    here = Path(__file__).parent
    command = [sys.executable, "-c", program, str(tmp_path), str(here), str(here.parent / "helpers")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
