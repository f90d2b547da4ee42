"""moi::MixInputs and moi::MixEmbed in ONNX Runtime, with and without function bodies, against the reference."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch

from moi import Mixture, MoIConfig, embed, mix
from moi.testing import CASES, Case, assert_embedding, assert_mixture, oracle_mix

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
ir = pytest.importorskip("onnx_ir")

from moi_onnx.exporter import OPSETS  # noqa: E402
from moi_onnx.functions import PLUGIN, inline, mix_embed_model, mix_inputs_model  # noqa: E402

pytestmark = pytest.mark.slow

FORMS = ("keep", "inline")
# Opsets are converted one after the other: the last goes through all. One between in which an engine may stop, too.
TABLE = [(case, opset) for case in CASES for opset in (OPSETS[0], OPSETS[-1])]
TABLE += [(case, 21) for case in CASES if case.name in ("official", "nan, inf and zeros")]


def session(model: Any) -> Any:
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])


@functools.cache
def mix_session(config: MoIConfig, form: str, opset: int = 24, dtype: torch.dtype = torch.float32) -> Any:
    """One session for every vocabulary: its size is open. The inlined form is the kept one, inlined."""
    model = ir.from_proto(mix_proto(config, opset, dtype))
    if form == "inline":
        inline(model)
        assert not model.functions
    return session(model)


@functools.cache
def mix_proto(config: MoIConfig, opset: int, dtype: torch.dtype) -> Any:
    return ir.to_proto(mix_inputs_model(config, None, opset, dtype))


def run_mix(of: Any, case: Case, dtype: torch.dtype = torch.float32) -> Mixture:
    return Mixture(*(torch.from_numpy(array) for array in of.run(None, feed(case, dtype))))


def feed(case: Case, dtype: torch.dtype = torch.float32) -> dict[str, Any]:
    """The inputs of moi::MixInputs."""
    inputs = case.inputs(dtype)
    named = {"logits": inputs.logits, "token": inputs.token, **inputs.rows._asdict()}
    return {name: np.ascontiguousarray(tensor.numpy()) for name, tensor in named.items()}


def reference(case: Case, dtype: torch.dtype = torch.float32) -> Mixture:
    inputs = case.inputs(dtype)
    return mix(inputs.logits, inputs.token, case.config, **inputs.rows._asdict(), implementation="reference")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("case", "opset"), TABLE, ids=lambda value: getattr(value, "name", str(value)))
def test_mix_inputs_equals_the_reference(case: Case, opset: int, form: str) -> None:
    # Ids too, ties included: ONNX defines TopK's ties as the contract does.
    assert_mixture(run_mix(mix_session(case.config, form, opset), case), reference(case))


def test_half_precision_logits() -> None:
    case = CASES[0]
    of = mix_session(case.config, "keep", dtype=torch.float16)
    assert_mixture(run_mix(of, case, torch.float16), reference(case, torch.float16))


def test_a_fixed_vocabulary_and_the_oracle() -> None:
    case = CASES[1]
    of = session(mix_inputs_model(case.config, case.vocab))
    assert of.get_inputs()[0].shape == ["batch", case.vocab]
    assert_mixture(run_mix(of, case), oracle_mix(case.inputs(), case.config))


@functools.cache
def embed_session(form: str, opset: int, dtype: torch.dtype) -> Any:
    return session(mix_embed_model(opset, dtype, form))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_mix_embed_equals_the_reference(dtype: torch.dtype, opset: int, form: str) -> None:
    of = embed_session(form, opset, dtype)
    for case in (CASES[0], CASES[4], CASES[14]):  # 14: no rows
        mixture, table = reference(case), case.table(24, dtype)
        feed = {
            "mix_ids": mixture.ids[:, None].numpy(),
            "mix_weights": mixture.weights[:, None].numpy(),
            "table": table.numpy(),
        }
        x = torch.from_numpy(of.run(None, feed)[0])
        assert_embedding(x[:, 0], embed(mixture, table, implementation="reference"))


def test_slots_of_weight_zero_hide_bad_rows() -> None:
    table = torch.tensor([[1.0, 2.0], [torch.inf, torch.nan]])
    feed = {
        "mix_ids": np.array([[[0, 1]]], np.int32),
        "mix_weights": np.array([[[1.0, 0.0]]], np.float32),
        "table": table.numpy(),
    }
    assert embed_session("keep", 24, torch.float32).run(None, feed)[0].tolist() == [[[1.0, 2.0]]]


def test_nodes_name_their_plugin_and_carry_a_body() -> None:
    proto = ir.to_proto(mix_inputs_model(MoIConfig()))
    node, function = proto.graph.node[0], proto.functions[0]
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    assert (node.domain, node.op_type) == (function.domain, function.name) == ("moi", "MixInputs")
    assert attributes["plugin_namespace"].decode() == PLUGIN["plugin_namespace"]
    assert attributes["top_k"] == 20
    assert len(function.node) > 20
    inlined = ir.to_proto(mix_inputs_model(MoIConfig(), functions="inline"))
    assert not inlined.functions
    assert {n.domain for n in inlined.graph.node} == {""}


def test_the_onnx_reference_evaluator_agrees() -> None:
    case = CASES[4]
    proto = ir.to_proto(mix_inputs_model(case.config, case.vocab))
    with np.errstate(divide="ignore", invalid="ignore"):  # rows of other policies have no tau to divide by
        outputs = onnx.reference.ReferenceEvaluator(proto).run(None, feed(case))
    weights = torch.from_numpy(np.asarray(outputs[1]))
    torch.testing.assert_close(weights, reference(case).weights, atol=4e-6, rtol=0)


def test_an_unknown_opset_is_refused() -> None:
    with pytest.raises(ValueError, match=r"opset=17 is not allowed; opset must be in 18\.\.24"):
        mix_inputs_model(MoIConfig(), opset=17)
