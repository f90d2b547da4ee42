"""Each backend against the torch engine on this machine: the same prompts, judged by `moi_engines.parity`."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from moi import MoIConfig
from moi_engines import ENGINES, load_engine
from moi_engines.parity import TOLERANCES, Cases, Output, judge
from moi_engines.parity_reference import Reference
from moi_engines.parity_types import types_here
from moi_engines.protocol import Generation, SamplingParams
from moi_engines.registry import EngineSpec, Workload

NEW_TOKENS = 24
_BATCH, _POSITIONS = 4, 128  # what folders are prepared for
Outputs = Sequence[Output | Generation]


@dataclass(frozen=True)
class Verdict:
    """verdict  "agrees", "differs", "failed" or "unavailable"
    reason   what is missing, what went wrong, or where the backend first departs; None if it agrees
    judged   tokens that could be judged, of `tokens` in all
    margin   the largest of them (`moi_engines.parity_margin`), 0..1; `allowed` for this backend's arithmetic
    """

    verdict: str
    reason: str | None = None
    judged: int = 0
    tokens: int = 0
    margin: float = 0.0
    allowed: float = 0.0
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)


def check_backend(name: str, model: Path, scratch: Path) -> Verdict:
    """The verdict on one backend; never raises for what the backend does."""
    spec = ENGINES[name]
    missing = spec.unavailable()
    if missing is not None:
        return Verdict("unavailable", missing)
    start = time.perf_counter()
    try:
        types = spec.selftest.types or types_here(spec, model)
        cases, tolerance = make_cases(model, spec), TOLERANCES[types.arithmetic]
        outputs = _decode(spec, model, scratch, cases)
        found = judge(Reference(model, weights=types.weights), cases, outputs, tolerance)
    except Exception as error:  # a report for people has to say what happened, whatever it was
        return Verdict("failed", f"{type(error).__name__}: {error}", seconds=time.perf_counter() - start)
    figures = (found.judged, found.tokens, found.margin, tolerance.margin, time.perf_counter() - start)
    return Verdict("agrees" if found.agrees else "differs", found.reason, *figures)


def check_isolated(name: str, model: Path, scratch: Path) -> Verdict:
    """`check_backend` in a process of its own: a native crash becomes a verdict, too."""
    command = [sys.executable, "-m", "moi_engines.selfcheck", name, str(model), str(scratch)]
    start = time.perf_counter()
    result = subprocess.run(command, capture_output=True, text=True)
    lines = result.stdout.splitlines()
    if result.returncode == 0 and lines:
        return Verdict(**json.loads(lines[-1]))
    last = (result.stderr.splitlines() or ["no message"])[-1]
    reason = f"its process ended with status {result.returncode}: {last}"
    return Verdict("failed", reason, seconds=time.perf_counter() - start)


def make_cases(model: Path, spec: EngineSpec) -> Cases:
    """Ragged rows, mixed and plain, greedy and sampled: low beta and sampling show small mistakes best."""
    from moi_engines.checkpoint import load_config, load_tokenizer

    tokenizer = load_tokenizer(load_config(model)[0])
    texts = ("18 7 7 > 67 :", "3 5 > 15 :", "1 2 3 > 6 :", "25 4 > 100 :", "2 9 > 18 :", "7 7 1 > 50 :")
    prompts = [list(tokenizer(text)["input_ids"]) for text in texts]
    beta = [MoIConfig(beta=beta) for beta in (1.0, 0.25, 0.0, 0.25)]
    moi = [beta[0], MoIConfig(policy="token"), beta[1], MoIConfig(policy="direct"), beta[2], beta[3]]
    filters: Sequence[tuple[float, float]] = ((0.0, 1.0), (0.8, 1.0), (0.6, 1.0), (1.0, 1.0), (1.0, 1.0), (1.0, 0.9))
    if spec.selftest.greedy:
        filters = [(0.0, top_p) for _, top_p in filters]
    sampling = [
        SamplingParams(temperature=t, top_p=p, max_new_tokens=NEW_TOKENS, seed=row, ignore_eos=True)
        for row, (t, p) in enumerate(filters)
    ]
    return Cases(prompts, sampling, moi, own_noise=spec.own_noise)


def _decode(spec: EngineSpec, model: Path, scratch: Path, cases: Cases) -> Outputs:
    if spec.selftest.decode is not None:
        return spec.selftest.decode(model, cases)
    folder = spec.prepare(model, scratch, Workload(_BATCH, _POSITIONS))
    engine = load_engine(spec.name, folder, **spec.selftest.options)
    with closing(engine):
        return engine.generate(cases.prompts, cases.sampling, cases.moi)


if __name__ == "__main__":
    _name, _model, _scratch = sys.argv[1:]
    sys.stdout.write("\n" + json.dumps(check_backend(_name, Path(_model), Path(_scratch)).to_dict()) + "\n")
