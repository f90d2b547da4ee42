"""`moi generate`: decode prompts, optionally plain and mixed side by side."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from moi import PRESETS, MoIConfig, json_text
from moi_engines import Engine, SamplingParams, load_engine
from moi_engines.chat import ChatPrompt, chat_prompt
from moi_engines.commands.model_arguments import (
    add_engine_arguments,
    add_model_arguments,
    engine_folder,
    engine_options,
)
from moi_engines.commands.policy_arguments import add_policy_arguments, parameters_of
from moi_engines.prompts import read_prompts
from moi_engines.protocol import Prompt, TokenEvent
from moi_engines.request import collect


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of `moi generate`."""
    add_model_arguments(parser)
    add_engine_arguments(parser)
    parser.add_argument("--prompt", action="append", default=[], metavar="TEXT", help="may be given several times")
    parser.add_argument("--prompts-file", metavar="F", help="UTF-8, one prompt a line; - reads standard input")
    parser.add_argument("--chat", action="store_true", help="wrap prompts in the model's chat template")
    add_moi_arguments(parser)
    add_sampling_arguments(parser)
    parser.add_argument("--compare", action="store_true", help="plain decoding beside it, from the same noise")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")


def add_moi_arguments(parser: argparse.ArgumentParser) -> None:
    """How inputs are mixed."""
    group = parser.add_argument_group("mixture of inputs")
    add_policy_arguments(group)
    group.add_argument("--preset", choices=list(PRESETS), default="official")
    group.add_argument("--mix-top-k", type=int, metavar="K", help="candidates in the mixture (default: the preset's)")


def add_sampling_arguments(parser: argparse.ArgumentParser) -> None:
    """How tokens are drawn."""
    group = parser.add_argument_group("sampling")
    group.add_argument("--temperature", type=float, default=1.0, metavar="T", help="0 is greedy (default: 1)")
    group.add_argument("--top-p", type=float, default=1.0, metavar="P")
    group.add_argument("--top-k", type=int, default=0, metavar="N", help="0 keeps all (default)")
    group.add_argument("--min-p", type=float, default=0.0, metavar="P")
    group.add_argument("--seed", type=int, default=0, metavar="S", help="prompt i uses S + i")
    group.add_argument("--max-new-tokens", type=int, default=256, metavar="N")
    group.add_argument("--stop", action="append", default=[], metavar="TEXT", help="may be given several times")


def run(args: argparse.Namespace) -> int:
    """Decode the prompts; 0 if all have their text."""
    config, sampling, prompts = moi_config(args), sampling_params(args), _prompts(args)
    engine = load_engine(args.engine, engine_folder(args), **engine_options(args))
    with closing(engine):
        inputs: Sequence[Prompt] = prompts
        if args.chat:
            chats = _chat(engine.tokenizer, prompts)
            prompts, inputs = [chat.text for chat in chats], [chat.ids for chat in chats]
        plain = None
        if args.compare:
            plain = _decode(engine, inputs, sampling, MoIConfig.from_dict({"policy": "token"}, base=config), args)
        mixed = _decode(engine, inputs, sampling, config, args)
    if args.json:
        json_text.write(as_json(args.engine, config, mixed, plain))
    else:
        from moi_engines import render

        render.show(prompts, config, mixed, plain)
    return 0


def moi_config(args: argparse.Namespace) -> MoIConfig:
    """The settings of --preset with what the other flags change."""
    given = {"policy": args.policy, "top_k": args.mix_top_k, **parameters_of(args)}
    return MoIConfig.preset(args.preset, **{key: value for key, value in given.items() if value is not None})


def sampling_params(args: argparse.Namespace) -> SamplingParams:
    """What the arguments say; ValueError for what no engine takes."""
    return SamplingParams(
        temperature=args.temperature,
        top_p=args.top_p,
        top_k=args.top_k,
        min_p=args.min_p,
        max_new_tokens=args.max_new_tokens,
        stop=tuple(args.stop),
        seed=args.seed,
    )


def as_json(
    engine: str, config: MoIConfig, mixed: list[list[TokenEvent]], plain: list[list[TokenEvent]] | None
) -> dict[str, Any]:
    """What --json prints; `plain` holds the outputs of plain decoding under --compare."""
    result = {"engine": engine, "policy": config.policy, "moi": config.to_dict(), "outputs": _outputs(mixed)}
    return result if plain is None else {**result, "plain": _outputs(plain)}


def _outputs(rows: list[list[TokenEvent]]) -> list[dict[str, Any]]:
    events = [event for row in rows for event in row]
    return [generation.to_dict() for generation in collect(events, len(rows))]


def _prompts(args: argparse.Namespace) -> list[str]:
    prompts: list[str] = list(args.prompt)
    if args.prompts_file is not None:
        prompts += read_prompts(args.prompts_file)
    if not prompts:
        raise ValueError('no prompt; give --prompt TEXT or --prompts-file F (try --prompt "18 7 7 > 67 :")')
    return prompts


def _chat(tokenizer: Any, prompts: list[str]) -> list[ChatPrompt]:
    try:
        return [chat_prompt(tokenizer, prompt) for prompt in prompts]
    except ValueError as error:
        raise ValueError(f"--chat: {error}") from error


def _decode(
    engine: Engine, prompts: Sequence[Prompt], sampling: SamplingParams, config: MoIConfig, args: argparse.Namespace
) -> list[list[TokenEvent]]:
    """All events, by row; progress goes to standard error where somebody reads it."""
    from rich.console import Console
    from rich.progress import Progress

    rows: list[list[TokenEvent]] = [[] for _ in prompts]
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=args.json or not console.is_terminal) as progress:
        task = progress.add_task(config.policy, total=len(prompts) * sampling.max_new_tokens)
        for event in engine.stream(prompts, sampling, config):
            rows[event.row].append(event)
            progress.advance(task)
    return rows
