"""Exports of pretrained models: ONNX Runtime in float32 and int4, and an engine of TensorRT-RTX, compiled only."""

import importlib.util
import json
import subprocess
import sys

import pytest

from int4_graphs import with_float32_products
from moi_engines import SamplingParams
from moi_engines.onnx_engine import ONNXEngine
from moi_engines.onnx_export import export
from moi_engines.parity import TOLERANCES
from moi_onnx.options import ExportOptions

pytest.importorskip("onnxscript")
pytestmark = pytest.mark.timeout(1800)
LENGTH = 256


@pytest.fixture(scope="module")
def float32(real, tmp_path_factory):
    return export(real.folder, tmp_path_factory.mktemp(real.name) / "float32", ExportOptions(max_length=LENGTH))


@pytest.fixture(scope="module")
def engine(float32):
    return ONNXEngine(float32)


def test_float32_decodes_as_the_reference(real, engine, telling):
    outputs = real.decode(engine, real.every)
    real.check(real.every, outputs)
    telling(real.every, outputs)


def test_streamed_text_is_the_decoding_of_its_ids(real, engine):
    text, ids = "", []
    for event in engine.stream(real.prompts[-1:], SamplingParams(max_new_tokens=64, ignore_eos=True, seed=5)):
        text += event.text
        ids.append(event.token_id)
    assert text == engine.tokenizer.decode(ids, skip_special_tokens=True)


@pytest.fixture(scope="module")
def int4(real, tmp_path_factory):
    options = ExportOptions(max_length=LENGTH, quantize="int4")
    return export(real.folder, tmp_path_factory.mktemp(real.name) / "int4", options)


def test_int4_is_its_reference_but_for_the_products(real, int4, tmp_path):
    """With activations kept in float32 nothing but float32's rounding is left between the two."""
    rows = [real.plain[0], *real.greedy[-2:]]
    outputs = real.decode(ONNXEngine(with_float32_products(int4, tmp_path / "exact")), rows)
    real.judge(rows, outputs, weights="int4")


def test_int4_decodes_as_a_reference_with_its_weights(real, int4, telling):
    rows = [real.plain[0], *real.greedy[-3:]]
    outputs = real.decode(ONNXEngine(int4), rows)
    real.judge(rows, outputs, TOLERANCES["int4"], weights="int4")
    telling(rows, outputs)


@pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx not installed")
def test_tensorrt_rtx_compiles_it(float32, tmp_path):
    """In a process of its own: TensorRT-RTX ends the process where it fails."""
    out = tmp_path / "model.engine"
    command = [sys.executable, "-m", "moi", "compile", str(float32), "--out", str(out), "--json"]
    command += ["--runtime", "tensorrt-rtx", "--compute-capability", "8.9", "--max-batch", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["capabilities"] == ["8.9"]
    assert out.stat().st_size > (float32 / "model.onnx.data").stat().st_size / 4
