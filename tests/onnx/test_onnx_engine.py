"""Decode steps of four architectures in ONNX Runtime, judged by margin, on models and prompts drawn in each run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from moi import MoIConfig
from moi_engines import ENGINES, SamplingParams, embedded_model, load_engine
from moi_engines.parity import TOLERANCES, Cases, Output, Parity, judge
from moi_engines.parity_reference import Reference
from moi_engines.testing import ARCHITECTURES

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from moi_engines.onnx_engine import ONNXEngine
from moi_engines.onnx_export import export
from moi_onnx.options import ExportOptions
from moi_onnx.subset import check

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, random_model: Callable[..., Path]) -> Callable[..., Path]:
    """exported("qwen3", variant="concat") -> folder, made once per module."""
    made: dict[Any, Path] = {}

    def folder(architecture: str, **settings: Any) -> Path:
        key = (architecture, *sorted(settings.items()))
        if key not in made:
            options = ExportOptions(**{"max_length": 128} | settings)
            made[key] = export(random_model(architecture), tmp_path_factory.mktemp("onnx") / "out", options)
        return made[key]

    return folder


def check_parity(folder: Path, model: Path, cases: Cases, kind: str = "float32", **options: Any) -> Parity:
    """The verdict on the folder, which must be that it agrees."""
    engine = ONNXEngine(folder, threads=1, **options)
    outputs = engine.generate(cases.prompts, cases.sampling, cases.moi, noise=cases.noise)
    found = judge(Reference(model, weights=kind), cases, outputs, TOLERANCES[kind])
    assert found.agrees, str(found)
    return found


@pytest.mark.parametrize("variant", ["static", "concat"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_it_decodes_as_the_torch_engine(
    architecture: str,
    variant: str,
    exported: Callable[..., Path],
    random_model: Callable[..., Path],
    make_cases: Callable[..., Cases],
) -> None:
    cases = make_cases(name=f"{architecture} {variant}", count=2)
    check_parity(exported(architecture, variant=variant), random_model(architecture), cases)


def test_inlined_functions(
    exported: Callable[..., Path], random_model: Callable[..., Path], make_cases: Callable[..., Cases]
) -> None:
    check_parity(exported("qwen3", functions="inline"), random_model("qwen3"), make_cases(name="inline"))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_static_graphs_are_in_the_tensorrt_subset(architecture: str, exported: Callable[..., Path]) -> None:
    assert check(exported(architecture, variant="static")) == []


@pytest.mark.parametrize("variant", ["static", "concat"])
def test_rows_that_end_early_leave_the_batch(
    variant: str, exported: Callable[..., Path], random_model: Callable[..., Path], make_cases: Callable[..., Cases]
) -> None:
    cases = make_cases(name=f"early {variant}")
    tokens = (30, 2, 5, 16, 1, 9, 3, 12, 30, 8)
    sampling = [replace(each, max_new_tokens=n) for each, n in zip(cases.sampling, cycle(tokens), strict=False)]
    cases = replace(cases, sampling=sampling)
    check_parity(exported("qwen3", variant=variant), random_model("qwen3"), cases, batch_size=5)


def test_every_input_of_the_graph_is_used(exported: Callable[..., Path]) -> None:
    import onnx

    # The exporter drops an input whose example is the same tensor as another's; nothing else would notice.
    for variant in ("static", "concat"):
        graph = onnx.load(exported("qwen3", variant=variant) / "model.onnx", load_external_data=False).graph
        used = {name for node in graph.node for name in node.input}
        assert [value.name for value in graph.input if value.name not in used] == []


def test_tied_embeddings_are_stored_once(exported: Callable[..., Path]) -> None:
    import onnx

    graph = onnx.load(exported("qwen3", variant="static") / "model.onnx", load_external_data=False).graph
    assert sum(258 in tensor.dims for tensor in graph.initializer) == 1


def test_streaming_stop_and_seeds(exported: Callable[..., Path], random_model: Callable[..., Path]) -> None:
    engine = ONNXEngine(exported("qwen3", variant="static"), threads=1)
    free = SamplingParams(max_new_tokens=20, seed=5, ignore_eos=True)
    plain = engine.generate(["hello", "a"], free)
    middle = plain[0].text[3:5] or plain[0].text[:1]
    sampling = [replace(free, stop=(middle,)), replace(free, stop=(middle,), seed=6)]
    stopped = engine.generate(["hello", "a"], sampling)
    assert judge(Reference(random_model("qwen3")), Cases(["hello", "a"], sampling, [MoIConfig()] * 2), stopped).agrees
    if middle:  # a drawn model may say nothing that can be read
        assert stopped[0].finish_reason == "stop"
        assert stopped[0].text == plain[0].text.partition(middle)[0]
    events = list(engine.stream(["hello"], sampling[:1]))
    assert "".join(event.text for event in events) == stopped[0].text
    seen: list[tuple[int, int]] = []
    engine.generate(["hello"], sampling[:1], progress=lambda done, most: seen.append((done, most)))
    assert seen[-1] == (len(events), 20)


@pytest.mark.parametrize("model", ["qwen3", "embedded"])
@pytest.mark.parametrize("settings", [{"dtype": "float16"}, {"quantize": "int4"}], ids=["float16", "int4"])
def test_narrow_types_agree_within_their_tolerance(
    model: str,
    settings: dict[str, str],
    exported: Callable[..., Path],
    random_model: Callable[..., Path],
    make_cases: Callable[..., Cases],
    tmp_path: Path,
) -> None:
    (kind,) = settings.values()
    if model == "embedded":
        options = ExportOptions(max_length=128, **settings)  # type: ignore[arg-type]
        folder, source = export(embedded_model(), tmp_path / "out", options), embedded_model()
    else:
        folder, source = exported(model, **settings), random_model(model)
    check_parity(folder, source, make_cases(vocab=116, name=f"{model} {kind}", steps=8, continuous=True), kind)
    if kind == "int4" and model == "qwen3":
        assert any("com.microsoft" in refusal.op for refusal in check(folder)), "int4 nodes are ONNX Runtime's own"


def test_a_graph_without_mixing_decodes_plainly(
    exported: Callable[..., Path], random_model: Callable[..., Path], make_cases: Callable[..., Cases]
) -> None:
    folder = exported("qwen3", mixing=False)
    drawn = make_cases(name="plain")
    cases = replace(drawn, moi=[MoIConfig("token")] * len(drawn.moi))
    engine = ONNXEngine(folder, threads=1)
    told = engine.generate(cases.prompts, cases.sampling, cases.moi, noise=cases.noise)
    outputs = [Output(row.token_ids, row.finish_reason) for row in told]  # it computes no entropy
    found = judge(Reference(random_model("qwen3")), cases, outputs)
    assert found.agrees, str(found)
    with pytest.raises(ValueError, match="policy='moi' is not allowed; this graph was exported without mixing"):
        engine.generate(["a"], SamplingParams(max_new_tokens=2))


def test_the_embedded_model_over_64_tokens(tmp_path: Path, make_cases: Callable[..., Cases]) -> None:
    folder = export(embedded_model(), tmp_path / "out", ExportOptions(max_length=128))
    cases = make_cases(vocab=116, name="embedded onnx")
    cases = replace(cases, sampling=[replace(each, max_new_tokens=64) for each in cases.sampling])
    found = check_parity(folder, embedded_model(), cases)
    assert found.judged > found.tokens / 2  # half of the rows' settings amplify rounding


def test_the_registry_knows_the_engine(exported: Callable[..., Path]) -> None:
    assert "onnxruntime" in ENGINES
    assert load_engine("onnxruntime", exported("qwen3", variant="static")).name == "onnxruntime"


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"top_k": 10}, "top_k=10 is not allowed; this graph was exported with top_k=20"),
        ({"entropy": "vocab"}, "entropy='vocab' is not allowed; this graph was exported with entropy='support'"),
        ({"prior": "sampling"}, "prior='sampling' is not allowed; this graph was exported with prior='raw'"),
    ],
)
def test_settings_the_graph_cannot_serve(exported: Callable[..., Path], settings: Any, reason: str) -> None:
    engine = ONNXEngine(exported("qwen3", variant="static"), threads=1)
    with pytest.raises(ValueError, match=reason):
        engine.generate(["a"], SamplingParams(max_new_tokens=2), MoIConfig(**settings))


def test_a_prompt_longer_than_the_cache(exported: Callable[..., Path]) -> None:
    engine = ONNXEngine(exported("qwen3", variant="static"), threads=1)
    with pytest.raises(
        ValueError, match="prompt 0 has 120 tokens and max_new_tokens is 9; the model has 128 positions"
    ):
        engine.generate([[3] * 120], SamplingParams(max_new_tokens=9))


def test_unknown_providers_and_counts(exported: Callable[..., Path]) -> None:
    folder = exported("qwen3", variant="static")
    with pytest.raises(ValueError, match="provider='tpu' is unknown; allowed: auto, cpu, cuda, tensorrt"):
        ONNXEngine(folder, provider="tpu")
    with pytest.raises(ValueError, match="threads=0 is not allowed"):
        ONNXEngine(folder, threads=0)
    with pytest.raises(RuntimeError, match="provider='cuda' is not in this ONNX Runtime"):
        ONNXEngine(folder, provider="cuda")
