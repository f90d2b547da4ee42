"""What ONNX export and ONNX Runtime cost: export time and memory, ms per token with and without MoI.

    python -m moi_bench.onnx_decode [--model DIR] [--quick]

Without --model it makes random weights in the shape of Qwen3-0.6B. Plain decoding is a graph exported without
the op, not the same graph with the op idle. The graphs and the torch engine take turns token by token, so that
a machine that slows down slows all. Prints one JSON row per measurement; batch 1, greedy, float32 but for int4.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from moi import MoIConfig, json_text
from moi_bench.bad_input import checked
from moi_bench.rows import Row, prepare
from moi_bench.runner import record, shared
from moi_bench.shapes import SHAPES
from moi_engines import Engine, SamplingParams, load_engine

_PROMPT = 32  # tokens
_EXPORT = """
import json, resource, sys, time
from moi_engines.onnx_export import export
from moi_onnx.options import ExportOptions
model, out, settings = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
start = time.perf_counter()
export(model, out, ExportOptions(**settings))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"seconds": time.perf_counter() - start, "peak_bytes": peak}))
"""


def main(argv: list[str] | None = None) -> int:
    """Measure and write the rows; 0 if each could be measured, 2 for bad input."""
    parser = argparse.ArgumentParser(prog="moi_bench.onnx_decode", description="Measure ONNX export and decoding.")
    parser.add_argument("--model", type=Path, help="model folder (default: random weights, Qwen3-0.6B shape)")
    parser.add_argument("--variant", choices=["static", "concat"], default="static")
    parser.add_argument("--max-length", type=int, default=256)
    parser.add_argument("--new-tokens", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="write the rows there")
    parser.add_argument("--int4", action="store_true", help="measure an int4 graph, too")
    parser.add_argument("--quick", action="store_true", help="a tiny model: does the benchmark run?")
    args = parser.parse_args(argv)
    if checked("moi_bench.onnx_decode", lambda: _check(args)) is None:
        return 2
    common = shared(torch.device("cpu"), "transformers", "onnx", "onnxruntime")
    with tempfile.TemporaryDirectory() as scratch:
        record((common | row for row in measure(args, Path(scratch))), args.out, _log)
    return 0


def _check(args: argparse.Namespace) -> argparse.Namespace:
    """ValueError for what cannot be measured, OSError for folders and files that do not do."""
    # A fastest tenth takes two tokens after the first.
    for name, least in (("rounds", 1), ("new_tokens", 3), ("max_length", _PROMPT + args.new_tokens)):
        if getattr(args, name) < least:
            option = name.replace("_", "-")
            raise ValueError(f"--{option}={getattr(args, name)} is not allowed; it must be an integer >= {least}")
    if args.model is not None and not args.model.is_dir():
        raise NotADirectoryError(f"--model {args.model} is no folder")
    prepare(args.out, "onnx")
    return args


def _log(row: Row) -> None:
    sys.stdout.write(json_text.dumps(row) + "\n")
    sys.stdout.flush()


def measure(args: argparse.Namespace, scratch: Path) -> Iterator[Row]:
    """A row for each folder and batch size."""
    from moi_engines.testing import save_tiny_model

    fields = {} if args.quick else SHAPES["qwen3-0.6b"].fields
    model = args.model or save_tiny_model(scratch / "model", "qwen3", **fields)
    settings = {"variant": args.variant, "max_length": args.max_length}
    graphs = {"moi": settings, "plain": settings | {"mixing": False}}
    if args.int4:
        graphs |= {"int4 moi": settings | {"quantize": "int4"}}
    for name, chosen in graphs.items():
        yield _export(model, scratch / name, name, chosen)
    engines = {f"onnxruntime {name}": load_engine("onnxruntime", scratch / name) for name in graphs}
    engines |= {"torch moi": load_engine("torch", model, device="cpu")}
    yield from _decode(engines, args)


def _export(model: Path, out: Path, name: str, settings: Row) -> Row:
    """Export in a process of its own, whose peak memory is the export's."""
    command = [sys.executable, "-c", _EXPORT, str(model), str(out), json.dumps(settings)]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    row: Row = {"measure": "export", "graph": name, **settings, **json.loads(result.stdout.splitlines()[-1])}
    weights = sum(file.stat().st_size for file in Path(model).glob("*.safetensors"))
    return row | {"weights_bytes": weights, "folder_bytes": sum(file.stat().st_size for file in out.iterdir())}


def _decode(engines: dict[str, Engine], args: argparse.Namespace) -> Iterator[Row]:
    """ms per token after the first of engines that take turns token by token: the median and the fastest tenth.

    The fastest tenth tells what the work costs where other programs slow the machine now and then.
    """
    times: dict[str, list[float]] = {name: [] for name in engines}
    tokens: dict[str, list[int]] = {}
    generator = random.Random(0)
    for turn in range(args.rounds + 1):
        clocks = _round(engines, args.new_tokens, tokens, generator)
        for name in engines if turn else ():  # the first round warms up
            times[name] += clocks[name]
    middle = {name: statistics.median(values) for name, values in times.items()}
    fast = {name: statistics.quantiles(values, n=10)[0] for name, values in times.items()}
    for name in engines:
        yield {
            "measure": "decode",
            "engine": name,
            "tokens": len(times[name]),
            "ms_per_token_median": middle[name],
            "ms_per_token_fastest_tenth": fast[name],
            "speed_of_torch_median": middle["torch moi"] / middle[name],
            "speed_of_torch_fastest_tenth": fast["torch moi"] / fast[name],
            "over_plain_median": middle[name] / middle["onnxruntime plain"] - 1,
            "over_plain_fastest_tenth": fast[name] / fast["onnxruntime plain"] - 1,
            "tokens_equal_torch": None if "plain" in name else tokens[name] == tokens["torch moi"],
        }


def _round(
    engines: dict[str, Engine], new_tokens: int, tokens: dict[str, list[int]], generator: random.Random
) -> dict[str, list[float]]:
    """ms of each token but the first; `tokens` receives the ids."""
    sampling = SamplingParams(temperature=0.0, max_new_tokens=new_tokens, ignore_eos=True)
    prompt = [[7 * i % 250 + 2 for i in range(_PROMPT)]]
    streams = {
        name: engine.stream(prompt, sampling, MoIConfig(policy="token" if "plain" in name else "moi"))
        for name, engine in engines.items()
    }
    clocks: dict[str, list[float]] = {name: [] for name in engines}
    for name in engines:
        tokens[name] = []
    for step in range(new_tokens):
        # In a new order each time: a runtime's threads spin for a while after a step and slow whoever is next.
        for name in generator.sample(list(streams), len(streams)):
            start = time.perf_counter()
            event = next(streams[name])
            if step:
                clocks[name].append((time.perf_counter() - start) * 1e3)
            tokens[name].append(event.token_id)
    return clocks


if __name__ == "__main__":
    raise SystemExit(main())
