"""Each backend against the torch engine on this machine: the same prompts, token by token.

A backend is a function (model folder, scratch folder, cases) -> token ids of each case.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from moi import MoIConfig
from moi_engines import load_engine
from moi_engines.availability import BACKENDS
from moi_engines.protocol import SamplingParams

NEW_TOKENS = 24
NARROW_SHARE = 0.75
_MAX_LENGTH = 128
Tokens = list[tuple[int, ...]]


@dataclass(frozen=True)
class Cases:
    """Prompts as token ids, with the sampling and mixing of each."""

    prompts: list[list[int]]
    sampling: list[SamplingParams]
    moi: list[MoIConfig]


@dataclass(frozen=True)
class Verdict:
    """verdict  "equal", "differs", "failed" or "unavailable"
    reason   what is missing, what went wrong, or where the tokens part; None if equal
    agree    tokens up to each row's first difference, of `tokens` in all
    """

    verdict: str
    reason: str | None = None
    agree: int = 0
    tokens: int = 0
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Check:
    """run  decodes the cases

    native  decodes in the model's own type on a GPU and draws its own random numbers: compared greedily, with
            the torch engine in that type, where rounding turns near ties
    """

    run: Callable[[Path, Path, Cases], Tokens]
    native: bool = False


def check_backend(name: str, model: Path, scratch: Path) -> Verdict:
    """The verdict on one backend; never raises for what the backend does."""
    missing = BACKENDS[name].unavailable()
    if missing is not None:
        return Verdict("unavailable", missing)
    check, start = CHECKS[name], time.perf_counter()
    try:
        cases = make_cases(model, check.native)
        expected = _torch(model, cases, "auto" if check.native else "float32")
        actual = check.run(model, scratch, cases)
    except Exception as error:  # a report for people has to say what happened, whatever it was
        return Verdict("failed", f"{type(error).__name__}: {error}", seconds=time.perf_counter() - start)
    narrow = check.native and torch.cuda.is_available()
    return compare(expected, actual, NARROW_SHARE if narrow else 1.0, time.perf_counter() - start)


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


def compare(expected: Tokens, actual: Tokens, required: float, seconds: float) -> Verdict:
    """Token ids of the torch engine against a backend's; `required` share before the rows' first differences."""
    total, agree, reason = 0, 0, None
    for row, (ours, theirs) in enumerate(zip(expected, actual, strict=True)):
        same = common_prefix(ours, theirs)
        if same < max(len(ours), len(theirs)) and reason is None:
            there, here = list(theirs[same : same + 3]), list(ours[same : same + 3])
            reason = f"row {row} differs from token {same}: {there}, not {here}"
        total, agree = total + len(ours), agree + same
    enough = reason is None or (required < 1 and agree >= required * total)
    return Verdict("equal" if enough else "differs", reason, agree, total, seconds)


def common_prefix(a: tuple[int, ...], b: tuple[int, ...]) -> int:
    """Number of tokens before the first difference."""
    same = next((i for i, pair in enumerate(zip(a, b, strict=False)) if pair[0] != pair[1]), None)
    return min(len(a), len(b)) if same is None else same


def make_cases(model: Path, greedy: bool) -> Cases:
    """Ragged rows, mixed and plain, greedy and sampled."""
    from moi_engines.checkpoint import load_config, load_tokenizer

    tokenizer = load_tokenizer(load_config(model)[0])
    texts = ("18 7 7 > 67 :", "3 5 > 15 :", "1 2 3 > 6 :", "25 4 > 100 :")
    prompts = [list(tokenizer(text)["input_ids"]) for text in texts]
    moi = [MoIConfig(), MoIConfig(policy="token"), MoIConfig(beta=0.25), MoIConfig(policy="direct")]
    temperatures = (0.0, 0.0, 0.0, 0.0) if greedy else (0.0, 0.8, 0.6, 1.0)
    sampling = [
        SamplingParams(temperature=t, max_new_tokens=NEW_TOKENS, seed=row, ignore_eos=True)
        for row, t in enumerate(temperatures)
    ]
    return Cases(prompts, sampling, moi)


def _torch(model: Path, cases: Cases, dtype: str) -> Tokens:
    device = "cpu" if dtype == "float32" else "auto"
    return _generate(load_engine("torch", model, device=device, dtype=dtype, implementation="reference"), cases)


def _generate(engine: Any, cases: Cases) -> Tokens:
    return [row.token_ids for row in engine.generate(cases.prompts, cases.sampling, cases.moi)]


def _torch_device(model: Path, scratch: Path, cases: Cases) -> Tokens:
    """The device and implementation that "auto" picks; on a machine without a GPU, rows one by one."""
    engine = load_engine("torch", model, dtype="float32", batch_size=1)
    return _generate(engine, cases)


def _export(model: Path, scratch: Path) -> Path:
    from moi_engines.onnx_export import export
    from moi_onnx.options import ExportOptions

    return export(model, scratch / "export", ExportOptions(max_length=_MAX_LENGTH), force=True)


def _onnxruntime(model: Path, scratch: Path, cases: Cases) -> Tokens:
    return _generate(load_engine("onnxruntime", _export(model, scratch)), cases)


def _tensorrt(name: str, runtime: str) -> Callable[[Path, Path, Cases], Tokens]:
    def run(model: Path, scratch: Path, cases: Cases) -> Tokens:
        from moi_tensorrt.compile import CompileOptions, compile_engine

        folder = _export(model, scratch)
        chip = ".".join(str(part) for part in torch.cuda.get_device_capability())
        options = CompileOptions(runtime, (chip,) if runtime == "tensorrt-rtx" else (), max_batch=4)
        compile_engine(folder, folder / "model.engine", options)
        return _generate(load_engine(name, folder), cases)

    return run


def _sglang(model: Path, scratch: Path, cases: Cases) -> Tokens:
    return _generate(load_engine("sglang", model), cases)


def _tensorrt_llm(model: Path, scratch: Path, cases: Cases) -> Tokens:
    from moi_tensorrt_llm.run import greedy

    return greedy(model, cases.prompts, cases.moi, NEW_TOKENS)


CHECKS: dict[str, Check] = {
    "torch": Check(_torch_device),
    "onnxruntime": Check(_onnxruntime),
    "tensorrt": Check(_tensorrt("tensorrt", "tensorrt")),
    "tensorrt_rtx": Check(_tensorrt("tensorrt_rtx", "tensorrt-rtx")),
    "sglang": Check(_sglang, native=True),
    "tensorrt_llm": Check(_tensorrt_llm, native=True),
}

# Their libraries can end a process.
ISOLATED = ("tensorrt", "tensorrt_rtx", "tensorrt_llm")


if __name__ == "__main__":
    _name, _model, _scratch = sys.argv[1:]
    sys.stdout.write("\n" + json.dumps(check_backend(_name, Path(_model), Path(_scratch)).to_dict()) + "\n")
