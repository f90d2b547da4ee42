"""A process that finds the policy "outside" installed: runs it through everything but a server, as JSON."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import torch

from moi import Mixture, MoIConfig, RowParams, embed, mix, policy_code, policy_names
from moi.cli import main
from moi.kernels import IMPLEMENTATIONS
from moi.testing import CASES, assert_mixture, oracle_mix
from moi_engines import SamplingParams
from moi_engines.onnx_engine import ONNXEngine
from moi_engines.onnx_export import export
from moi_engines.parity import Cases, judge
from moi_engines.parity_reference import Reference
from moi_engines.torch_engine import TorchEngine
from moi_onnx.functions import mix_inputs_model
from moi_onnx.options import ExportOptions
from moi_serving.embedding import TableMixer
from moi_serving.row_layout import ids_of, weights_of
from moi_serving.slots.base import Slots
from moi_serving.slots.cpu import CPUSlots
from moi_serving.slots.cuda import GPUSlots
from moi_serving.slots.tables import Tables

NAMES = ("official", "paper", "masked", "nan, inf and zeros", "one candidate")
CHOSEN = [case for case in CASES if case.name in NAMES]
CONFIGS = [MoIConfig("outside", share=0.75, tail=1.0), MoIConfig(), MoIConfig("outside"), MoIConfig("token")]
PROMPTS = [[5, 9, 200, 17], [3], [100, 101, 102], [77, 12, 4]]


def op() -> list[str]:
    """The implementations, on rows of this policy alone and of all, against float64."""
    for name in (used := ["reference", "numba", "triton"]):
        for case in CHOSEN:
            for inputs in (case.inputs(), case.inputs().of_policy(policy_code("outside"))):
                found = IMPLEMENTATIONS[name].mix(*inputs, case.config.top_k, case.config.entropy, case.config.prior)
                assert_mixture(found, oracle_mix(inputs, case.config))
    return used


def onnx_function() -> None:
    for case in CHOSEN[:2]:
        model = ir.to_proto(mix_inputs_model(case.config)).SerializeToString()
        session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
        inputs = case.inputs().of_policy(policy_code("outside"))
        feed = {"logits": inputs.logits, "token": inputs.token, **inputs.rows._asdict()}
        found = session.run(None, {key: np.ascontiguousarray(value.numpy()) for key, value in feed.items()})
        assert_mixture(Mixture(*map(torch.from_numpy, found)), oracle_mix(inputs, case.config))


def engines(model: Path, scratch: Path) -> dict[str, str | None]:
    """What is wrong with the tokens of each, among rows of other policies."""
    folder = export(model, scratch / "export", ExportOptions(max_length=64))
    sampling = [SamplingParams(temperature=t, seed=i, max_new_tokens=16) for i, t in enumerate((0.0, 1.0, 0.7, 1.0))]
    cases, reference = Cases(PROMPTS, sampling, CONFIGS), Reference(model)
    found: dict[str, str | None] = {}
    for engine in (TorchEngine(model, device="cpu"), ONNXEngine(folder, threads=1)):
        outputs = engine.generate(PROMPTS, sampling, CONFIGS)
        found[engine.name] = judge(reference, cases, outputs).reason
        assert max(outputs[0].interventions) > 0.1, "the policy does something here"
    return found


@torch.inference_mode()
def slots() -> list[str]:
    """Left in the tables, and arrived in the embedding."""
    embedding, at = torch.nn.Embedding(300, 24), torch.tensor([3, 1, 8, 5])
    logits, token, position = torch.randn(4, 300) * 3, torch.tensor([7, 8, 9, 10]), torch.arange(30, 34)
    rows = RowParams.of(CONFIGS, [1.0] * 4)
    want = mix(logits, token, MoIConfig(), **rows._asdict(), implementation="reference")
    for variant in (used := [Slots, CPUSlots, GPUSlots]):
        tables = Tables.allocate(9, 20, torch.device("cpu"))
        tables.policy[at], tables.parameters[at] = rows.policy, rows.parameters
        here = variant(tables, MoIConfig(), TableMixer(embedding, 0, 300))
        left = here.store(at, here.compute(at, logits, rows.temperature), token, position, False)
        assert torch.equal(ids_of(left), want.ids)
        torch.testing.assert_close(weights_of(left), want.weights)
        x = here.apply(embedding(token), at, token, position)
        torch.testing.assert_close(x, embed(want, embedding.weight))
    return [variant.__name__ for variant in used]


def command_line(model: Path) -> Any:
    argv = ["generate", "--model", str(model), "--prompt", "hello", "--max-new-tokens", "3", "--json"]
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main([*argv, "--policy", "outside", "--param", "share=0.75", "--param", "tail=1"]) == 0
    return json.loads(out.getvalue())["moi"]


if __name__ == "__main__":
    torch.set_num_threads(1)
    model, scratch = Path(sys.argv[1]), Path(sys.argv[2])
    onnx_function()
    result = {
        "names": policy_names(),
        "op": op(),
        "engines": engines(model, scratch),
        "slots": slots(),
        "command": command_line(model),
    }
    sys.stdout.write(json.dumps(result) + "\n")
