"""`moi bench serve`: chats with a server of SGLang or vLLM with MoI, at several loads and shares of MoI requests."""

from __future__ import annotations

import argparse
import random
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
from moi_bench.serve_client import Target, load
from moi_bench.server import LAUNCHES, Launch, Server, post
from moi_bench.shapes import LARGEST_ON_DISK, SHAPES
from moi_engines import ENGINES, SamplingParams
from moi_engines.commands.model_arguments import MODEL_HELP, model_folder
from moi_engines.model_source import model_name
from moi_engines.parity import TOLERANCES, Cases, Output, judge
from moi_engines.parity_reference import Reference
from moi_engines.parity_types import types_here
from moi_engines.servers import DIALECTS, Question
from moi_engines.servers.dialects import settings_of
from moi_eval.memory_check import check_fits
from moi_eval.text_table import text_table

KIND = "serve"
_WORDS = ("one", "two", "three", "red", "green", "blue", "north", "south")


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
        return f"{model} C={self.concurrency} N={self.requests} share={self.share:g}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of `moi bench serve`."""
    gpu, servers = torch.cuda.is_available(), _servers()
    parser.add_argument("--engine", choices=servers, default=servers[0], help=f"default: {servers[0]}")
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
    parser.add_argument("flags", nargs="*", metavar="-- FLAGS", help="passed on to the engine's server")


def run(args: argparse.Namespace) -> int:
    """1 if the server cannot run, gives wrong tokens or loses a request."""
    if args.model not in SHAPES:
        args.model = str(model_folder(args))
    cases = _cases(args)
    prepare(args.out, "serve")
    rows = record(measure(args.engine, cases, args.rounds, args.flags), args.out)
    found = serve_table(rows)
    text = "\n".join([text_table(found.head, found.rows), *table_of_reasons(rows)])
    sys.stdout.write((dumps(rows) if args.json else text) + "\n")
    return int(any(row["status"] != "ok" for row in rows))


def measure(engine: str, cases: list[ServeCase], rounds: int, flags: list[str]) -> Iterator[Row]:
    """A row for each case, from one server of an engine."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    baseline = f"the same {engine} server, requests of policy token"
    spec = ENGINES[engine]
    own = {**shared(device, spec.library or engine), "kind": KIND, "engine": engine, "baseline": baseline}
    reason = spec.unavailable()
    if reason is None and find_spec("openai") is None:
        reason = "its client is not installed; pip install 'mixture-of-inputs[eval]'"
    if reason is not None:
        yield from ({**own, **_failed(case, "unavailable", reason)} for case in cases)
        return
    with tempfile.TemporaryDirectory() as scratch:
        yield from ({**own, **row} for row in _serve(engine, cases, rounds, flags, Path(scratch)))


def _serve(engine: str, cases: list[ServeCase], rounds: int, flags: list[str], scratch: Path) -> list[Row]:
    try:
        model, more = _model(engine, cases[0].model, scratch / "model")
        with Server(engine, model, [*more, *flags], scratch / "server.log") as server:
            if not more:
                check(engine, server.url, model)
            return _time(cases, rounds, Target(server.url, DIALECTS[engine], str(model)))
    except Exception as error:  # a server that breaks is a visible row
        status = "wrong" if isinstance(error, AssertionError) else "failed"
        return [_failed(case, status, f"{type(error).__name__}: {error}"[:500]) for case in cases]


def _time(cases: list[ServeCase], rounds: int, target: Target) -> list[Row]:
    """Plain and every share in turn, at each concurrency; ratios are taken within a turn."""

    def side(case: ServeCase, share: float, turn: int) -> dict[str, float]:
        return load(target, requests(case, share, turn), case.concurrency)

    rows = dict[ServeCase, Row]()
    for concurrency in dict.fromkeys(case.concurrency for case in cases):
        mine = [case for case in cases if case.concurrency == concurrency]
        sides = {0.0: partial(side, mine[0], 0.0)} | {case.share: partial(side, case, case.share) for case in mine}
        runs = turns(sides, rounds)
        rows |= {case: _row(case, runs[0.0], runs[case.share]) for case in mine}
    return [rows[case] for case in cases]


def mixed(case: ServeCase, share: float) -> int:
    """How many of the requests mix: their share, rounded to a whole number."""
    return round(share * case.requests)


def requests(case: ServeCase, share: float, turn: int) -> list[Question]:
    """The chats of a turn; which of them mix is drawn anew each turn, their number is `mixed(case, share)`."""
    rng = random.Random(f"{turn}")
    mixing = set(rng.sample(range(case.requests), mixed(case, share)))
    sampling = SamplingParams(0.8, max_new_tokens=case.new_tokens, ignore_eos=True)
    return [
        Question(
            " ".join(rng.choices(_WORDS, k=case.prompt_words)),
            chat=True,
            sampling=sampling,
            settings={"policy": "moi", "beta": 1.0} if index in mixing else {"policy": "token"},
        )
        for index in range(case.requests)
    ]


def check(engine: str, url: str, model: Path) -> None:
    """AssertionError unless the server decodes as the torch engine does, mixed and plain (`moi_engines.parity`)."""
    moi = [MoIConfig("token"), MoIConfig(), MoIConfig(beta=0.25)]
    sampling = [SamplingParams(0.0, max_new_tokens=12, ignore_eos=True)] * len(moi)
    cases, types = Cases([[5, 9, 7, 30, 11]] * len(moi), sampling, moi), types_here(ENGINES[engine], model)
    outputs = [_answer(Target(url, DIALECTS[engine], str(model)), cases, row) for row in range(len(moi))]
    parity = judge(Reference(model, weights=types.weights), cases, outputs, TOLERANCES[types.arithmetic])
    assert parity.agrees, f"not as the torch engine decodes: {parity}"


def _answer(target: Target, cases: Cases, row: int) -> Output:
    """What the server answers to a row, with entropies and interventions."""
    sampling = cases.sampling[row]
    settings = {**settings_of(cases.moi[row], sampling.seed), "per_token": True}
    path, body = target.dialect.request(Question(cases.prompts[row], False, sampling, settings), target.model)
    told = target.dialect.tokens(post(f"{target.url}/{path}", body))
    return Output(told.ids, None, told.entropy, told.intervention)


def _row(case: ServeCase, plain: list[dict[str, float]], moi: list[dict[str, float]]) -> Row:
    sides = {"plain": spreads(plain), "moi": spreads(moi), "ratio": ratio(moi, plain)}
    return {"case": _describe(case), "status": "ok", "reason": None, **sides}


def _failed(case: ServeCase, status: str, reason: str) -> Row:
    return {"case": _describe(case), "status": status, "reason": reason, "plain": None, "moi": None, "ratio": None}


def _describe(case: ServeCase) -> dict[str, Any]:
    return {"name": case.name, **asdict(case)}


def _servers() -> list[str]:
    """Engines with a server that can be spoken to."""
    return [name for name in ENGINES.serving() if name in DIALECTS]


def _model(engine: str, name: str, scratch: Path) -> tuple[Path, list[str]]:
    """The folder, and the server's flags if its weights are made in place."""
    if name not in SHAPES:
        check_fits(Path(name))
        return Path(name), []
    if SHAPES[name].billions > LARGEST_ON_DISK:
        return make_dummy(name, scratch), ["--load-format", "dummy"]
    fields = {} if torch.cuda.is_available() else LAUNCHES.get(engine, Launch()).fields
    return make_model(name, scratch, **fields), []


def _cases(args: argparse.Namespace) -> list[ServeCase]:
    for name, least in (("requests", 1), ("prompt_words", 1), ("new_tokens", 2), ("rounds", 1)):
        value = getattr(args, name)
        if value is not None and value < least:
            raise ValueError(f"--{name.replace('_', '-')}={value} is not allowed; it must be >= {least}")
    if min(args.concurrency) < 1:
        raise ValueError(f"--concurrency={min(args.concurrency)} is not allowed; it must be >= 1")
    for share in args.share:
        if not 0 < share <= 1:
            raise ValueError(f"--share={share:g} is not allowed; it must be in (0, 1], plain is always measured")
    sizes = (args.prompt_words, args.new_tokens)
    cases = [
        ServeCase(args.model, share, c, args.requests or max(8, 4 * c), *sizes)
        for c in args.concurrency
        for share in args.share
    ]
    for case in cases:
        if not mixed(case, case.share):
            raise ValueError(
                f"--share={case.share:g} of --requests={case.requests} is not allowed; it comes to no request at all"
            )
    return cases
