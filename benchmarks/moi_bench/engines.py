"""`moi bench engines`: tokens/s, latency and peak memory of every engine, plain decoding and MoI in turn."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import torch

from moi_bench.engine.cases import MODELS, SUITES, EngineCase
from moi_bench.engine.worker import failed
from moi_bench.rows import Row, dumps, prepare, write
from moi_engines import ENGINES
from moi_engines.commands.model_arguments import MODEL_HELP
from moi_engines.model_source import resolve_model
from moi_eval.environment import environment, version
from moi_eval.text_table import text_table

KIND = "engine"
TIMEOUT_S = 1200


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of `moi bench engines`."""
    parser.add_argument("--suite", choices=sorted(SUITES), help="cases to measure (default: h100 on a GPU)")
    parser.add_argument("--engine", nargs="+", metavar="NAME", help="engines to measure (default: all)")
    parser.add_argument(
        "--model", nargs="+", metavar="MODEL", help=f"only these models: {', '.join(MODELS)}, or {MODEL_HELP}"
    )
    parser.add_argument("--revision", metavar="REV", help="branch, tag or commit of the hub ids")
    parser.add_argument("--batch", type=int, nargs="+", help="instead of the suite's batch sizes")
    parser.add_argument("--context", type=int, nargs="+", help="instead of the suite's prompt lengths, in tokens")
    parser.add_argument("--new-tokens", type=int, default=32, help="with --batch or --context (default: 32)")
    parser.add_argument("--repeats", type=int, default=5, help="turns of plain and MoI (default: 5)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of torch and ONNX Runtime (default: 1)")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="write the rows there")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON instead of a table")


def run(args: argparse.Namespace) -> int:
    """1 if an engine is wrong, fails, or was asked for by name and is not available."""
    names, cases = _names(args.engine), choose(args)
    prepare(args.out, "engine")
    rows = list[Row]()
    for row in measure(names, cases, args.repeats, args.threads):
        rows.append(row)
        _log(f"{row['engine']}: {row['case']['name']}: {row['status']}")
        write(args.out, rows)
    sys.stdout.write((dumps(rows) if args.json else table(rows)) + "\n")
    bad = ("wrong", "failed", "unavailable") if args.engine else ("wrong", "failed")
    return int(any(row["status"] in bad for row in rows))


def choose(args: argparse.Namespace) -> list[EngineCase]:
    """The suite's cases, or batch x context of its models; ValueError for unknown models and senseless numbers."""
    for name in ("batch", "context"):
        for value in getattr(args, name) or []:
            _at_least(name, value, 1)
    _at_least("new_tokens", args.new_tokens, 2)
    _at_least("repeats", args.repeats, 1)
    _at_least("threads", args.threads, 1)
    suite = SUITES[args.suite or ("h100" if torch.cuda.is_available() else "laptop")]
    models = _resolved(args.model or [], args.revision) or list(dict.fromkeys(case.model for case in suite))
    if args.batch is None and args.context is None and {*models} <= {case.model for case in suite}:
        return [case for case in suite if case.model in models]
    batches, contexts = args.batch or [1, 8], args.context or [16]
    return [EngineCase(m, b, c, args.new_tokens) for m in models for b in batches for c in contexts]


def _resolved(names: list[str], revision: str | None) -> list[str]:
    """Real models by their folders, each once; OSError, ValueError or ImportError for what is none."""
    if revision is not None and not {*names} - {*MODELS}:
        raise ValueError(f"--revision {revision} needs --model with a hub id")
    return list(dict.fromkeys(name if name in MODELS else _real(name, revision) for name in names))


def _real(name: str, revision: str | None) -> str:
    try:
        return str(resolve_model(name, revision, log=_log))
    except OSError as error:
        raise OSError(f"{error}; models with random weights: {', '.join(MODELS)}") from None


def measure(names: list[str], cases: list[EngineCase], repeats: int, threads: int) -> Iterator[Row]:
    """A row for every engine and case."""
    torch.set_num_threads(threads)
    shared = environment(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    for name in names:
        spec = ENGINES[name]
        own = {**shared, "kind": KIND, "engine": name, "threads": threads}
        own["versions"] = {**shared["versions"], **({spec.library: version(spec.library)} if spec.library else {})}
        reason = spec.instead or spec.unavailable()
        for model in dict.fromkeys(case.model for case in cases):
            mine = [case for case in cases if case.model == model]
            rows = _work(name, mine, repeats, threads) if reason is None else _none(mine, reason)
            yield from ({**own, **row} for row in rows)


def _none(cases: list[EngineCase], reason: str) -> Iterator[Row]:
    yield from (failed(case, "unavailable", reason) for case in cases)


def _work(name: str, cases: list[EngineCase], repeats: int, threads: int) -> Iterator[Row]:
    """Rows of a worker process; cases it did not come to are rows with the reason."""
    with tempfile.TemporaryDirectory() as scratch:
        job, out, log = (Path(scratch) / file for file in ("job.json", "rows.jsonl", "log"))
        settings = {"engine": name, "repeats": repeats, "threads": threads, "out": str(out)}
        job.write_text(json.dumps({**settings, "cases": [asdict(case) for case in cases]}))
        reason = _call(job, log)
        rows = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    yield from rows
    yield from (failed(case, "failed", reason) for case in cases[len(rows) :])


def _call(job: Path, log: Path) -> str:
    """Run the worker; why it ended, for cases it left out."""
    command = [sys.executable, "-m", "moi_bench.engine.worker", str(job)]
    with log.open("wb") as file:
        try:
            status = subprocess.run(command, stdout=file, stderr=file, check=False, timeout=TIMEOUT_S).returncode
        except subprocess.TimeoutExpired:
            return f"not finished after {TIMEOUT_S} s"
    last = (log.read_text(errors="replace").strip().splitlines() or [""])[-1]
    return f"its process ended with status {status}: {last[:300]}"


def table(rows: list[Row]) -> str:
    """The rows for people."""
    head = ["case", "engine", "plain tok/s", "MoI tok/s", "MoI/plain", "p10..p90", "TTFT ms", "TPOT ms", "peak MiB"]
    head += ["plain/generate", "MoI/generate"]  # transformers' own, of real models
    return "\n".join([text_table(head, [_cells(row) for row in rows]), *table_of_reasons(rows)])


def table_of_reasons(rows: list[Row]) -> list[str]:
    """What is missing or went wrong, each once."""
    bad = [row for row in rows if row["status"] != "ok"]
    return list(dict.fromkeys(f"{row['engine']}: {row['status']}: {row['reason']}" for row in bad))


def _cells(row: Row) -> list[str]:
    start = [row["case"]["name"], row["engine"]]
    if row["status"] != "ok":
        return [*start, row["status"], *[""] * 8]
    plain, moi, ratio = row["plain"], row["moi"], row["ratio"]
    peak = "" if moi["peak_bytes"] is None else f"{moi['peak_bytes'] / 2**20:.0f}"
    against = row.get("ratio_to_transformers") or {}
    return [
        *start,
        f"{plain['tokens_per_s']['median']:.1f}",
        f"{moi['tokens_per_s']['median']:.1f}",
        f"{ratio['median']:.3f}",
        f"{ratio['p10']:.3f}..{ratio['p90']:.3f}",
        f"{moi['ttft_ms']['median']:.1f}",
        f"{moi['tpot_ms']['median']:.2f}",
        peak,
        *(f"{against[side]['median']:.3f}" if side in against else "" for side in ("plain", "moi")),
    ]


def _names(wanted: list[str] | None) -> list[str]:
    known = list(ENGINES)
    for name in wanted or []:
        if name not in known:
            raise ValueError(f"engine={name!r} is unknown; allowed: {', '.join(known)}")
    return wanted or known


def _log(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise ValueError(f"--{name.replace('_', '-')}={value} is not allowed; it must be an integer >= {least}")
