"""`moi demo`: held-out Countdown problems on the embedded model, plain decoding beside MoI, every answer checked."""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass

import torch

from moi import MoIConfig, json_text, policy_names
from moi_engines import Engine, SamplingParams, embedded_model, load_engine
from moi_engines.request import collect
from moi_eval.countdown import Problem, held_out, is_solution, mean_chance
from moi_eval.intervals import wilson

NEW_TOKENS = 170
POLICIES = ["token", "moi", "direct"]
NOTE = (
    "Intervals are 95 % (Wilson), problems are held out, all policies draw from the same noise. The model is a small "
    "fixture with real distributions: it shows that MoI runs as published, not how much MoI helps a reasoning model."
)


@dataclass(frozen=True)
class Score:
    """How one policy did: share solved with its 95 % interval, and means over all generated tokens."""

    policy: str
    solved: int
    problems: int
    low: float
    high: float
    mean_entropy: float
    mean_intervention: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of `moi demo`."""
    parser.add_argument("--problems", type=int, default=200, metavar="N", help="problems to score (default: 200)")
    parser.add_argument("--show", type=int, default=3, metavar="N", help="problems shown side by side (default: 3)")
    parser.add_argument(
        "--policy", nargs="+", choices=policy_names(), default=POLICIES, help="to score (default: token moi direct)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")


def run(args: argparse.Namespace) -> int:
    """Score each policy on the same problems; 0."""
    for key in ("problems", "show"):
        if getattr(args, key) < 1:
            raise ValueError(f"--{key}={getattr(args, key)} is not allowed; it must be an integer >= 1")
    torch.set_num_threads(1)  # the model is so small that a second thread only waits
    engine = load_engine("torch", embedded_model())
    problems = held_out(args.problems, seed=args.seed)
    if not args.json:
        show(engine, problems[: args.show], args.seed, next((name for name in args.policy if name != "token"), "moi"))
    scores = [score(engine, problems, policy, args.seed, quiet=args.json) for policy in args.policy]
    report(scores, mean_chance(problems, NEW_TOKENS), as_json=args.json)
    return 0


def show(engine: Engine, problems: list[Problem], seed: int, policy: str) -> None:
    """The same problems decoded plainly and with a policy, tokens coloured by entropy."""
    from moi_engines import render

    prompts = [problem.prompt for problem in problems]
    sampling, rows = SamplingParams(max_new_tokens=NEW_TOKENS, seed=seed), []
    for config in (MoIConfig("token"), MoIConfig(policy)):
        events = list(engine.stream(prompts, sampling, config))
        rows.append([[event for event in events if event.row == index] for index in range(len(prompts))])
    render.show(prompts, MoIConfig(policy), rows[1], rows[0])


def score(engine: Engine, problems: list[Problem], policy: str, seed: int, *, quiet: bool = False) -> Score:
    """Decode every problem once at temperature 1 and check the answers exactly."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    sampling, events = SamplingParams(max_new_tokens=NEW_TOKENS, seed=seed), []
    with Progress(console=console, transient=True, disable=quiet or not console.is_terminal) as progress:
        task = progress.add_task(policy, total=len(problems))
        for event in engine.stream([problem.prompt for problem in problems], sampling, MoIConfig(policy)):
            events.append(event)
            progress.advance(task, event.finish_reason is not None)
    rows = collect(events, len(problems))
    solved = sum(is_solution(problem, row.text) for problem, row in zip(problems, rows, strict=True))
    entropy = sum(event.entropy for event in events) / len(events)
    intervention = sum(event.intervention for event in events) / len(events)
    return Score(policy, solved, len(problems), *wilson(solved, len(problems)), entropy, intervention)


def report(scores: list[Score], chance: float, *, as_json: bool) -> None:
    """The scores as a table, or as one JSON object."""
    if as_json:
        json_text.write({"scores": [asdict(row) for row in scores], "random_search": chance, "note": NOTE})
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("policy", "solved", "95 % interval", "mean entropy", "mean intervention", box=None)
    for row in scores:
        interval = f"{row.low:.1%} to {row.high:.1%}"
        share = f"{row.solved / row.problems:.1%}"
        table.add_row(row.policy, share, interval, f"{row.mean_entropy:.3f}", f"{row.mean_intervention:.3f}")
    table.add_row("random search", f"{chance:.1%}", "expected", "", "", style="dim")
    console = Console()
    console.print(f"\n{scores[0].problems} Countdown problems, temperature 1, at most {NEW_TOKENS} tokens each")
    console.print(table)
    console.print(f"\n{NOTE}", style="dim")
