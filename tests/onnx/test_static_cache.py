"""Rows with different limits beside each other in a static cache: none writes past its end or changes another."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from moi import MoIConfig
from moi_engines import SamplingParams
from moi_engines.checkpoint import load_checkpoint
from moi_engines.testing import save_tiny_model

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from moi_compile.sidecar import Profile
from moi_engines.onnx_engine import ONNXEngine
from moi_engines.onnx_export import export
from moi_engines.tensorrt_engine import TensorRTEngine
from moi_onnx.options import ExportOptions
from tensorrt_exports import RuntimeStep

pytestmark = pytest.mark.slow

LENGTH = 64


class TensorRTOnTheCPU(TensorRTEngine):
    def _load(self, engine: Path, folder: Path, cuda_graphs: bool) -> Any:
        return RuntimeStep(folder), Profile(8, LENGTH - 1, LENGTH, 21)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scratch = tmp_path_factory.mktemp("static")
    model = save_tiny_model(scratch / "model", "qwen3")
    return export(model, scratch / "out", ExportOptions(max_length=LENGTH))


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    return load_checkpoint(folder.parent / "model", torch.device("cpu"), torch.float32).model


@pytest.fixture(params=[ONNXEngine, TensorRTOnTheCPU])
def engine(request: pytest.FixtureRequest, folder: Path) -> Any:
    return request.param(folder)


def prompts_of(rows: list[tuple[int, int]]) -> list[list[int]]:
    return [[3 + (7 * row + 5 * at) % 250 for at in range(length)] for row, (length, _) in enumerate(rows)]


def decode(engine: Any, rows: list[tuple[int, int]]) -> list[tuple[int, ...]]:
    """Greedy token ids of rows (prompt length, new tokens)."""
    sampling = [SamplingParams(temperature=0, max_new_tokens=new, ignore_eos=True) for _, new in rows]
    return [out.token_ids for out in engine.generate(prompts_of(rows), sampling, MoIConfig("token"))]


def shortfall(model: Any, prompt: list[int], new: tuple[int, ...]) -> float:
    """How far below the best logit of the torch model the chosen ones are, at most; rounding apart, 0."""
    with torch.inference_mode():
        logits = model(torch.tensor([[*prompt, *new]])).logits[0, len(prompt) - 1 : -1]
    chosen = logits.gather(1, torch.tensor(new)[:, None])[:, 0]
    return float((logits.max(-1).values - chosen).max())


def ragged(seed: int) -> list[tuple[int, int]]:
    """Eight rows of any lengths that fit, some to the last position, that end at different steps."""
    generator = random.Random(seed)
    prompts = [generator.randint(1, LENGTH - 1) for _ in range(8)]
    return [
        (prompt, LENGTH - prompt if generator.random() < 0.4 else generator.randint(1, LENGTH - prompt))
        for prompt in prompts
    ]


@pytest.mark.parametrize(
    "rows",
    [[(60, 4), (3, 40), (5, 40)], [(63, 1), (1, 63), (2, 62)], *map(ragged, range(6))],
    ids=lambda rows: " ".join(f"{prompt}+{new}" for prompt, new in rows),
)
def test_rows_that_end_at_different_steps_have_the_tokens_of_torch(
    engine: Any, model: Any, rows: list[tuple[int, int]]
) -> None:
    got = decode(engine, rows)
    assert [len(ids) for ids in got] == [new for _, new in rows]
    assert max(map(partial(shortfall, model), prompts_of(rows), got)) < 1e-3


def test_a_finished_row_stays_at_its_position(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    bind = engine.runner.bind

    def spied(inputs: Any, outputs: Any, prefill: bool) -> Any:
        run = bind(inputs, outputs, prefill)

        def watched() -> None:
            seen.append(inputs["write_indices"].tolist())
            run()

        return watched

    monkeypatch.setattr(engine.runner, "bind", spied)
    decode(engine, [(60, 4), (3, 20), (5, 20)])
    indices = np.array(seen[1:])
    assert indices[:, 0].tolist() == [60, 61, 62, *[63] * 16]
    assert indices[:, 1].tolist() == list(range(3, 22))
