"""Decoding in a host's server without and with the plugin: each side in a process of its own, in turn.

A batch is generated at two lengths; the difference is decoding alone. The ratio is taken within each turn.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from moi_bench.rows import Row, prepare
from moi_bench.runner import TOKENS, ratio, shared, turns

SIDES = ("plain", "moi")
PROMPT = 64  # tokens


@dataclass(frozen=True)
class Host:
    """library   whose version rows name
    module    measures a side, as a command: python -m MODULE --side SIDE --model FOLDER ...
    plain     the environment in which the plugin is not loaded
    config    shape -> the configuration of the model that is served with dummy weights
    targets   shape -> of the throughput without the plugin
    """

    library: str
    module: str
    plain: Mapping[str, str]
    config: Callable[[str], dict[str, Any]]
    targets: Mapping[str, float]


def add_arguments(parser: argparse.ArgumentParser, shapes: list[str], options: str) -> None:
    """Of a command that compares."""
    parser.add_argument("--shape", nargs="+", choices=shapes, default=["tiny"], help="(default: tiny)")
    parser.add_argument("--batch", type=int, nargs="+", help="rows (default: 1 32 128, on a CPU 8)")
    parser.add_argument("--tokens", type=int, nargs=2, default=(32, 288), help="the two lengths (default: 32 288)")
    parser.add_argument("--rounds", type=int, default=2, help="starts of each side (default: 2)")
    parser.add_argument("--repeats", type=int, default=3, help="measurements in each start (default: 3)")
    parser.add_argument("--options", type=json.loads, default={}, metavar="JSON", help=f"more options of {options}")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="write the rows there")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--model", help=argparse.SUPPRESS)


def check(args: argparse.Namespace, kind: str) -> argparse.Namespace:
    """The same options; ValueError for what cannot be measured, OSError unless --out is free or has rows of `kind`."""
    for name, values in (("batch", args.batch or [1]), ("rounds", [args.rounds]), ("repeats", [args.repeats])):
        if min(values) < 1:
            raise ValueError(f"--{name}={min(values)} is not allowed; it must be an integer >= 1")
    few, many = args.tokens
    if not 1 <= few < many:
        raise ValueError(f"--tokens {few} {many} is not allowed; the first must be >= 1, the second greater")
    if not isinstance(args.options, dict):
        raise ValueError(f"--options={json.dumps(args.options):.80} is not allowed; it must be a JSON object")
    prepare(args.out, kind)
    return args


def compare(args: argparse.Namespace, device: torch.device, host: Host) -> Iterator[Row]:
    """For each shape and batch size: output tokens per second of both sides, and their ratio."""
    common = {**shared(device, host.library), "what": "decode throughput"}
    for shape in args.shape:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "config.json").write_text(json.dumps(host.config(shape)))
            sides = {side: partial(_in_own_process, args, host, side, folder) for side in SIDES}
            rates = turns(sides, args.rounds, warm_up=False)  # each process warms itself up
        for batch in args.batch:
            medians = {
                side: statistics.median(rate for found in rates[side] for rate in found[str(batch)]) for side in SIDES
            }
            middle = {side: [{TOKENS: statistics.median(found[str(batch)])} for found in rates[side]] for side in SIDES}
            found = ratio(middle["moi"], middle["plain"])
            step = {side: batch / rate * 1e6 for side, rate in medians.items()}
            yield {
                **{**common, "shape": shape, "batch": batch, "tokens_per_second": medians, "ratio": found["median"]},
                **{"ratio_p10": found["p10"], "ratio_p90": found["p90"], "turns": found["turns"]},
                **{"step_us": step, "added_us": step["plain"] * (1 / found["median"] - 1)},
                "target_ratio": host.targets.get(shape),
            }


def _in_own_process(args: argparse.Namespace, host: Host, side: str, model: str, _: int) -> dict[str, list[float]]:
    command = [sys.executable, "-m", host.module, "--side", side, "--model", model]
    command += ["--batch", *map(str, args.batch), "--tokens", *map(str, args.tokens), "--repeats", str(args.repeats)]
    command += ["--options", json.dumps(args.options)]
    env = {**os.environ, **host.plain} if side == "plain" else dict(os.environ)
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{host.module}: the {side} side ended with status {done.returncode}; why stands above")
    measured: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return measured


def rate(generate: Callable[[list[list[int]], int], object], batch: int, few: int, many: int) -> float:
    """Tokens per second of `generate(prompts, tokens)`."""
    rng = random.Random(0)
    prompts = [[rng.randrange(1, 500) for _ in range(PROMPT)] for _ in range(batch)]
    seconds = []
    for tokens in (few, few, many):  # the first warms up
        start = time.perf_counter()
        generate(prompts, tokens)
        seconds.append(time.perf_counter() - start)
    return batch * (many - few) / (seconds[2] - seconds[1])
