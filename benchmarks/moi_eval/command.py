"""`moi eval`: accuracy of plain decoding, MoI and Direct Mixture on the same problems, resumable at any point."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch

from moi import PRESETS, MoIConfig, json_text, policy_names
from moi_engines import ENGINES, load_engine
from moi_engines.chat import chat_prompt
from moi_engines.checkpoint import load_config, load_tokenizer
from moi_engines.commands.model_arguments import (
    add_engine_arguments,
    add_model_arguments,
    engine_folder,
    engine_options,
)
from moi_engines.commands.policy_arguments import parameter_help
from moi_engines.protocol import Prompt
from moi_eval import arms as grid
from moi_eval import journal, memory_check, progress, server_command, summary, summary_text
from moi_eval.environment import environment
from moi_eval.extras import require
from moi_eval.jsonl import assignments
from moi_eval.model_identity import identity
from moi_eval.runner import Plan, run_missing
from moi_eval.tasks import TaskOptions, make_task, task_names

BATCH, OWN_BATCH = 64, 1024


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of `moi eval`."""
    parser.add_argument("task", help=f"{', '.join(task_names())}; rg:NAME is a generator of reasoning-gym")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE.jsonl", help="results; the same command goes on"
    )
    parser.add_argument("--json", action="store_true", help="print the summary as one JSON object")
    _add_problem_arguments(parser)
    _add_decoding_arguments(parser)
    server_command.add_arguments(parser.add_argument_group("servers, instead of an engine"))
    group = parser.add_argument_group("model")
    add_engine_arguments(group)
    add_model_arguments(group)
    group.add_argument("--threads", type=int, default=1, help="CPU threads of torch (default: 1)")
    group.add_argument(
        "--batch",
        type=int,
        metavar="B",
        help=f"rows decoded together (default: {BATCH}; {OWN_BATCH} for engines that form batches themselves)",
    )


def _add_problem_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("problems")
    group.add_argument("--numbers", type=int, default=3, choices=[3, 4], help="Countdown with 3 or 4 numbers")
    group.add_argument("--data", type=Path, metavar="FILE.jsonl", help="problems, for tasks on files")
    group.add_argument(
        "--task-config", action="append", default=[], metavar="KEY=VALUE", help="of the task, such as sizes (rg:NAME)"
    )
    group.add_argument("--run-code", action="store_true", help="run programs that models wrote: limits, no sandbox")
    group.add_argument("--n", type=int, metavar="N", help="problems (default: that of the task, or the whole file)")
    group.add_argument("--samples", type=int, default=1, metavar="S", help="samples of each problem (default: 1)")
    group.add_argument("--seed", type=int, default=0, metavar="S", help="of problems and noise")
    group.add_argument(
        "--prompt",
        choices=["auto", "plain", "chat"],
        default="auto",
        help="auto: chat if there is a template, and with --server",
    )


def _add_decoding_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("decoding; every combination is an arm")
    group.add_argument("--policy", nargs="+", choices=policy_names(), default=["token", "moi", "direct"])
    several = f"several times, also of one name, for a grid: {parameter_help()}"
    group.add_argument("--param", action="append", default=[], metavar="NAME=VALUE", help=several)
    group.add_argument("--beta", nargs="+", type=float, help="short for --param beta=B (default: 1)")
    group.add_argument("--temperature", nargs="+", type=float, metavar="T", help="(default: 1)")
    group.add_argument("--top-p", nargs="+", type=float, metavar="P", help="(default: 1)")
    group.add_argument("--sweep", choices=["paper"], help="the paper's grid of beta x temperature x top-p, instead")
    group.add_argument("--preset", choices=list(PRESETS), help="K, entropy and prior (default: official)")
    group.add_argument(
        "--longer", type=int, nargs="+", default=[], metavar="X", help="plain arms with X times the limit, beside"
    )
    group.add_argument("--max-new-tokens", type=int, metavar="N", help="default: that of the task")


def run(args: argparse.Namespace) -> int:
    """Decodes what --out lacks and prints the table of the whole file."""
    _check(args)
    require("eval", "scipy", "psutil")
    journal.check(args.out)
    torch.set_num_threads(args.threads)
    return (_on_servers if args.server else _on_engine)(args)


def _on_servers(args: argparse.Namespace) -> int:
    served = server_command.look(args)
    chat = args.prompt != "plain"
    plan = _plan(args, chat)
    plan.task.check_outputs(args.out, [arm.label for arm in plan.arms])
    settings = server_command.settings(served) | _shared_settings(plan, chat)
    book = _journal(args, plan, settings, torch.device("cpu"))
    try:
        if len(book.samples) < plan.total:
            with progress.shown(plan.total, len(book.samples), args.out) as tick:
                server_command.run_missing(args, served, plan, book, tick, chat)
    finally:
        book.close()
    return report(args.out, plan, as_json=args.json)


def _on_engine(args: argparse.Namespace) -> int:
    folder = _folder(args)
    chat = _chat(args.prompt, load_tokenizer(folder, bool(args.trust_remote_code)))
    plan = _plan(args, chat)
    given = (args.device or "auto", args.dtype or "auto")
    device = torch.device("cuda" if torch.cuda.is_available() and given[0] != "cpu" else "cpu")
    plan.task.check_outputs(args.out, [arm.label for arm in plan.arms])
    book = _journal(args, plan, _settings(args, plan, folder, given, chat), device)
    try:
        if len(book.samples) < plan.total:
            memory_check.check_fits(folder, *given)
            _decode(args, plan, folder, book, chat)
    finally:
        book.close()
    return report(args.out, plan, as_json=args.json)


def _journal(args: argparse.Namespace, plan: Plan, settings: dict[str, Any], device: torch.device) -> journal.Journal:
    return journal.Journal.open(args.out, settings, environment(device), {item.id for item in plan.task.items})


def _decode(args: argparse.Namespace, plan: Plan, folder: Path, book: journal.Journal, chat: bool) -> None:
    engine: Any = load_engine(args.engine, folder, **engine_options(args))

    def prompt(text: str) -> Prompt:
        return chat_prompt(engine.tokenizer, text).ids if chat else text

    _check_positions(engine, [prompt(item.prompt) for item in plan.task.items], plan.most_new_tokens)
    with progress.shown(plan.total, len(book.samples), args.out) as tick:
        run_missing(engine, prompt, plan, book, tick)


def _check_positions(engine: Any, prompts: list[Prompt], new_tokens: int) -> None:
    """ValueError for the first problem that cannot be decoded to its end, before hours went into the others."""
    positions = getattr(getattr(engine, "limits", None), "positions", None)
    if positions is None:
        return
    for index, given in enumerate(prompts):
        count = len(engine.tokenizer(given, verbose=False)["input_ids"] if isinstance(given, str) else given)
        if count + new_tokens > positions:
            raise ValueError(
                f"problem {index} has {count} tokens and --max-new-tokens is {new_tokens}; "
                f"the model has {positions} positions"
            )


def report(out: Path, plan: Plan, *, as_json: bool) -> int:
    """Print what the file says; 0 if it is complete."""
    contents = journal.load(out)
    if contents.header is None:
        raise ValueError(f"{out} holds no sample")
    settings = contents.header["settings"]
    rows, baseline = summary.summarise(settings, contents.samples), plan.task.baseline(plan.max_new_tokens)
    if as_json:
        json_text.write({"settings": settings, "arms": rows, "baseline": baseline, "note": summary.NOTE})
    else:
        sys.stdout.write(summary_text.render(settings, rows, baseline))
    for path in plan.task.write_outputs(out, settings, contents.samples):
        sys.stderr.write(f"generations for the official harness: {path}\n")
    return int(len(contents.samples) < plan.total)


def _plan(args: argparse.Namespace, chat: bool) -> Plan:
    config, run_code = assignments(args.task_config), args.run_code
    options = TaskOptions(args.data, args.n, args.seed, chat, args.numbers, config=config, run_code=run_code)
    task = make_task(args.task, options)
    parameters = grid.parameter_grid(args.param, args.beta, args.policy)
    temperatures, top_p = args.temperature or [1.0], args.top_p or [1.0]
    if args.sweep == "paper":
        _check_sweep(args, parameters)
        parameters["beta"] = list(grid.PAPER_BETAS)
        temperatures, top_p = grid.PAPER_TEMPERATURES, grid.PAPER_TOP_P
    arms = grid.make_arms(args.policy, parameters, temperatures, top_p)
    arms += grid.longer_arms(arms, args.longer)
    batch = args.batch or (OWN_BATCH if ENGINES[args.engine].batches_itself else BATCH)
    limit = args.max_new_tokens or task.max_new_tokens
    return Plan(task, arms, args.samples, args.seed, limit, batch, MoIConfig.preset(args.preset or "official"))


def _check_sweep(args: argparse.Namespace, parameters: dict[str, list[float]]) -> None:
    given = {"--temperature": args.temperature, "--top-p": args.top_p, "--beta": args.beta}
    for option, values in {**given, "--param beta": parameters.get("beta")}.items():
        if values is not None:
            raise ValueError(
                f"--sweep paper and {option} do not go together; the sweep is of beta, temperature and top-p"
            )


def _settings(args: argparse.Namespace, plan: Plan, folder: Path, given: tuple[str, str], chat: bool) -> dict[str, Any]:
    """What must stay the same when a file is resumed: of `given`, device and dtype, what they mean on this machine."""
    placed = ENGINES[args.engine].placed
    where = dict(zip(("device", "dtype"), placed(*given) if placed else given, strict=True))
    base = {key: value for key, value in plan.base.to_dict().items() if key in ("top_k", "entropy", "prior")}
    mine = {"model": identity(folder), "engine": args.engine, **where, "threads": args.threads, "moi": base}
    return {**mine, **_shared_settings(plan, chat), "batch": plan.batch}


def _shared_settings(plan: Plan, chat: bool) -> dict[str, Any]:
    """Those that do not depend on where a plan is decoded."""
    return {
        "task": plan.task.settings,
        "prompt": "chat" if chat else "plain",
        "arms": [arm.to_dict() | arm.limit(plan.max_new_tokens) for arm in plan.arms],
        "samples": plan.samples,
        "seed": plan.seed,
        "max_new_tokens": plan.max_new_tokens,
    }


def _chat(wanted: str, tokenizer: Any) -> bool:
    has_template = bool(getattr(tokenizer, "chat_template", None))
    if wanted == "chat" and not has_template:
        raise ValueError("--prompt chat: the model's tokenizer has no chat template")
    return wanted == "chat" or (wanted == "auto" and has_template)


def _folder(args: argparse.Namespace) -> Path:
    """The checked model folder; exported and compiled ones are for the engines that read them."""
    folder = engine_folder(args)
    if ENGINES[args.engine].reads == "model":
        load_config(folder, trust_remote_code=bool(args.trust_remote_code))
    return folder


def _check(args: argparse.Namespace) -> None:
    for name, least in (("n", 1), ("samples", 1), ("batch", 1), ("max_new_tokens", 1), ("threads", 1), ("seed", 0)):
        value = getattr(args, name)
        if value is not None and value < least:
            raise ValueError(f"--{name.replace('_', '-')}={value} is not allowed; it must be an integer >= {least}")
