"""Each backend against the torch engine on this machine: the same prompts, judged by `moi_engines.parity`.

A backend is a function (model folder, scratch folder, cases) -> the output of each case.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from moi import MoIConfig
from moi_engines import load_engine
from moi_engines.availability import BACKENDS
from moi_engines.parity import TOLERANCES, Cases, Output, judge
from moi_engines.parity_reference import Reference
from moi_engines.parity_types import Types, types_here
from moi_engines.protocol import Generation, SamplingParams

NEW_TOKENS = 24
_MAX_LENGTH = 128
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
        return asdict(self)


@dataclass(frozen=True)
class Check:
    """run  decodes the cases

    own_noise  the backend draws its own random numbers: of a sampled token only the filters are judged
    greedy     it is asked for greedy rows alone
    types      what it computes with, if not as `types_here`
    """

    run: Callable[[Path, Path, Cases], Outputs]
    own_noise: bool = False
    greedy: bool = False
    types: Types | None = None


def check_backend(name: str, model: Path, scratch: Path) -> Verdict:
    """The verdict on one backend; never raises for what the backend does."""
    missing = BACKENDS[name].unavailable()
    if missing is not None:
        return Verdict("unavailable", missing)
    check, start = CHECKS[name], time.perf_counter()
    try:
        types = check.types or types_here(name, model)
        cases, tolerance = make_cases(model, check), TOLERANCES[types.arithmetic]
        outputs = check.run(model, scratch, cases)
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


def make_cases(model: Path, check: Check) -> Cases:
    """Ragged rows, mixed and plain, greedy and sampled: low beta and sampling show small mistakes best."""
    from moi_engines.checkpoint import load_config, load_tokenizer

    tokenizer = load_tokenizer(load_config(model)[0])
    texts = ("18 7 7 > 67 :", "3 5 > 15 :", "1 2 3 > 6 :", "25 4 > 100 :", "2 9 > 18 :", "7 7 1 > 50 :")
    prompts = [list(tokenizer(text)["input_ids"]) for text in texts]
    beta = [MoIConfig(beta=beta) for beta in (1.0, 0.25, 0.0, 0.25)]
    moi = [beta[0], MoIConfig(policy="token"), beta[1], MoIConfig(policy="direct"), beta[2], beta[3]]
    filters = ((0.0, 1.0), (0.8, 1.0), (0.6, 1.0), (1.0, 1.0), (1.0, 1.0), (1.0, 0.9))
    sampling = [
        SamplingParams(
            temperature=0.0 if check.greedy else t, top_p=p, max_new_tokens=NEW_TOKENS, seed=row, ignore_eos=True
        )
        for row, (t, p) in enumerate(filters)
    ]
    return Cases(prompts, sampling, moi, own_noise=check.own_noise)


def _generate(engine: Any, cases: Cases) -> Outputs:
    outputs: Outputs = engine.generate(cases.prompts, cases.sampling, cases.moi)
    return outputs


def _torch_device(model: Path, scratch: Path, cases: Cases) -> Outputs:
    """The device and implementation that "auto" picks; on a machine without a GPU, rows one by one."""
    engine = load_engine("torch", model, dtype="float32", batch_size=1)
    return _generate(engine, cases)


def _export(model: Path, scratch: Path) -> Path:
    from moi_engines.onnx_export import export
    from moi_onnx.options import ExportOptions

    return export(model, scratch / "export", ExportOptions(max_length=_MAX_LENGTH), force=True)


def _onnxruntime(model: Path, scratch: Path, cases: Cases) -> Outputs:
    return _generate(load_engine("onnxruntime", _export(model, scratch)), cases)


def _tensorrt(name: str, runtime: str) -> Callable[[Path, Path, Cases], Outputs]:
    def run(model: Path, scratch: Path, cases: Cases) -> Outputs:
        from moi_compile.compile import CompileOptions, compile_engine

        folder = _export(model, scratch)
        chip = ".".join(str(part) for part in torch.cuda.get_device_capability())
        options = CompileOptions(runtime, (chip,) if runtime == "tensorrt-rtx" else (), max_batch=4)
        compile_engine(folder, folder / "model.engine", options)
        return _generate(load_engine(name, folder), cases)

    return run


def _sglang(model: Path, scratch: Path, cases: Cases) -> Outputs:
    return _generate(load_engine("sglang", model), cases)


def _tensorrt_llm(model: Path, scratch: Path, cases: Cases) -> Outputs:
    from moi_tensorrt_llm.run import greedy

    prompts = [[int(token) for token in prompt] for prompt in cases.prompts]
    return [Output(tokens) for tokens in greedy(model, prompts, list(cases.moi), NEW_TOKENS)]


CHECKS: dict[str, Check] = {
    "torch": Check(_torch_device, types=Types()),
    "onnxruntime": Check(_onnxruntime),
    "tensorrt": Check(_tensorrt("tensorrt", "tensorrt")),
    "tensorrt_rtx": Check(_tensorrt("tensorrt_rtx", "tensorrt-rtx")),
    "sglang": Check(_sglang, own_noise=True),
    "tensorrt_llm": Check(_tensorrt_llm, own_noise=True, greedy=True),
}

# Their libraries can end a process.
ISOLATED = ("tensorrt", "tensorrt_rtx", "tensorrt_llm")


if __name__ == "__main__":
    _name, _model, _scratch = sys.argv[1:]
    sys.stdout.write("\n" + json.dumps(check_backend(_name, Path(_model), Path(_scratch)).to_dict()) + "\n")
