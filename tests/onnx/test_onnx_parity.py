"""Mistakes planted in exported graphs and in the session that runs them: each is ten tolerances off.

Bodies of moi::MixInputs are exchanged in a finished folder; what lies outside them is exported with the mistake.
"""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx_ir as ir

from moi import MoIConfig
from moi.mixture import Given
from moi_engines import onnx_export
from moi_engines.graph_cache import ConcatCache
from moi_engines.onnx_engine import ONNXEngine
from moi_engines.onnx_session import StepSession
from moi_engines.parity import FLOAT32, Cases, Parity, judge
from moi_engines.parity_reference import Reference
from moi_onnx import functions, ops
from moi_onnx.options import ExportOptions
from moi_onnx.sampling import SampleToken

pytestmark = pytest.mark.slow

VOCAB = 258
RAW, SAMPLING = MoIConfig(), MoIConfig(prior="sampling")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, random_model: Callable[..., Path]) -> Callable[..., Path]:
    """folder(prior): a sound export of the drawn llama, all of whose candidates are in the graph."""
    made: dict[str, Path] = {}

    def export(config: MoIConfig) -> Path:
        if config.prior not in made:
            made[config.prior] = _export(random_model("llama"), tmp_path_factory.mktemp("sound") / "out", config)
        return made[config.prior]

    return export


def _export(model: Path, out: Path, config: MoIConfig = RAW) -> Path:
    options = ExportOptions(variant="concat", max_length=128, moi=config, candidates=VOCAB)
    return onnx_export.export(model, out, options)


def _with_body(sound: Path, out: Path, config: MoIConfig) -> Path:
    """A copy of the folder whose MixInputs is exported now."""
    shutil.copytree(sound, out)
    graph = ir.load(out / "model.onnx")
    functions._mix_inputs_proto.cache_clear()  # or the body would be that without a mistake, or the next one with it
    body = functions.mix_inputs_function(config, VOCAB, graph.graph.opset_imports[""])
    functions._mix_inputs_proto.cache_clear()
    graph.functions[body.identifier()] = body
    ir.save(graph, out / "model.onnx")
    manifest = json.loads((out / "moi_config.json").read_text())
    manifest["files"]["model.onnx"] = (out / "model.onnx").stat().st_size
    (out / "moi_config.json").write_text(json.dumps(manifest))
    return out


def _found(folder: Path, model: Path, cases: Cases) -> Parity:
    outputs = ONNXEngine(folder, threads=1).generate(cases.prompts, cases.sampling, cases.moi, noise=cases.noise)
    return judge(Reference(model), cases, outputs)


def _is_caught(found: Parity) -> None:
    assert found.margin >= 10 * FLOAT32.margin, str(found)
    assert any(each.what == "token" for each in found.departures)


# --- the body of moi::MixInputs -------------------------------------------------------------------------------

_weights, _entropy = ops.policy_weights, ops.entropy


def _over_the_vocabulary(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ops, "entropy", lambda z: _entropy(z) * (math.log(z.shape[-1]) / math.log(VOCAB)))


def _more_beta(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ops, "policy_weights", lambda policy, parameters, given: _weights(policy, parameters + 0.02, given))


def _no_slot_0(patch: pytest.MonkeyPatch) -> None:
    def weights(policy: Any, parameters: Any, given: Given) -> Any:
        own, others = _weights(policy, parameters, given).split([1, given.p.shape[1]], 1)
        return torch.cat([torch.where(policy[:, None] == 0, own, 0.0), others], 1)

    patch.setattr(ops, "policy_weights", weights)


def _a_candidate_fewer(patch: pytest.MonkeyPatch) -> None:
    def weights(policy: Any, parameters: Any, given: Given) -> Any:
        p = given.p
        fewer = p[:, :-1] / p[:, :-1].sum(-1, keepdim=True)
        h = -(fewer * torch.log(fewer.clamp(min=1e-30))).sum(-1) / math.log(fewer.shape[1])
        cut = torch.cat([fewer, torch.zeros_like(p[:, :1])], 1)
        return _weights(policy, parameters, given._replace(p=cut, h=h[:, None]))

    patch.setattr(ops, "policy_weights", weights)


def _the_neighbours(patch: pytest.MonkeyPatch) -> None:
    class Neighbours(ops.MixInputs):
        def forward(
            self, logits: Any, token: Any, policy: Any, parameters: Any, temperature: Any, uniforms: Any
        ) -> Any:
            ids, weights, h = super().forward(logits, token, policy, parameters, temperature, uniforms)
            return torch.cat([ids[1:], ids[:1]]), torch.cat([weights[1:], weights[:1]]), h

    patch.setattr(functions, "MixInputs", Neighbours)


BODIES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "entropy over ln V": _over_the_vocabulary,
    "beta + 1.02": _more_beta,
    "slot 0 dropped": _no_slot_0,
    "K - 1 candidates": _a_candidate_fewer,
    "mixture of the neighbouring row": _the_neighbours,
    "none": lambda patch: None,
}


@pytest.mark.parametrize("mistake", BODIES)
def test_a_mistake_in_the_mixture(
    mistake: str,
    folder: Callable[..., Path],
    random_model: Callable[..., Path],
    make_cases: Callable[..., Cases],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        BODIES[mistake](patch)
        mutant = _with_body(folder(RAW), tmp_path / "out", RAW)
    found = _found(mutant, random_model("llama"), make_cases(name=f"onnx {mistake}", count=4, steps=16))
    if mistake == "none":
        assert found.agrees, str(found)
    else:
        _is_caught(found)


def test_a_prior_that_ignores_the_temperature(
    folder: Callable[..., Path], random_model: Callable[..., Path], make_cases: Callable[..., Cases], tmp_path: Path
) -> None:
    cases = make_cases(name="onnx prior", count=4, steps=16, prior="sampling")
    model = random_model("llama")
    sound = _found(folder(SAMPLING), model, cases)
    assert sound.agrees, str(sound)
    _is_caught(_found(_with_body(folder(SAMPLING), tmp_path / "out", RAW), model, cases))


# --- what is around it ----------------------------------------------------------------------------------------


def _late_positions(patch: pytest.MonkeyPatch) -> None:
    inputs = ConcatCache.inputs

    def late(self: ConcatCache, prefill: bool) -> Any:
        found = inputs(self, prefill)
        return found if prefill else {**found, "position_ids": found["position_ids"] + 1}

    patch.setattr(ConcatCache, "inputs", late)


def _stale_mixtures(patch: pytest.MonkeyPatch) -> None:
    bind = StepSession.bind
    before: dict[str, Any] = {}

    def stale(self: StepSession, inputs: Any, outputs: Any, prefill: bool) -> Any:
        nonlocal before
        now = {name: inputs[name].clone() for name in ("mix_ids", "mix_weights")}
        same = not prefill and before and before["mix_ids"].shape == now["mix_ids"].shape
        given, before = before if same else now, now
        return bind(self, {**inputs, **given}, outputs, prefill)

    patch.setattr(StepSession, "bind", stale)


@pytest.mark.parametrize("plant", [_late_positions, _stale_mixtures], ids=["position off by one", "the step before"])
def test_a_mistake_in_the_session(
    plant: Callable[[pytest.MonkeyPatch], None],
    folder: Callable[..., Path],
    random_model: Callable[..., Path],
    make_cases: Callable[..., Cases],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant(monkeypatch)
    cases = make_cases(name=plant.__name__, count=4, steps=16)
    _is_caught(_found(folder(RAW), random_model("llama"), cases))


def test_a_nucleus_cut_one_token_later(
    random_model: Callable[..., Path], make_cases: Callable[..., Cases], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = SampleToken._draw

    def later(self: SampleToken, ids: Any, p: Any, keep: Any, *rest: Any) -> Any:
        return draw(self, ids, p, torch.cat([keep[:, :1], keep[:, :-1] & (p[:, 1:] > 0)], 1), *rest)

    with monkeypatch.context() as patch:
        patch.setattr(SampleToken, "_draw", later)
        mutant = _export(random_model("llama"), tmp_path / "out")
    cases = make_cases(name="onnx nucleus", count=4, steps=16)
    sampled = [each for each in range(len(cases.prompts)) if cases.sampling[each].top_p < 1]
    cases = Cases(*([values[i] for i in sampled] for values in (cases.prompts, cases.sampling, cases.moi, cases.noise)))
    _is_caught(_found(mutant, random_model("llama"), cases))


def test_the_embedding_scale_forgotten(
    random_model: Callable[..., Path], make_cases: Callable[..., Cases], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = onnx_export._load
    with monkeypatch.context() as patch:
        patch.setattr(onnx_export, "_load", lambda *given: dataclasses.replace(load(*given), scale=None))
        mutant = _export(random_model("gemma3"), tmp_path / "out")
    _is_caught(_found(mutant, random_model("gemma3"), make_cases(name="onnx scale", steps=16)))
