"""Benchmark of the op: mix + embed of one decode step, by every implementation, against the floor.

The floor is what no implementation can avoid: one read of the logits and of the embedding rows, one write of the
result, at the bandwidth that a plain copy reaches on the same device. Results are checked before they are timed.

Dims: B rows, V vocabulary, K candidates, D embedding width.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from moi import Mixture, MoIConfig, RowParams, mixture
from moi.kernels import IMPLEMENTATIONS, Implementation
from moi.policies import policy_named
from moi.policies.declaration import uniform_count
from moi.policies.registry import BUILT_IN
from moi.testing import TOLERANCES, Inputs, assert_close
from moi_bench.rows import Row, dumps, prepare, table
from moi_bench.runner import record, shared
from moi_bench.timer import Call, copy_bandwidth, launches, measure

# Inputs of a case are rotated until they exceed this many bytes, several times the largest second-level cache; at most
# MOST_SETS of them, so single rows of small vocabularies (32 MB in all) may be found in that cache.
ROTATION = 200_000_000
MOST_SETS = 256

Step = Callable[[Inputs, Tensor], tuple[Mixture, Tensor]]


@dataclass(frozen=True)
class OpCase:
    """One shape: dtype is that of the logits; the table is bfloat16 on a GPU and float32 on the CPU.

    `top_k` replaces the preset's K. Rows of `moi` differ in beta, those of other policies have its defaults.
    """

    rows: int
    vocab: int
    dtype: str = "float32"
    preset: str = "official"
    width: int = 4096
    top_k: int | None = None
    policy: str = "moi"

    @property
    def name(self) -> str:
        """Shape and settings in words, the key of its rows."""
        own = "" if self.config == MoIConfig.preset(self.preset) else f" K={self.top_k}"
        policy = "" if self.policy == "moi" else f" {self.policy}"
        return f"B={self.rows} V={self.vocab} {self.dtype} {self.preset}{own}{policy}"

    @property
    def config(self) -> MoIConfig:
        """The preset, with this case's K."""
        preset = MoIConfig.preset(self.preset)
        return preset if self.top_k is None else replace(preset, top_k=self.top_k)


# Each suite varies B, V and K with all else the same: the report draws time against each. Then the policies.
LAPTOP = (
    *(OpCase(rows, 32_000, width=512) for rows in (1, 8, 32)),
    *(OpCase(1, vocab, width=512) for vocab in (8_000, 151_936)),
    *(OpCase(1, 32_000, width=512, top_k=top_k) for top_k in (5, 64)),
    *(OpCase(8, 32_000, width=512, policy=policy) for policy in BUILT_IN if policy != "moi"),
)
H100 = (
    *(OpCase(rows, vocab) for vocab in (32_000, 151_936, 262_144) for rows in (1, 8, 32, 64, 128, 256)),
    *(OpCase(rows, 151_936, "bfloat16") for rows in (1, 8, 32, 64, 128, 256)),
    *(OpCase(rows, 151_936, preset="paper") for rows in (1, 64, 256)),
    OpCase(64, 151_936, "float16"),
    *(OpCase(64, 151_936, top_k=top_k) for top_k in (5, 64)),
    *(OpCase(64, 151_936, policy=policy) for policy in BUILT_IN if policy != "moi"),
)
TINY = (OpCase(2, 300, width=16),)  # shows that a command works
SUITES = {"laptop": LAPTOP, "h100": H100, "tiny": TINY}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of `moi bench op`."""
    parser.add_argument("--suite", choices=sorted(SUITES), help="shapes to measure (default: h100 on a GPU)")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="write the rows there")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON instead of a table")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="implementations to measure (default: all)")
    parser.add_argument("--repeats", type=int, default=50, help="samples per median (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Measures the suite; 1 if an implementation that could run gave wrong results."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    suite = SUITES[args.suite or ("h100" if device.type == "cuda" else "laptop")]
    if args.repeats < 1:
        raise ValueError(f"--repeats={args.repeats} is not allowed; it must be an integer >= 1")
    prepare(args.out, "op")
    rows = record(measure_cases(suite, device, args.repeats, args.only), args.out)
    sys.stdout.write((dumps(rows) if args.json else table(rows)) + "\n")
    return int(any(row["status"] == "wrong" for row in rows))


def measure_cases(
    cases: tuple[OpCase, ...], device: torch.device, repeats: int, only: list[str] | None = None
) -> Iterator[Row]:
    """Rows of every case and implementation, or of those named in `only`; ValueError for a name that is none."""
    names = ["eager", "torch.compile", *(name for name in IMPLEMENTATIONS if name != "reference")]
    for name in only or []:
        if name not in names:
            raise ValueError(f"only={name!r} is unknown; allowed: {', '.join(names)}")
    common = {**shared(device), "kind": "op", "copy_bandwidth": copy_bandwidth(device)}
    for case in cases:
        yield from _measure_case(case, device, repeats, common, only or names)


def _measure_case(case: OpCase, device: torch.device, repeats: int, common: Row, only: list[str]) -> Iterator[Row]:
    """One row for every implementation, the eager reference first: the others are compared with it."""
    inputs, weights = _inputs(case, device)
    floor = _floor_bytes(case, weights) / common["copy_bandwidth"] * 1e6
    expected = _step(IMPLEMENTATIONS["reference"], case)(inputs[0], weights)
    eager = None
    for name, reason, step in _steps(case, device):
        if name not in only:
            continue
        row = {**common, "case": {"name": case.name, **asdict(case)}, "implementation": name, "floor_us": floor}
        row |= (
            _measure_step(step, inputs, weights, expected, device, repeats) if step else _absent("unavailable", reason)
        )
        eager = row["median_us"] if name == "eager" else eager
        timed = row["median_us"] is not None
        row["ratio_to_floor"] = row["median_us"] / floor if timed else None
        row["ratio_to_eager"] = row["median_us"] / eager if timed and eager else None
        yield row


def _absent(status: str, reason: str) -> Row:
    return {"status": status, "reason": reason, **dict.fromkeys(("median_us", "p10_us", "p90_us", "launches"))}


def _measure_step(
    step: Step,
    inputs: list[Inputs],
    weights: Tensor,
    expected: tuple[Mixture, Tensor],
    device: torch.device,
    repeats: int,
) -> Row:
    def call(each: Inputs) -> Call:
        return lambda: step(each, weights)

    try:
        _check(step(inputs[0], weights), expected)
        count = launches(call(inputs[0]), device)
        timing = measure([call(each) for each in inputs], device, repeats)
    except AssertionError as error:
        return _absent("wrong", str(error))
    except Exception as error:  # a backend that breaks is a visible row, not the end of the run
        return _absent("failed", f"{type(error).__name__}: {error}")
    return {"status": "ok", "reason": None, **timing._asdict(), "launches": count}


def _check(found: tuple[Mixture, Tensor], expected: tuple[Mixture, Tensor]) -> None:
    """Candidates equal, the rest within the tolerance of its type."""
    assert torch.equal(found[0].ids, expected[0].ids), "candidates differ from the reference's"
    assert_close("weights", found[0].weights, expected[0].weights, TOLERANCES[torch.float32])
    assert_close("entropy", found[0].entropy, expected[0].entropy, TOLERANCES[torch.float32])
    assert_close("embedding", found[1], expected[1], TOLERANCES[expected[1].dtype])


def _steps(case: OpCase, device: torch.device) -> Iterator[tuple[str, str, Step | None]]:
    """(name, why it is missing, step or None); "eager" and "torch.compile" are the reference."""
    reference = IMPLEMENTATIONS["reference"]
    yield "eager", "", _step(reference, case)
    torch.compiler.reset()  # else the compiler gives up on this function after a few cases and runs it eagerly
    yield "torch.compile", "", torch.compile(_reference_step(case), dynamic=False)
    for name in IMPLEMENTATIONS:
        found: Implementation = IMPLEMENTATIONS[name]
        reason = found.unavailable(device)
        if reason is None and name == "triton" and device.type == "cpu":
            reason = "Triton's interpreter is for tests; its time says nothing"
        if found is not reference:
            yield name, reason or "", None if reason else _step(found, case)


def _step(use: Implementation, case: OpCase) -> Step:
    config = case.config

    def step(inputs: Inputs, weights: Tensor) -> tuple[Mixture, Tensor]:
        inputs = _drawn(use, case, inputs)
        mixed = use.mix(*inputs, config.top_k, config.entropy, config.prior)
        out = weights.new_empty(len(inputs.logits), weights.shape[1])
        use.embed(mixed.ids, mixed.weights, weights, 0, len(weights), out)
        return mixed, out

    return step


def _reference_step(case: OpCase) -> Step:
    """The reference without a copy into `out`, as the compiler likes it best."""
    config = case.config

    def step(inputs: Inputs, weights: Tensor) -> tuple[Mixture, Tensor]:
        inputs = _drawn(IMPLEMENTATIONS["reference"], case, inputs)
        mixed = mixture.mix(*inputs, config.top_k, config.entropy, config.prior)
        return mixed, mixture.embed(mixed.ids, mixed.weights, weights, 0, len(weights))

    return step


def _drawn(use: Implementation, case: OpCase, inputs: Inputs) -> Inputs:
    """With the random numbers of a policy that draws, which are part of its step; tokens stand for seeds."""
    if not policy_named(case.policy).draws:
        return inputs
    drawn = use.uniforms(inputs.token, inputs.token, uniform_count(case.config.top_k))
    return inputs._replace(rows=inputs.rows._replace(uniforms=drawn))


def _inputs(case: OpCase, device: torch.device) -> tuple[list[Inputs], Tensor]:
    """Sets of arguments to rotate through, and the embedding table."""
    generator = torch.Generator(device).manual_seed(0)
    dtype = getattr(torch, case.dtype)
    size = case.rows * case.vocab * dtype.itemsize
    sets = 1 + ROTATION // size if device.type == "cuda" else 2
    row = torch.arange(case.rows, device=device)
    inputs = []
    for _ in range(min(sets, MOST_SETS)):
        logits = torch.randn(case.rows, case.vocab, device=device, generator=generator).mul_(3).to(dtype)
        token = logits.argmax(-1)
        rows = RowParams.of([MoIConfig(case.policy)] * case.rows, [1.0] * case.rows, device)
        if case.policy == "moi":
            rows.parameters[:, 0] = 0.25 * (1 + row % 4)
        inputs.append(Inputs(logits, token, rows._replace(temperature=0.5 + 0.1 * (row % 6))))
    kind = torch.bfloat16 if device.type == "cuda" else torch.float32
    return inputs, torch.randn(case.vocab, case.width, device=device, generator=generator).to(kind)


def _floor_bytes(case: OpCase, weights: Tensor) -> int:
    """Bytes that must move: the logits, K + 1 embedding rows per row, and the result."""
    slots = case.config.top_k + 1
    logits = case.rows * case.vocab * getattr(torch, case.dtype).itemsize
    return int(logits + case.rows * (slots + 1) * case.width * weights.element_size())
