"""Decode steps of four architectures in ONNX Runtime: the tokens of the torch engine, from the same noise."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from moi import MoIConfig
from moi_engines import ENGINES, SamplingParams, embedded_model, load_engine
from moi_engines.protocol import Generation
from moi_engines.testing import ARCHITECTURES, save_tiny_model
from moi_engines.torch_engine import TorchEngine

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from moi_engines.onnx_engine import ONNXEngine
from moi_engines.onnx_export import export
from moi_engines.onnx_selfcheck import divergence
from moi_onnx.manifest import read_manifest
from moi_onnx.options import ExportOptions
from moi_onnx.subset import check

TOKENS = 64
# A mixture fed back amplifies rounding: with some random weights the torch engine differs from itself when it
# decodes a row alone or in a batch. These seeds give weights with which it does not.
SEEDS = {"qwen2": 3, "llama": 3}
PROMPTS = [[5, 9, 200, 17, 33], [3], [100, 101, 102, 9, 8, 7, 6, 5, 4], [*range(20, 50)], [77, 12, 4], [66]]
SAMPLING = [
    SamplingParams(temperature=t, top_p=p, top_k=k, min_p=m, max_new_tokens=TOKENS, ignore_eos=True)
    for t, p, k, m in [
        (0, 1, 0, 0),
        (1, 1, 0, 0),
        (0.7, 0.95, 0, 0),
        (1.3, 0.8, 40, 0),
        (1, 1, 0, 0.05),
        (1.5, 1, 100, 0),
    ]
]
MIXTURES = [
    *(MoIConfig(beta=beta) for beta in (1, 0.25)),
    *(MoIConfig(policy) for policy in ("direct", "token")),
    *(MoIConfig(beta=beta) for beta in (0, 4)),
]


def uniform(rows: int, steps: int) -> list[list[float]]:
    generator = random.Random(3)
    return [[generator.getrandbits(24) / (1 << 24) for _ in range(steps)] for _ in range(rows)]


NOISE = uniform(len(PROMPTS), TOKENS)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def model(architecture: str) -> Path:
        if architecture not in made:
            folder = tmp_path_factory.mktemp("model") / architecture
            made[architecture] = save_tiny_model(folder, architecture, seed=SEEDS.get(architecture, 0))
        return made[architecture]

    return model


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, models: Callable[[str], Path]) -> Callable[..., Path]:
    """exported("qwen3", variant="concat") -> folder, made once per module."""
    made: dict[Any, Path] = {}

    def folder(architecture: str, **settings: Any) -> Path:
        key = (architecture, *sorted(settings.items()))
        if key not in made:
            options = ExportOptions(**{"max_length": 128} | settings)
            made[key] = export(models(architecture), tmp_path_factory.mktemp("onnx") / "out", options)
        return made[key]

    return folder


@pytest.fixture(scope="module")
def expected(models: Callable[[str], Path]) -> Callable[[str], list[Generation]]:
    made: dict[str, list[Generation]] = {}

    def generations(architecture: str) -> list[Generation]:
        if architecture not in made:
            engine = TorchEngine(models(architecture), implementation="reference")  # the arithmetic of the graph
            made[architecture] = engine.generate(PROMPTS, SAMPLING, MIXTURES, noise=NOISE)
        return made[architecture]

    return generations


def assert_same(actual: list[Generation], wanted: list[Generation], tolerance: float = 5e-3) -> None:
    for row, (ours, theirs) in enumerate(zip(actual, wanted, strict=True)):
        assert ours.token_ids == theirs.token_ids, f"row {row}"
        assert ours.finish_reason == theirs.finish_reason
        assert ours.entropies == pytest.approx(theirs.entropies, abs=tolerance), f"row {row}"
        assert ours.interventions == pytest.approx(theirs.interventions, abs=tolerance), f"row {row}"
        assert ours.mixed_tokens == theirs.mixed_tokens


@pytest.mark.parametrize("variant", ["static", "concat"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_tokens_equal_the_torch_engine(
    architecture: str, variant: str, exported: Callable[..., Path], expected: Callable[[str], list[Generation]]
) -> None:
    engine = ONNXEngine(exported(architecture, variant=variant), threads=1)
    assert_same(engine.generate(PROMPTS, SAMPLING, MIXTURES, noise=NOISE), expected(architecture))


def test_tokens_with_inlined_functions(
    exported: Callable[..., Path], expected: Callable[[str], list[Generation]]
) -> None:
    engine = ONNXEngine(exported("qwen3", functions="inline"), threads=1)
    assert_same(engine.generate(PROMPTS, SAMPLING, MIXTURES, noise=NOISE), expected("qwen3"))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_static_graphs_are_in_the_tensorrt_subset(architecture: str, exported: Callable[..., Path]) -> None:
    assert check(exported(architecture, variant="static")) == []


@pytest.mark.parametrize("variant", ["static", "concat"])
def test_rows_that_end_early_leave_the_batch(
    variant: str, exported: Callable[..., Path], models: Callable[[str], Path]
) -> None:
    sampling = [SamplingParams(max_new_tokens=n, ignore_eos=True) for n in (30, 2, 5, 30, 1, 9)]
    rows = (PROMPTS, sampling, MoIConfig())
    engine = ONNXEngine(exported("qwen3", variant=variant), threads=1, batch_size=5)
    assert_same(engine.generate(*rows, noise=NOISE), TorchEngine(models("qwen3")).generate(*rows, noise=NOISE))


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


def test_streaming_stop_and_seeds(exported: Callable[..., Path], models: Callable[[str], Path]) -> None:
    engine, torch_engine = ONNXEngine(exported("qwen3", variant="static"), threads=1), TorchEngine(models("qwen3"))
    plain = torch_engine.generate(["hello", "a"], SamplingParams(max_new_tokens=20, seed=5))
    middle = plain[0].text[3:5] or "x"
    sampling = SamplingParams(max_new_tokens=20, seed=5, stop=(middle,))
    assert_same(engine.generate(["hello", "a"], sampling), torch_engine.generate(["hello", "a"], sampling))
    events = list(engine.stream(["hello"], sampling))
    assert "".join(event.text for event in events) == engine.generate(["hello"], sampling)[0].text
    seen: list[tuple[int, int]] = []
    engine.generate(["hello"], sampling, progress=lambda done, most: seen.append((done, most)))
    assert seen[-1] == (len(events), 20)


def test_half_precision_stays_close(exported: Callable[..., Path], expected: Callable[[str], list[Generation]]) -> None:
    engine = ONNXEngine(exported("qwen3", dtype="float16"), threads=1)
    actual = engine.generate(PROMPTS, SAMPLING, MIXTURES, noise=NOISE)
    # First tokens see the prompt alone: their entropies are those of float32 within float16's precision.
    for ours, theirs in zip(actual, expected("qwen3"), strict=True):
        assert ours.entropies[0] == pytest.approx(theirs.entropies[0], abs=2e-2)
    assert actual[3].token_ids[:4] == expected("qwen3")[3].token_ids[:4]


def test_int4_runs_and_reports_its_divergence(
    exported: Callable[..., Path], expected: Callable[[str], list[Generation]]
) -> None:
    folder = exported("qwen3", quantize="int4")
    found = divergence(
        ONNXEngine(folder, threads=1).generate(PROMPTS, SAMPLING, MIXTURES, noise=NOISE), expected("qwen3")
    )
    assert found.tokens == len(PROMPTS) * TOKENS
    assert 0 < found.rows <= len(PROMPTS)
    assert "tokens before the first difference" in str(found)
    assert any("com.microsoft" in refusal.op for refusal in check(folder)), "int4 nodes are ONNX Runtime's own"


def test_a_graph_without_mixing_decodes_plainly(exported: Callable[..., Path], models: Callable[[str], Path]) -> None:
    engine = ONNXEngine(exported("qwen3", mixing=False), threads=1)
    plain = MoIConfig(policy="token")
    theirs = TorchEngine(models("qwen3")).generate(PROMPTS, SAMPLING, plain, noise=NOISE)
    ours = engine.generate(PROMPTS, SAMPLING, plain, noise=NOISE)
    assert [row.token_ids for row in ours] == [row.token_ids for row in theirs]
    with pytest.raises(ValueError, match="policy='moi' is not allowed; this graph was exported without mixing"):
        engine.generate(["a"], SamplingParams(max_new_tokens=2))


def test_the_embedded_model(tmp_path: Path) -> None:
    model = embedded_model()
    if not (model / "config.json").is_file():
        pytest.skip("the embedded model is not in this checkout")
    torch_engine = TorchEngine(model)
    limits = torch_engine.checkpoint.limits
    length = min(128, limits.positions or 128)
    top_k = min(20, limits.vocab)
    config = MoIConfig(top_k=top_k)
    folder = export(model, tmp_path / "out", ExportOptions(max_length=length, moi=config))
    assert read_manifest(folder)[1].candidates == min(64, limits.vocab)
    prompts = [[i % limits.vocab for i in range(1, n)] for n in (6, 12, 9)]
    sampling = [SamplingParams(temperature=t, max_new_tokens=min(TOKENS, length - 12)) for t in (0.0, 0.6, 1.0)]
    ours = ONNXEngine(folder, threads=1).generate(prompts, sampling, config, noise=NOISE[:3])
    assert_same(ours, torch_engine.generate(prompts, sampling, config, noise=NOISE[:3]))


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
