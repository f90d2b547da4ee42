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
from pathlib import Path
from typing import Any

import torch

from moi_bench.rows import Row, dumps, prepare, write
from moi_bench.sglang_host import host_time
from moi_bench.timer import summarise
from moi_eval.environment import environment, version

SIDES = ("plain", "moi")
# Public shapes of Qwen/QwQ-32B and Qwen/Qwen2.5-1.5B.
SHAPES: dict[str, dict[str, Any]] = {
    "qwq-32b": {
        **{"hidden_size": 5120, "intermediate_size": 27648, "num_hidden_layers": 64, "num_attention_heads": 40},
        **{"num_key_value_heads": 8, "vocab_size": 152064, "rms_norm_eps": 1e-5, "tie_word_embeddings": False},
    },
    "qwen2.5-1.5b": {
        **{"hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28, "num_attention_heads": 12},
        **{"num_key_value_heads": 2, "vocab_size": 151936, "rms_norm_eps": 1e-6, "tie_word_embeddings": True},
    },
    "tiny": {
        **{"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4},
        **{"num_key_value_heads": 2, "vocab_size": 512, "rms_norm_eps": 1e-6, "tie_word_embeddings": True},
    },
}
TARGETS = {"qwq-32b": 0.99, "qwen2.5-1.5b": 0.97}  # of the throughput without the plugin
_COMMON = {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_act": "silu", "rope_theta": 1e6}
_CPU = {"device": "cpu", "attention_backend": "torch_native", "disable_cuda_graph": True, "dtype": "float32"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--shape", nargs="+", choices=sorted(SHAPES), default=["tiny"], help="(default: tiny)")
    parser.add_argument("--batch", type=int, nargs="+", help="rows (default: 1 32 128, on a CPU 8)")
    parser.add_argument("--tokens", type=int, nargs=2, default=(32, 288), help="the two lengths (default: 32 288)")
    parser.add_argument("--rounds", type=int, default=2, help="starts of each side (default: 2)")
    parser.add_argument("--repeats", type=int, default=3, help="measurements in each start (default: 3)")
    parser.add_argument("--options", type=json.loads, default={}, metavar="JSON", help="more options of sglang.Engine")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="write the rows there")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--model", help=argparse.SUPPRESS)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m moi_bench.sglang_decode", description=__doc__)
    add_arguments(parser)
    return run(parser.parse_args(argv))


def run(args: argparse.Namespace) -> int:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    args.batch = args.batch or ([1, 32, 128] if device.type == "cuda" else [8])
    if args.side is not None:
        sys.stdout.write("\n" + json.dumps(measure_side(args, device)) + "\n")
        return 0
    prepare(args.out, "sglang")
    rows = list[Row]()
    for row in itertools.chain(host_time(device), compare(args, device)):
        rows.append(row)
        write(args.out, rows)
    sys.stdout.write(dumps(rows) + "\n")
    return 0


def compare(args: argparse.Namespace, device: torch.device) -> Iterator[Row]:
    """For each shape and batch size: output tokens per second of both sides, and their ratio."""
    shared = {**environment(device), "sglang": version("sglang"), "what": "decode throughput"}
    for shape in args.shape:
        with tempfile.TemporaryDirectory() as folder:
            config = {**_COMMON, **SHAPES[shape], "max_position_embeddings": 4096, "eos_token_id": 0}
            Path(folder, "config.json").write_text(json.dumps(config))
            rates: dict[str, list[dict[str, list[float]]]] = {side: [] for side in SIDES}
            for _ in range(args.rounds):
                for side in SIDES:
                    rates[side].append(_in_own_process(side, folder, args))
        for batch in args.batch:
            medians = {
                side: statistics.median(rate for found in rates[side] for rate in found[str(batch)]) for side in SIDES
            }
            turns = [
                statistics.median(found[str(batch)]) / statistics.median(plain[str(batch)])
                for found, plain in zip(rates["moi"], rates["plain"], strict=True)
            ]
            ratio, low, high = summarise(turns)
            step = {side: batch / rate * 1e6 for side, rate in medians.items()}
            yield {
                **{**shared, "shape": shape, "batch": batch, "tokens_per_second": medians, "ratio": ratio},
                **{"ratio_p10": low, "ratio_p90": high, "turns": len(turns)},
                **{"step_us": step, "added_us": step["plain"] * (1 / ratio - 1), "target_ratio": TARGETS.get(shape)},
            }


def _in_own_process(side: str, model: str, args: argparse.Namespace) -> dict[str, list[float]]:
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
