"""`moi bench serve`: SGLang's own serving benchmark against a server with MoI, at several shares of MoI requests."""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from moi import MoIConfig
from moi_bench.engine.adapters import make_dummy
from moi_bench.engine.cases import make_model
from moi_bench.engines import table_of_reasons
from moi_bench.report.tables import serve_table
from moi_bench.rows import Row, dumps, prepare
from moi_bench.runner import ratio, record, shared, spreads, turns
from moi_bench.server import Server, post
from moi_bench.shapes import LARGEST_ON_DISK, SHAPES
from moi_engines import ENGINES, SamplingParams
from moi_engines.commands.model_arguments import MODEL_HELP, model_folder
from moi_engines.model_source import model_name
from moi_engines.parity import TOLERANCES, Cases, Output, judge
from moi_engines.parity_reference import Reference
from moi_engines.parity_types import types_here
from moi_eval.memory_check import check_fits
from moi_eval.text_table import text_table

KIND = "serve"
TIMEOUT_S = 1200
_WORDS = ("one", "two", "three", "red", "green", "blue", "north", "south")
_METRICS = {"tokens_per_s": "output_throughput", "ttft_ms": "mean_ttft_ms", "tpot_ms": "mean_tpot_ms"}
# Modules that sglang.benchmark.serving imports and SGLang's own wheel does not always bring.
_NEEDS = ("datasets", "aiohttp")


@dataclass(frozen=True)
class ServeCase:
    """`requests` chats, `concurrency` at a time, `share` of them with MoI; lengths in words and tokens."""

    model: str
    share: float
    concurrency: int
    requests: int
    prompt_words: int
    new_tokens: int

    @property
    def name(self) -> str:
        """Model, load and share in words, the key of its rows."""
        model = self.model if self.model in SHAPES else model_name(Path(self.model))
        return f"{model} C={self.concurrency} N={self.requests}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of `moi bench serve`."""
    gpu = torch.cuda.is_available()
    parser.add_argument(
        "--model", default="qwen2.5-1.5b" if gpu else "narrow-32k", help=f"{MODEL_HELP}, or {', '.join(SHAPES)}"
    )
    parser.add_argument("--revision", metavar="REV", help="branch, tag or commit of a hub id")
    parser.add_argument("--share", type=float, nargs="+", default=[0.5, 1.0], help="of MoI requests (default: 0.5 1)")
    parser.add_argument("--requests", type=int, help="of each run (default: four times the concurrency, at least 8)")
    parser.add_argument(
        "--concurrency", type=int, nargs="+", default=[1, 16, 64, 256] if gpu else [1, 4, 8], help="requests at a time"
    )
    parser.add_argument("--prompt-words", type=int, default=256 if gpu else 8)
    parser.add_argument("--new-tokens", type=int, default=256 if gpu else 16)
    parser.add_argument("--rounds", type=int, default=3, help="turns of all shares, plain first (default: 3)")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="write the rows there")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON instead of a table")
    parser.add_argument("sglang", nargs="*", metavar="-- SGLANG FLAGS", help="passed on to the server")


def run(args: argparse.Namespace) -> int:
    """1 if the server cannot run, gives wrong tokens or loses a request."""
    if args.model not in SHAPES:
        args.model = str(model_folder(args))
    cases = _cases(args)
    prepare(args.out, "serve")
    rows = record(measure(cases, args.rounds, args.sglang), args.out)
    found = serve_table(rows)
    text = "\n".join([text_table(found.head, found.rows), *table_of_reasons(rows)])
    sys.stdout.write((dumps(rows) if args.json else text) + "\n")
    return int(any(row["status"] != "ok" for row in rows))


def measure(cases: list[ServeCase], rounds: int, flags: list[str]) -> Iterator[Row]:
    """A row for each case, from one server."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    baseline = "the same server, requests of policy token"
    own = {**shared(device, "sglang"), "kind": KIND, "engine": "sglang", "baseline": baseline}
    missing = [name for name in _NEEDS if find_spec(name) is None]
    reason = ENGINES["sglang"].unavailable()
    if reason is None and missing:
        reason = f"SGLang's serving benchmark needs {', '.join(missing)}; pip install {' '.join(missing)}"
    if reason is not None:
        yield from ({**own, **_failed(case, "unavailable", reason)} for case in cases)
        return
    with tempfile.TemporaryDirectory() as scratch:
        yield from ({**own, **row} for row in _serve(cases, rounds, flags, Path(scratch)))


def _serve(cases: list[ServeCase], rounds: int, flags: list[str], scratch: Path) -> list[Row]:
    try:
        model, more = _model(cases[0].model, scratch / "model")
        with Server(model, [*more, *flags], scratch / "server.log") as server:
            if not more:
                check(server.url, model)
            return _time(cases, rounds, server.url, model, scratch)
    except Exception as error:  # a server that breaks is a visible row
        status = "wrong" if isinstance(error, AssertionError) else "failed"
        return [_failed(case, status, f"{type(error).__name__}: {error}"[:500]) for case in cases]


def _time(cases: list[ServeCase], rounds: int, url: str, model: Path, scratch: Path) -> list[Row]:
    """Plain and every share in turn, at each concurrency; ratios are taken within a turn."""

    def side(case: ServeCase, share: float, turn: int) -> dict[str, float]:
        return client(case, share, turn, url, model, scratch)

    rows = dict[ServeCase, Row]()
    for concurrency in dict.fromkeys(case.concurrency for case in cases):
        mine = [case for case in cases if case.concurrency == concurrency]
        sides = {0.0: partial(side, mine[0], 0.0)} | {case.share: partial(side, case, case.share) for case in mine}
        runs = turns(sides, rounds)
        rows |= {case: _row(case, runs[0.0], runs[case.share]) for case in mine}
    return [rows[case] for case in cases]


def client(case: ServeCase, share: float, turn: int, url: str, model: Path, scratch: Path) -> dict[str, float]:
    """One run of sglang.benchmark.serving; RuntimeError unless it completed every request."""
    data, out = scratch / "requests.jsonl", scratch / "client.jsonl"
    data.write_text("".join(json.dumps(request) + "\n" for request in requests(case, share, turn)))
    out.unlink(missing_ok=True)
    command = [sys.executable, "-m", "sglang.benchmark.serving", "--backend", "sglang-oai-chat", "--base-url", url]
    command += ["--model", str(model), "--dataset-name", "openai", "--dataset-path", str(data)]
    command += ["--num-prompts", str(case.requests), "--max-concurrency", str(case.concurrency)]
    command += ["--output-file", str(out), "--disable-tqdm", "--warmup-requests", "1", "--seed", str(turn)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode or not out.exists():
        raise RuntimeError(f"sglang.benchmark.serving ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    result = json.loads(out.read_text().splitlines()[-1])
    if result["completed"] != case.requests:
        raise RuntimeError(f"{result['completed']} of {case.requests} requests were completed")
    return {ours: float(result[theirs]) for ours, theirs in _METRICS.items()}


def requests(case: ServeCase, share: float, turn: int) -> list[dict[str, Any]]:
    """OpenAI chat requests; which of them mix is drawn anew each turn, their number is exact."""
    rng = random.Random(f"{turn}")
    mixed = set(rng.sample(range(case.requests), round(share * case.requests)))
    return [
        {
            "messages": [{"role": "user", "content": " ".join(rng.choices(_WORDS, k=case.prompt_words))}],
            "max_tokens": case.new_tokens,
            "temperature": 0.8,
            "ignore_eos": True,
            "custom_params": {"moi": {"policy": "moi" if index in mixed else "token", "beta": 1.0}},
        }
        for index in range(case.requests)
    ]


def check(url: str, model: Path) -> None:
    """AssertionError unless the server decodes as the torch engine does, mixed and plain (`moi_engines.parity`)."""
    moi = [MoIConfig("token"), MoIConfig(), MoIConfig(beta=0.25)]
    sampling = [SamplingParams(0.0, max_new_tokens=12, ignore_eos=True)] * len(moi)
    cases, types = Cases([[5, 9, 7, 30, 11]] * len(moi), sampling, moi), types_here(ENGINES["sglang"], model)
    outputs = [_answer(url, prompt, config) for prompt, config in zip(cases.prompts, moi, strict=True)]
    parity = judge(Reference(model, weights=types.weights), cases, outputs, TOLERANCES[types.arithmetic])
    assert parity.agrees, f"not as the torch engine decodes: {parity}"


def _answer(url: str, prompt: Any, config: MoIConfig) -> Output:
    """Twelve greedy tokens, with their entropies and interventions."""
    moi = {"policy": config.policy, **dict(config.parameters), "per_token": True}
    params = {"temperature": 0, "max_new_tokens": 12, "ignore_eos": True, "custom_params": {"moi": moi}}
    found = post(f"{url}/generate", {"input_ids": prompt, "sampling_params": params})
    told = found["meta_info"]["moi"]
    return Output(found["output_ids"], None, told["entropy"], told["intervention"])


def _row(case: ServeCase, plain: list[dict[str, float]], moi: list[dict[str, float]]) -> Row:
    sides = {"plain": spreads(plain), "moi": spreads(moi), "ratio": ratio(moi, plain)}
    return {"case": _describe(case), "status": "ok", "reason": None, **sides}


def _failed(case: ServeCase, status: str, reason: str) -> Row:
    return {"case": _describe(case), "status": status, "reason": reason, "plain": None, "moi": None, "ratio": None}


def _describe(case: ServeCase) -> dict[str, Any]:
    return {"name": case.name, **asdict(case)}


def _model(name: str, scratch: Path) -> tuple[Path, list[str]]:
    """The folder, and the server's flags if its weights are made in place."""
    if name not in SHAPES:
        check_fits(Path(name))
        return Path(name), []
    if SHAPES[name].billions > LARGEST_ON_DISK:
        return make_dummy(name, scratch), ["--load-format", "dummy"]
    return make_model(name, scratch), []


def _cases(args: argparse.Namespace) -> list[ServeCase]:
    for name in ("requests", "prompt_words", "new_tokens", "rounds"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name.replace('_', '-')}={value} is not allowed; it must be >= 1")
    if min(args.concurrency) < 1:
        raise ValueError(f"--concurrency={min(args.concurrency)} is not allowed; it must be >= 1")
    for share in args.share:
        if not 0 < share <= 1:
            raise ValueError(f"--share={share:g} is not allowed; it must be in (0, 1], plain is always measured")
    sizes = (args.prompt_words, args.new_tokens)
    return [
        ServeCase(args.model, share, c, args.requests or max(8, 4 * c), *sizes)
        for c in args.concurrency
        for share in args.share
    ]
