"""`moi bench engines`: every engine has its row, with figures or with the reason; equality before timing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import torch

from moi import MoIConfig
from moi.cli import main
from moi_bench import engines, serve
from moi_bench.engine import adapters, memory, worker
from moi_bench.engine.cases import H100, LAPTOP, EngineCase, vocabulary
from moi_bench.engine.transformers_generate import TransformersGenerate
from moi_bench.report.results import read
from moi_engines import ENGINES, SamplingParams, embedded_model
from moi_engines.checkpoint import load_checkpoint
from moi_engines.registry import Workload
from moi_engines.testing import save_tiny_model
from moi_engines.torch_engine import TorchEngine
from moi_eval import memory_check

pytestmark = pytest.mark.slow

TINY = EngineCase("embedded", 2, 6, 4)


def bench(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, list[dict[str, Any]]]:
    status = main(["bench", "engines", *argv, "--json"])
    return status, json.loads(capsys.readouterr().out)


def test_plain_and_moi_are_measured_in_turn_in_a_process_of_their_own(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "deep" / "rows.json"
    flags = ["--model", "embedded", "--batch", "2", "--context", "6", "--new-tokens", "4", "--repeats", "3"]
    status, rows = bench(capsys, "--engine", "torch", *flags, "--out", str(out))
    (row,) = rows
    assert status == 0
    assert json.loads(out.read_text()) == rows
    assert (row["schema"], row["kind"], row["engine"], row["status"]) == (1, "engine", "torch", "ok")
    assert row["case"] == {"name": "embedded B=2 context=6", **vars(TINY), "vocab": 116}
    assert row["versions"]["transformers"]
    assert row["command"]
    for side in ("plain", "moi"):
        assert row[side]["peak_bytes"] > 1 << 20
        for key in ("tokens_per_s", "ttft_ms", "tpot_ms"):
            assert 0 < row[side][key]["p10"] <= row[side][key]["median"] <= row[side][key]["p90"]
    assert row["ratio"]["turns"] == 3
    assert row["baseline"] == "the same loop without the op"


def test_a_real_model_is_measured_beside_transformers_generate(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Its row names the model, not where it lies."""
    folder = save_tiny_model(tmp_path / "pretrained", "llama")
    flags = ["--batch", "2", "--context", "6", "--new-tokens", "4", "--repeats", "3", "--engine", "torch"]
    out = tmp_path / "rows.json"
    status, (row,) = bench(capsys, "--model", str(folder), *flags, "--out", str(out))
    assert (status, row["status"], row["reason"]) == (0, "ok", None)
    assert row["case"]["name"] == "pretrained B=2 context=6"
    assert (row["case"]["model"], row["case"]["real"]) == ("pretrained", True)
    assert row["case"]["vocab"] == json.loads((folder / "config.json").read_text())["vocab_size"]
    assert row["transformers"]["tokens_per_s"]["median"] > 0
    for side in ("plain", "moi"):
        ratio = row["ratio_to_transformers"][side]
        assert 0 < ratio["p10"] <= ratio["median"] <= ratio["p90"]
        assert ratio["turns"] == 3
    assert read([out]).engine == [row]


def test_generate_runs_the_same_prompts_and_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Greedily it makes the torch engine's tokens, past the end of the text too."""
    engine = TorchEngine(embedded_model())
    prompts, sampling = [[3, 7, 9], [5, 4, 8]], SamplingParams(temperature=0, max_new_tokens=9, ignore_eos=True)
    made = list[Any]()
    model = engine.checkpoint.model
    own = model.generate
    monkeypatch.setattr(model, "generate", lambda *args, **kwargs: made.append(own(*args, **kwargs)) or made[-1])
    assert TransformersGenerate(model).run(prompts, sampling)["tokens_per_s"] > 0
    expected = engine.generate(prompts, sampling, MoIConfig("token"))
    eos = model.generation_config.eos_token_id
    for row, found in zip(expected, made[0][:, 3:].tolist(), strict=True):
        until = row.token_ids.index(eos) if eos in row.token_ids else None  # generate takes the next best there
        assert found[:until] == list(row.token_ids)[:until]


@pytest.mark.parametrize(
    "sampling",
    [SamplingParams(temperature=0.7, top_k=3), SamplingParams(top_p=0.9, min_p=0.2), SamplingParams(temperature=0)],
    ids=str,
)
def test_generate_makes_as_many_tokens_as_were_asked_for(sampling: SamplingParams) -> None:
    model = load_checkpoint(embedded_model(), torch.device("cpu"), torch.float32).model
    asked = replace(sampling, max_new_tokens=40, ignore_eos=True)
    assert TransformersGenerate(model).run([[3, 7, 9]] * 2, asked)["tokens_per_s"] > 0


def test_a_missing_engine_is_a_row_and_fails_only_if_it_was_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, spec in ENGINES.items():
        missing = replace(spec, modules=(), problems=lambda: ["nothing here; pip install it"])
        monkeypatch.setitem(ENGINES.loaded, name, missing)
    status, rows = bench(capsys, "--suite", "laptop")
    assert status == 0
    assert {row["engine"] for row in rows} == set(ENGINES)
    assert len(rows) == len(LAPTOP) * len(ENGINES)
    assert all(row["status"] == "unavailable" and row["reason"] for row in rows)
    status, rows = bench(capsys, "--suite", "laptop", "--engine", "sglang")
    assert status == 1
    assert rows[0]["reason"] == "nothing here; pip install it"


def test_a_wrong_engine_is_not_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class PlainOnly(TorchEngine):
        def generate(self, prompts: Any, sampling: Any, moi: Any) -> Any:  # type: ignore[override]
            return super().generate(prompts, sampling, MoIConfig("token"))

    monkeypatch.setitem(ENGINES.loaded, "torch", replace(ENGINES["torch"], load=PlainOnly, tuned=lambda *_: {}))
    monkeypatch.setattr(worker, "_time", lambda *_: pytest.fail("timed"))
    (row,) = worker.measure("torch", [TINY], 1, tmp_path)
    assert row["status"] == "wrong"
    assert "not as the torch engine decodes: " in row["reason"]
    assert "row 0, step " in row["reason"]
    assert row["ratio"] is None


def test_plain_decoding_without_the_op_gives_the_same_tokens() -> None:
    pair = adapters.make_pair(ENGINES["torch"], embedded_model(), Path(), Workload(2, 64))
    (mixed,) = pair.mixed.generate(["18 7 7 > 67 :"], moi=MoIConfig("token"))
    (plain,) = pair.plain.generate(["18 7 7 > 67 :"], moi=MoIConfig("token"))
    assert plain.token_ids == mixed.token_ids
    assert mixed.mean_entropy > 0 == plain.mean_entropy
    with pytest.raises(ValueError, match="policy='moi' is not allowed; this engine decodes plainly: use 'token'"):
        pair.plain.generate(["18 7 7 > 67 :"])
    (after,) = pair.mixed.generate(["18 7 7 > 67 :"])
    assert after.mean_intervention > 0, "the engine that it was made of goes on mixing"


def test_an_engine_that_takes_its_process_down_is_a_row(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def dying(job: Path, log: Path) -> str:
        case = json.loads(job.read_text())["cases"][0]
        row = {"case": {"name": "x", **case}, "status": "ok", "reason": None, "plain": None, "moi": None}
        Path(json.loads(job.read_text())["out"]).write_text(json.dumps({**row, "ratio": None}) + "\n")
        return "its process ended with status -11: Segmentation fault"

    monkeypatch.setattr(engines, "_call", dying)
    cases = [TINY, EngineCase("embedded", 4, 6, 4)]
    rows = list(engines.measure(["torch"], cases, 1, 1))
    assert [row["status"] for row in rows] == ["ok", "failed"]
    assert "status -11: Segmentation fault" in rows[1]["reason"]
    monkeypatch.setattr(engines, "measure", lambda *_: iter(rows[1:]))
    assert main(["bench", "engines", "--suite", "laptop"]) == 1
    assert "Segmentation fault" in capsys.readouterr().out


def test_a_context_beyond_the_model_is_a_row_that_says_so(tmp_path: Path) -> None:
    cases = [EngineCase("embedded", 1, 600, 4), TINY]
    rows = list(worker.measure("torch", cases, 1, tmp_path))
    assert [row["status"] for row in rows] == ["failed", "ok"]
    assert "the model has 512 positions" in rows[0]["reason"]


def test_large_random_weights_are_refused_where_they_cannot_be_made_in_place(tmp_path: Path) -> None:
    (row,) = worker.measure("torch", [EngineCase("qwq-32b", 1, 8, 4)], 1, tmp_path)
    assert row["status"] == "failed"
    assert "32.8 billion random weights are made in place by sglang" in row["reason"]


def test_models_that_do_not_fit_are_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_check, "free_bytes", lambda _: 1 << 20)
    (row,) = worker.measure("torch", [TINY], 1, tmp_path)
    assert row["status"] == "failed"
    assert "model countdown needs 0.0 GiB for its weights as float32" in row["reason"]
    (row,) = worker.measure("sglang", [EngineCase("qwq-32b", 1, 8, 4)], 1, tmp_path)
    assert "model qwq-32b needs 61.1 GiB for its weights as bfloat16" in row["reason"]
    (row,) = serve._serve("sglang", [serve.ServeCase(str(embedded_model()), 1.0, 1, 1, 1, 1)], 1, [], tmp_path)
    assert "model countdown needs 0.0 GiB" in row["reason"]


def test_dummy_models_have_the_public_shape_and_no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_check, "free_bytes", lambda _: None)
    folder = adapters.make_dummy("gemma-3-27b", tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    assert (config["hidden_size"], config["vocab_size"]) == (5376, 262208)
    assert config["architectures"] == ["Gemma3ForCausalLM"]
    assert not list(folder.glob("*.safetensors"))
    assert 600_000 < memory_check.parameters(embedded_model()) < 610_000


def test_memory_has_a_peak_that_starts_anew() -> None:
    memory.reset()
    size, kind = memory.peak()
    assert size is None or size > 1 << 20
    assert kind


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--engine", "jax"], "engine='jax' is unknown; allowed: torch, onnxruntime, sglang"),
        (["--model", "gpt"], "model folder gpt does not exist; on the hub it is not in the cache"),
        (["--model", "gpt"], "; models with random weights: embedded, qwq-32b"),
        (["--model", "./gpt"], "model folder ./gpt does not exist; models with random weights: embedded"),
        (["--revision", "v1"], "--revision v1 needs --model with a hub id"),
        (["--model", "embedded", "--revision", "v1"], "--revision v1 needs --model with a hub id"),
        (["--batch", "0"], "--batch=0 is not allowed; it must be an integer >= 1"),
        (["--new-tokens", "1", "--batch", "1"], "--new-tokens=1 is not allowed; it must be an integer >= 2"),
    ],
)
def test_unknown_cases_are_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, flags: list[str], words: str
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert main(["bench", "engines", *flags]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("suite", [LAPTOP, H100])
def test_suites_vary_batch_context_and_vocabulary_alone(suite: tuple[EngineCase, ...]) -> None:
    """Points that differ in nothing else: what the report draws scaling from."""
    for axis in ("batch", "context"):
        rest = [tuple(sorted({**vars(case), axis: 0}.items())) for case in suite]
        assert max(map(rest.count, rest)) >= 3, axis
    narrow = [case for case in suite if case.model.startswith("narrow")]
    assert len({vocabulary(case.model) for case in narrow}) >= 2
    assert len({(case.batch, case.context, case.new_tokens) for case in narrow}) == 1


def test_suites_fit_their_models() -> None:
    assert {case.model for case in H100} >= {"qwen2.5-1.5b", "qwq-32b", "gemma-3-27b"}
    assert {case.batch for case in H100} >= {1, 8, 32, 128}
    narrow = [case for case in (*LAPTOP, *H100) if case.model not in ("qwen2.5-1.5b", "qwq-32b", "gemma-3-27b")]
    assert all(case.context + case.new_tokens <= 512 for case in narrow)


def test_the_op_benchmark_is_a_part_of_it(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moi_bench.op.run", lambda args: 0 if args.suite == "laptop" else 1)
    assert main(["bench", "op", "--suite", "laptop"]) == 0
    with pytest.raises(SystemExit):
        main(["bench", "everything"])
    assert "invalid choice: 'everything'" in capsys.readouterr().err
