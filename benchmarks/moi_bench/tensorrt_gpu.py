"""`python -m moi_bench.tensorrt_gpu`: the plugin's AOT kernel on this GPU, without TensorRT.

The PTX that engines carry is loaded and launched by the CUDA driver with the plugin's own launch plan and
argument order, compared with the reference in three types, then timed. Dims: B rows, T positions, S slots,
V vocabulary, D width.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from moi import json_text
from moi.files import check_file, write_file
from moi.mixture import embed
from moi.testing import assert_embedding
from moi_bench.timer import measure
from moi_tensorrt import driver
from moi_tensorrt.kernels import ARCHITECTURE, compile_kernel
from moi_tensorrt.plan import DTYPES, Launch, launch, tactics

TORCH = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
Enqueue = Callable[[Launch, Sequence[Tensor], Tensor], None]


class Shape(NamedTuple):
    """Of mixtures and the table that they are embedded from."""

    batch: int
    positions: int
    slots: int
    vocab: int
    width: int


# Decode steps with the official preset, one with the paper's, a prompt, and widths that no vector divides.
CHECKED = (
    Shape(1, 1, 21, 32_000, 4096),
    Shape(64, 1, 21, 151_936, 1024),
    Shape(8, 1, 65, 32_000, 2560),
    Shape(1, 512, 1, 32_000, 4096),
    Shape(3, 2, 5, 1000, 30),
    Shape(2, 1, 3, 50, 1),
)
TIMED = (Shape(1, 1, 21, 151_936, 4096), Shape(8, 1, 21, 151_936, 4096), Shape(64, 1, 21, 151_936, 4096))
_COPIES = 8  # of the inputs, used in turn, so that the rows do not simply stay in the cache


def mixtures(shape: Shape, dtype: torch.dtype, device: torch.device, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """ids int32 [B,T,S], weights float32 [B,T,S] that sum to 1, table [V,D]; the last slot weighs nothing."""
    generator = torch.Generator().manual_seed(seed)
    slots = shape[:3]
    ids = torch.randint(shape.vocab, slots, generator=generator, dtype=torch.int32)
    weights = torch.rand(slots, generator=generator)
    if shape.slots > 1:
        weights[..., -1] = 0
    weights /= weights.sum(-1, keepdim=True)
    on_device = torch.Generator(device).manual_seed(seed)  # tables are large
    table = torch.randn(shape.vocab, shape.width, generator=on_device, device=device).to(dtype)
    return ids.to(device), weights.to(device), table


def reference(ids: Tensor, weights: Tensor, table: Tensor) -> Tensor:
    """x [B,T,D] by `moi.mixture.embed`."""
    rows, slots = ids.shape[0] * ids.shape[1], ids.shape[2]
    x = embed(ids.view(rows, slots), weights.view(rows, slots), table, 0, table.shape[0])
    return x.view(*ids.shape[:2], table.shape[1])


def verify(enqueue: Enqueue, device: torch.device, shapes: Sequence[Shape] = CHECKED) -> int:
    """Compare every type and tactic with the reference; the number of comparisons. AssertionError if one fails."""
    done = 0
    for shape in shapes:
        for name in DTYPES:
            inputs = mixtures(shape, TORCH[name], device)
            expected = reference(*inputs)
            for tactic in tactics(name, shape.width):
                out = torch.full_like(expected, math.nan)
                enqueue(launch(name, inputs[0].shape, inputs[2].shape, tactic), inputs, out)
                assert_embedding(out, expected)
                done += 1
    return done


def gpu_enqueue(architecture: str) -> Enqueue:
    """Launches on PyTorch's current stream, in the order the plugin's PTX expects."""
    ptx = compile_kernel(architecture)
    torch.zeros(1, device="cuda")  # PyTorch makes the context that the driver calls use
    loaded: dict[str, int] = {}

    def enqueue(plan: Launch, inputs: Sequence[Tensor], output: Tensor) -> None:
        if plan.kernel not in loaded:
            loaded[plan.kernel] = driver.load_kernel(ptx, plan.kernel)
        stream = torch.cuda.current_stream().cuda_stream
        addresses = [tensor.data_ptr() for tensor in inputs]
        driver.enqueue(loaded[plan.kernel], plan, addresses, [output.data_ptr()], stream)

    return enqueue


def timings(enqueue: Enqueue, device: torch.device, shapes: Sequence[Shape], repeats: int) -> list[dict[str, Any]]:
    """Median microseconds of each tactic and of the reference, and the rate at which table rows are read."""
    found = []
    for shape in shapes:
        for name in DTYPES:
            table = mixtures(shape, TORCH[name], device)[2]
            mixed = [mixtures(shape._replace(width=1), TORCH[name], device, seed)[:2] for seed in range(_COPIES)]
            plain = [partial(reference, ids, weights, table) for ids, weights in mixed]
            entry = {**shape._asdict(), "type": name, "reference_us": measure(plain, device, repeats).median_us}
            read = sum(int((weights != 0).sum()) for _, weights in mixed) / _COPIES * shape.width * table.element_size()
            for tactic in tactics(name, shape.width):
                plan = launch(name, mixed[0][0].shape, table.shape, tactic)
                out = torch.empty(shape.batch, shape.positions, shape.width, dtype=table.dtype, device=device)
                calls = [partial(enqueue, plan, (ids, weights, table), out) for ids, weights in mixed]
                median = measure(calls, device, repeats).median_us
                entry |= {f"{plan.kernel}_us": median, f"{plan.kernel}_gb_s": read / median / 1e3}
            found.append(entry)
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """0 if the plugin is right; 1 otherwise; 2 without a GPU."""
    parser = argparse.ArgumentParser(prog="python -m moi_bench.tensorrt_gpu", description=__doc__)
    parser.add_argument("--architecture", default=ARCHITECTURE, help="of the PTX, e.g. compute_80")
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    args = parser.parse_args(argv)
    if not torch.cuda.is_available():
        sys.stderr.write("moi_bench.tensorrt_gpu needs an NVIDIA GPU, and PyTorch finds none here\n")
        return 2
    if args.json is not None:
        check_file(args.json, _is_report, "a report of moi_bench.tensorrt_gpu", "--json")
    device, enqueue = torch.device("cuda"), gpu_enqueue(args.architecture)
    report: dict[str, Any] = {"device": torch.cuda.get_device_name(), "architecture": args.architecture}
    report["compared"] = verify(enqueue, device)
    report["timings"] = timings(enqueue, device, TIMED, args.repeats)
    text = json_text.dumps(report, indent=2) + "\n"
    if args.json is not None:
        write_file(args.json, text, _is_report, "a report of moi_bench.tensorrt_gpu", "--json")
    sys.stdout.write(text)
    return 0


def _is_report(path: Path) -> bool:
    return {"architecture", "compared", "timings"} <= set(json.loads(path.read_bytes()))


if __name__ == "__main__":
    sys.exit(main())
