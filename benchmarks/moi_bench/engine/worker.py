"""One engine on one model, in a process of its own: `python -m moi_bench.engine.worker JOB.json`.

A backend that brings its process down, or leaves memory behind, thereby touches nobody else's numbers.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch

from moi import MoIConfig
from moi_bench.engine import memory
from moi_bench.engine.adapters import TOKEN, Pair, make_dummy, make_pair, with_transformers
from moi_bench.engine.cases import EngineCase, make_model, vocabulary, vocabulary_of
from moi_bench.rows import Row
from moi_bench.runner import ratio, spreads, turns
from moi_bench.shapes import LARGEST_ON_DISK, SHAPES
from moi_engines import ENGINES, Engine, SamplingParams
from moi_engines.parity import TOLERANCES, Cases, judge
from moi_engines.parity_reference import Reference
from moi_engines.parity_types import types_here
from moi_engines.registry import Workload
from moi_eval.memory_check import check_fits

CHECK_TOKENS, CHECK_PROMPT = 12, 16
# As people serve reasoning models. Without top-k the noise picks among all ids of a flat random model, whose
# cumulative sums differ by less than float32 resolves.
TEMPERATURE, TOP_P, TOP_K = 0.8, 0.95, 50
_LOWEST_ID = 2  # "<pad>" and "<eos>" of the models made here

Run = Callable[[list[list[int]], SamplingParams], dict[str, float]]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the job in the file that is named; 0."""
    job = json.loads(Path((argv or sys.argv[1:])[0]).read_text())
    torch.set_num_threads(job["threads"])
    cases = [EngineCase(**case) for case in job["cases"]]
    with tempfile.TemporaryDirectory() as scratch, Path(job["out"]).open("w") as out:
        for row in measure(job["engine"], cases, job["repeats"], Path(scratch)):
            out.write(json.dumps(row) + "\n")
            out.flush()
    return 0


def measure(name: str, cases: list[EngineCase], repeats: int, scratch: Path) -> Iterator[Row]:
    """A row for each case of one model; whatever goes wrong before timing is the row of all of them."""
    positions = max(case.context + case.new_tokens for case in cases)
    positions = max(positions, CHECK_PROMPT + CHECK_TOKENS)
    try:
        model, pair = _make(name, cases, positions, scratch)
        check(model, pair.mixed)
    except Exception as error:  # a backend that breaks is a visible row, not the end of the run
        status = "wrong" if isinstance(error, AssertionError) else "failed"
        yield from (failed(case, status, _line(error)) for case in cases)
        return
    yield from (_measured(pair, case, model, repeats) for case in cases)


def _measured(pair: Pair, case: EngineCase, model: Path, repeats: int) -> Row:
    try:
        return {"case": describe(case), "status": "ok", "reason": None, **_time(pair, case, model, repeats)}
    except Exception as error:
        return failed(case, "failed", _line(error))


def failed(case: EngineCase, status: str, reason: str) -> Row:
    """The row of a case that has no figures, with the reason."""
    return {"case": describe(case), "status": status, "reason": reason, "plain": None, "moi": None, "ratio": None}


def describe(case: EngineCase) -> dict[str, Any]:
    """The case as its row holds it."""
    about = {"name": case.name, **asdict(case), "vocab": vocabulary(case.model)}
    return {**about, "model": case.label, "real": True} if case.real else about


def _make(name: str, cases: list[EngineCase], positions: int, scratch: Path) -> tuple[Path, Pair]:
    spec, shape, folder = ENGINES[name], cases[0].model, scratch / "model"
    large = shape in SHAPES and SHAPES[shape].billions > LARGEST_ON_DISK
    if large and not spec.random_weights:
        makers = ", ".join(name for name, each in ENGINES.items() if each.random_weights)
        raise ValueError(f"{SHAPES[shape].billions:g} billion random weights are made in place by {makers} only")
    model = make_dummy(shape, folder) if large else make_model(shape, folder)
    check_fits(model)
    pair = make_pair(spec, model, scratch, Workload(max(case.batch for case in cases), positions))
    return model, with_transformers(pair, spec, model) if cases[0].real else pair


def check(model: Path, engine: Engine) -> None:
    """AssertionError unless the engine decodes as the torch engine does (`moi_engines.parity`).

    Dummy weights cannot say.
    """
    if not any(model.glob("*.safetensors")):
        return
    prompts = _prompts(4, CHECK_PROMPT, model)
    moi = [MoIConfig(), TOKEN, MoIConfig(beta=0.25), MoIConfig("direct")]
    spec = ENGINES[engine.name]
    greedy = spec.own_noise
    sampling = [
        SamplingParams(
            0.0 if greedy else TEMPERATURE, TOP_P, TOP_K, max_new_tokens=CHECK_TOKENS, seed=row, ignore_eos=True
        )
        for row in range(len(prompts))
    ]
    found = engine.generate(prompts, sampling, moi)
    types = types_here(spec, model)
    parity = judge(
        Reference(model, weights=types.weights), Cases(prompts, sampling, moi), found, TOLERANCES[types.arithmetic]
    )
    assert parity.agrees, f"not as the torch engine decodes: {parity}"
    assert found[0].mean_intervention > 0, "mixed rows report no intervention: MoI did nothing"
    assert found[1].mean_intervention == 0, "plain rows were mixed"


def _time(pair: Pair, case: EngineCase, model: Path, repeats: int) -> Row:
    """All sides in turn, who begins alternating; medians, deciles, and the ratios of each turn."""
    prompts, sides = _prompts(case.batch, case.context, model), _sides(pair)
    sampling, peaks, kind = _sampling(case.new_tokens), dict[str, int | None](), ""

    def side(name: str, _: int) -> dict[str, float]:
        nonlocal kind
        memory.reset()
        found = sides[name](prompts, sampling)
        peaks[name], kind = memory.peak()
        return found

    runs = turns({name: partial(side, name) for name in sides}, repeats)
    row: Row = {name: {**spreads(found), "peak_bytes": peaks[name]} for name, found in runs.items()}
    row |= {"ratio": ratio(runs["moi"], runs["plain"]), "baseline": pair.baseline, "peak_of": kind}
    if "transformers" in runs:
        row["ratio_to_transformers"] = {name: ratio(runs[name], runs["transformers"]) for name in ("plain", "moi")}
    return row


def _sides(pair: Pair) -> dict[str, Run]:
    """What is timed, by its name in the row."""
    sides: dict[str, Run] = {
        "plain": partial(_run, pair.plain, TOKEN),
        "moi": partial(_run, pair.mixed, MoIConfig()),
    }
    if pair.transformers is not None:
        sides["transformers"] = pair.transformers.run
    return sides


def _sampling(new_tokens: int) -> SamplingParams:
    return SamplingParams(TEMPERATURE, TOP_P, TOP_K, max_new_tokens=new_tokens, ignore_eos=True)


def _run(engine: Engine, config: MoIConfig, prompts: list[list[int]], sampling: SamplingParams) -> dict[str, float]:
    """Output tokens/s of the batch; mean time to the first token and time per later token, ms."""
    new_tokens = sampling.max_new_tokens
    first, last = dict[int, float](), dict[int, float]()
    start = time.perf_counter()
    for event in engine.stream(prompts, sampling, config):
        last[event.row] = time.perf_counter()
        first.setdefault(event.row, last[event.row])
    per_token = [(last[row] - first[row]) / max(1, new_tokens - 1) for row in first]
    return {
        "tokens_per_s": len(prompts) * new_tokens / (max(last.values()) - start),
        "ttft_ms": sum(at - start for at in first.values()) / len(first) * 1e3,
        "tpot_ms": sum(per_token) / len(per_token) * 1e3,
    }


def _prompts(count: int, length: int, model: Path) -> list[list[int]]:
    """Random ids, the same for the same arguments."""
    vocab = vocabulary_of(model)
    rng = random.Random(f"{count}/{length}")
    return [[rng.randrange(_LOWEST_ID, vocab) for _ in range(length)] for _ in range(count)]


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]


if __name__ == "__main__":
    raise SystemExit(main())
