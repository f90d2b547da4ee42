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
import sys
from collections.abc import Iterator
from typing import Any

import torch

from moi_bench import decode_sides
from moi_bench.bad_input import checked
from moi_bench.decode_sides import Host, rate
from moi_bench.rows import Row, dumps
from moi_bench.runner import record
from moi_bench.sglang_host import host_time
from moi_bench.shapes import SHAPES

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
    decode_sides.add_arguments(parser, _shapes(), "sglang.Engine")
    parser.add_argument("--no-host-time", action="store_true", help="throughput alone")


def main(argv: list[str] | None = None) -> int:
    """As a command of its own: 0, or 2 for bad input."""
    parser = argparse.ArgumentParser(prog="python -m moi_bench.sglang_decode", description=__doc__)
    add_arguments(parser)
    args = parser.parse_args(argv)
    return 2 if checked("moi_bench.sglang_decode", lambda: decode_sides.check(args, "sglang")) is None else run(args)


def run(args: argparse.Namespace) -> int:
    """Measure every shape and batch size; 0 if each has its row."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    args.batch = args.batch or ([1, 32, 128] if device.type == "cuda" else [8])
    if args.side is not None:
        sys.stdout.write("\n" + json.dumps(measure_side(args, device)) + "\n")
        return 0
    hooks: Iterator[Row] = iter(()) if args.no_host_time else host_time(device)
    rows = record(itertools.chain(hooks, decode_sides.compare(args, device, _HOST)), args.out)
    sys.stdout.write(dumps(rows) + "\n")
    return 0


def _config(shape: str) -> dict[str, Any]:
    return {**_COMMON, **SHAPES[shape].fields, "max_position_embeddings": 4096, "eos_token_id": 0}


_HOST = Host("sglang", "moi_bench.sglang_decode", {"SGLANG_PLUGINS": "none"}, _config, TARGETS)


def measure_side(args: argparse.Namespace, device: torch.device) -> dict[str, list[float]]:
    """{batch size: tokens per second of each repeat}."""
    import sglang

    options = {"model_path": args.model, "load_format": "dummy", "skip_tokenizer_init": True, "random_seed": 0}
    options |= {"max_running_requests": max(args.batch), "context_length": 4096, "grammar_backend": "none"}
    options |= _CPU | {"max_total_tokens": 65536} if device.type == "cpu" else {}
    options |= {"enable_moi": True} if args.side == "moi" else {}
    engine = sglang.Engine(**options, **args.options)

    def generate(prompts: list[list[int]], tokens: int) -> None:
        sampling = {"temperature": 0.6, "max_new_tokens": tokens, "ignore_eos": True}
        engine.generate(input_ids=prompts, sampling_params=sampling)

    try:
        return {str(batch): [rate(generate, batch, *args.tokens) for _ in range(args.repeats)] for batch in args.batch}
    finally:
        engine.shutdown()


if __name__ == "__main__":
    sys.exit(main())
