"""Decoding in SGLang with and without the plugin, in one run: throughput, and the plugin's host time per step.

On a laptop, with a tiny model:      python -m moi_bench.sglang_decode
On an H100-class GPU, dummy weights: python -m moi_bench.sglang_decode --shape qwen2.5-1.5b qwq-32b --out sglang.json

Every side runs in a process of its own, `--rounds` times in turn. A batch is generated at two lengths; the difference
is decoding alone. "plain" is SGLang without the plugin, "moi" mixes every request.
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
from types import SimpleNamespace
from typing import Any

import torch

from moi_bench.rows import Row, dumps, environment, prepare, version, write
from moi_bench.timer import measure

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
    prepare(args.out)
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
            ratio = medians["moi"] / medians["plain"]
            step = {side: batch / rate * 1e6 for side, rate in medians.items()}
            yield {
                **{**shared, "shape": shape, "batch": batch, "tokens_per_second": medians, "ratio": ratio},
                **{"step_us": step, "added_us": step["moi"] - step["plain"], "target_ratio": TARGETS.get(shape)},
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


class HostStep:
    """The hooks of one decode step of `batch` mixed requests, called as SGLang calls them."""

    def __init__(self, device: torch.device, batch: int, vocab: int, width: int) -> None:
        from moi_sglang.batch import Batches
        from moi_sglang.embedding import Embedding
        from moi_sglang.metrics import Metrics
        from moi_sglang.note import Note, attach
        from moi_sglang.runtime import Runtime
        from moi_sglang.sampling import Sampling
        from moi_sglang.settings import ServerSettings

        self.runtime = Runtime(ServerSettings(), Metrics())
        self.sampling, self.batches = Sampling(self.runtime), Batches(self.runtime)
        self.table = torch.nn.Embedding(vocab, width, device=device).requires_grad_(False)
        self.lookup = self.table.forward
        self.runner = SimpleNamespace(
            is_draft_worker=False,
            device=device,
            model=SimpleNamespace(get_input_embeddings=lambda: self.table),
            model_config=SimpleNamespace(vocab_size=vocab),
            req_to_token_pool=SimpleNamespace(req_to_token=torch.empty(batch + 1, 1)),
        )
        Embedding(self.runtime).model_loaded(None, self.runner)
        self.runtime.pool_allocated(None, self.runner)
        self.runtime.tables.policy.fill_(1)
        self.runtime.tables.beta.fill_(1)
        slots = torch.arange(1, batch + 1, device=device)
        self.logits = torch.randn(batch, vocab, device=device)
        self.tokens = self.logits.argmax(-1)
        self.info = SimpleNamespace(temperatures=torch.ones(batch, 1, device=device))
        mode = SimpleNamespace(is_decode=lambda: True, is_extend=lambda: False)
        self.forward = SimpleNamespace(
            req_pool_indices=slots, seq_lens=slots + 9, positions=slots + 9, forward_mode=mode
        )
        attach(self.forward, Note(watched=True))
        self.runtime.batch = self.forward
        self.output = SimpleNamespace(next_token_logits=self.logits, auxiliary_device_output=None)
        self.requests = [_request() for _ in range(batch)]
        self.commits = [SimpleNamespace(token_ids=(int(token),), output_index=0) for token in self.tokens]

    def sample(self) -> None:
        self.sampling.sample(self._sampler, self.runner, self.output, self.forward)

    def _sampler(self, runner: Any, output: Any, forward: Any) -> torch.Tensor:
        self.sampling.logits_final(None, None, self.logits, self.info)
        output.auxiliary_device_output = None
        return self.tokens

    def embed(self) -> None:
        self.table.forward(self.tokens)

    def batch(self) -> None:
        self.batches.made(
            self.forward, None, SimpleNamespace(forward_mode=self.forward.forward_mode, beam_tail=None), self.runner
        )

    def records(self) -> None:
        from moi_sglang.telemetry import HostRecords

        rows = self.runtime.tables.mixtures[1:].cpu()
        HostRecords(rows, self.runtime.metrics).consume(SimpleNamespace(reqs=self.requests), self.commits)

    def mix_op(self) -> None:
        tables = self.runtime.tables
        torch.ops.moi.mix(
            *(self.logits, self.tokens, tables.beta[1:], self.info.temperatures.view(-1), tables.policy[1:]),
            *(20, "support", "raw", "auto"),
        )

    def embed_op(self) -> None:
        from moi_sglang.tables import ids_of, weights_of

        rows, table = self.runtime.tables.mixtures[1:], self.table.weight
        torch.ops.moi.embed(ids_of(rows), weights_of(rows), table, 0, len(table), "auto")


def host_time(device: torch.device, batch: int = 8, vocab: int = 512, width: int = 64) -> Iterator[Row]:
    """What the hooks of one decode step cost the host, and how much of it is in the two ops of `moi`."""
    shared = {**environment(device), "sglang": version("sglang"), "what": "host time per decode step", "batch": batch}
    with torch.inference_mode():
        step = HostStep(device, batch, vocab, width)
        step.sample()
        plain = measure([lambda: step.lookup(step.tokens)], torch.device("cpu"), 500).median_us
        pieces = (step.sample, step.embed, step.batch, step.records, step.mix_op, step.embed_op)
        timings = {call.__name__: measure([call], torch.device("cpu"), 500) for call in pieces}
    for name, timing in timings.items():
        yield {**shared, "piece": name, **timing._asdict()}
    total = sum(timings[name].median_us for name in ("sample", "embed", "batch", "records")) - plain
    ops = timings["mix_op"].median_us + timings["embed_op"].median_us
    yield {**shared, "piece": "total", "median_us": total, "without_ops_us": total - ops, "target_us": 150}


def _request() -> Any:
    from moi_sglang.history import RequestState
    from moi_sglang.settings import RequestSettings

    return SimpleNamespace(moi=RequestState(RequestSettings("moi", 1.0), -1), customized_info=None)


if __name__ == "__main__":
    sys.exit(main())
