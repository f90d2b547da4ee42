"""Decoding in SGLang with and without the plugin, in one run: throughput, and the plugin's host time per step.

On a laptop, with a tiny model:      python -m moi_bench.sglang_decode
On an H100-class GPU, dummy weights: python -m moi_bench.sglang_decode --shape qwen2.5-1.5b qwq-32b --out sglang.json

Every side runs in a process of its own, `--rounds` times in turn, and the ratio is taken within each turn. A batch is
generated at two lengths; the difference is decoding alone. "plain" is SGLang without the plugin, "moi" mixes all.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

from moi_bench.rows import Row, dumps, prepare
from moi_bench.runner import TOKENS, ratio, record, shared, turns
from moi_bench.sglang_host import host_time
from moi_bench.shapes import SHAPES

SIDES = ("plain", "moi")
TARGETS = {"qwq-32b": 0.99, "qwen2.5-1.5b": 0.97}  # of the throughput without the plugin
_COMMON = {
    "rms_norm_eps": 1e-6,
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "hidden_act": "silu",
    "rope_theta": 1e6,
}
_CPU = {"device": "cpu", "attention_backend": "torch_native", "disable_cuda_graph": True, "dtype": "float32"}


def _shapes() -> list[str]:
    """Those of the architecture whose configuration is written here."""
    return sorted(name for name, shape in SHAPES.items() if shape.architecture == "qwen2")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of the command."""
    parser.add_argument("--shape", nargs="+", choices=_shapes(), default=["tiny"], help="(default: tiny)")
    parser.add_argument("--batch", type=int, nargs="+", help="rows (default: 1 32 128, on a CPU 8)")
    parser.add_argument("--tokens", type=int, nargs=2, default=(32, 288), help="the two lengths (default: 32 288)")
    parser.add_argument("--rounds", type=int, default=2, help="starts of each side (default: 2)")
    parser.add_argument("--repeats", type=int, default=3, help="measurements in each start (default: 3)")
    parser.add_argument("--options", type=json.loads, default={}, metavar="JSON", help="more options of sglang.Engine")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="write the rows there")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--model", help=argparse.SUPPRESS)


def main(argv: list[str] | None = None) -> int:
    """As a command of its own."""
    parser = argparse.ArgumentParser(prog="python -m moi_bench.sglang_decode", description=__doc__)
    add_arguments(parser)
    return run(parser.parse_args(argv))


def run(args: argparse.Namespace) -> int:
    """Measure every shape and batch size; 0 if each has its row."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    args.batch = args.batch or ([1, 32, 128] if device.type == "cuda" else [8])
    if args.side is not None:
        sys.stdout.write("\n" + json.dumps(measure_side(args, device)) + "\n")
        return 0
    prepare(args.out, "sglang")
    rows = record(itertools.chain(host_time(device), compare(args, device)), args.out)
    sys.stdout.write(dumps(rows) + "\n")
    return 0


def compare(args: argparse.Namespace, device: torch.device) -> Iterator[Row]:
    """For each shape and batch size: output tokens per second of both sides, and their ratio."""
    common = {**shared(device, "sglang"), "what": "decode throughput"}
    for shape in args.shape:
        with tempfile.TemporaryDirectory() as folder:
            config = {**_COMMON, **SHAPES[shape].fields, "max_position_embeddings": 4096, "eos_token_id": 0}
            Path(folder, "config.json").write_text(json.dumps(config))
            sides = {side: partial(_in_own_process, args, side, folder) for side in SIDES}
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
                "target_ratio": TARGETS.get(shape),
            }


def _in_own_process(args: argparse.Namespace, side: str, model: str, _: int) -> dict[str, list[float]]:
    command = [sys.executable, "-m", "moi_bench.sglang_decode", "--side", side, "--model", model]
    command += ["--batch", *map(str, args.batch), "--tokens", *map(str, args.tokens), "--repeats", str(args.repeats)]
    command += ["--options", json.dumps(args.options)]
    env = {**os.environ, "SGLANG_PLUGINS": "none"} if side == "plain" else dict(os.environ)
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"the {side} side ended with status {done.returncode}")
    measured: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return measured


def measure_side(args: argparse.Namespace, device: torch.device) -> dict[str, list[float]]:
    """{batch size: tokens per second of each repeat}."""
    import sglang

    options = {"model_path": args.model, "load_format": "dummy", "skip_tokenizer_init": True, "random_seed": 0}
    options |= {"max_running_requests": max(args.batch), "context_length": 4096, "grammar_backend": "none"}
    options |= _CPU | {"max_total_tokens": 65536} if device.type == "cpu" else {}
    options |= {"enable_moi": True} if args.side == "moi" else {}
    engine = sglang.Engine(**options, **args.options)
    try:
        return {str(batch): [_rate(engine, batch, *args.tokens) for _ in range(args.repeats)] for batch in args.batch}
    finally:
        engine.shutdown()


def _rate(engine: Any, batch: int, few: int, many: int) -> float:
    rng = random.Random(0)
    prompts = [[rng.randrange(1, 500) for _ in range(64)] for _ in range(batch)]
    seconds = []
    for tokens in (few, few, many):  # the first warms up
        start = time.perf_counter()
        engine.generate(
            input_ids=prompts, sampling_params={"temperature": 0.6, "max_new_tokens": tokens, "ignore_eos": True}
        )
        seconds.append(time.perf_counter() - start)
    return batch * (many - few) / (seconds[2] - seconds[1])


if __name__ == "__main__":
    sys.exit(main())
