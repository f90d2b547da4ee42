"""Decoding in vLLM with and without the plugin, in one run: throughput, and the plugin's host time per step.

The plugin's host time, on any machine: python -m moi_bench.vllm_decode --host-time
On an H100-class GPU, dummy weights:    python -m moi_bench.vllm_decode --shape qwen3-0.6b qwq-32b --out vllm.json

Graphs and asynchronous scheduling are as vLLM has them by default. Every side runs in a process of its own, `--rounds`
times in turn, and the ratio is taken within each turn. "plain" is vLLM without the plugin, "moi" mixes all. With
--idle the second side has the plugin on, and every request decodes plainly.
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
from moi_bench.shapes import SHAPES
from moi_bench.vllm_host import host_time

TARGETS = {"qwen3-8b": 0.99}  # of the throughput without the plugin
IDLE_TARGET = 0.996
_ARCHITECTURES = {"qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}
_COMMON = {"rms_norm_eps": 1e-6, "hidden_act": "silu", "rope_theta": 1e6, "torch_dtype": "bfloat16", "eos_token_id": 0}


def _shapes() -> list[str]:
    return sorted(name for name, shape in SHAPES.items() if shape.architecture in _ARCHITECTURES)


def _config(shape: str) -> dict[str, Any]:
    model = SHAPES[shape]
    named = {"model_type": model.architecture, "architectures": [_ARCHITECTURES[model.architecture]]}
    return {**_COMMON, **named, **model.fields, "max_position_embeddings": 4096}


_HOST = Host("vllm", "moi_bench.vllm_decode", {"VLLM_PLUGINS": "none"}, _config, TARGETS)


def main(argv: list[str] | None = None) -> int:
    """As a command of its own: 0, or 2 for bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m moi_bench.vllm_decode", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    decode_sides.add_arguments(parser, _shapes(), "vLLM's EngineArgs")
    parser.add_argument("--host-time", action="store_true", help="the plugin's host time alone")
    parser.add_argument(
        "--idle", action="store_true", help=f"the plugin on, every request plain (target {IDLE_TARGET})"
    )
    args = parser.parse_args(argv)
    return 2 if checked("moi_bench.vllm_decode", lambda: decode_sides.check(args, "vllm")) is None else run(args)


def run(args: argparse.Namespace) -> int:
    """Measure every shape and batch size; 0 if each has its row."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    args.batch = args.batch or ([1, 32, 128] if device.type == "cuda" else [8])
    if args.side is not None:
        sys.stdout.write("\n" + json.dumps(measure_side(args)) + "\n")
        return 0
    if args.idle:
        args.options["additional_config"] = {"moi": {"policy": "token"}}
    throughput: Iterator[Row] = iter(()) if args.host_time else decode_sides.compare(args, device, _HOST)
    idle = {"idle": True, "target_ratio": IDLE_TARGET} if args.idle else {}
    measured = itertools.chain(host_time(device), ({**row, **idle} for row in throughput))
    rows = ({"kind": "vllm", **row} for row in measured)
    sys.stdout.write(dumps(record(rows, args.out)) + "\n")
    return 0


def measure_side(args: argparse.Namespace) -> dict[str, list[float]]:
    """{batch size: tokens per second of each repeat}."""
    from vllm import LLM, SamplingParams

    options = {"load_format": "dummy", "skip_tokenizer_init": True, "seed": 0, "max_model_len": 4096}
    options |= {"max_num_seqs": max(args.batch), "enable_prefix_caching": False, "disable_log_stats": True}
    options |= {"additional_config": {"moi": {"beta": 1.0}}} if args.side == "moi" else {}
    llm = LLM(args.model, **{**options, **args.options})

    def generate(prompts: list[list[int]], tokens: int) -> None:
        sampling = SamplingParams(temperature=0.6, max_tokens=tokens, ignore_eos=True, detokenize=False)
        llm.generate([{"prompt_token_ids": prompt} for prompt in prompts], sampling, use_tqdm=False)

    return {str(batch): [rate(generate, batch, *args.tokens) for _ in range(args.repeats)] for batch in args.batch}


if __name__ == "__main__":
    sys.exit(main())
