"""The kernels on this GPU: `python -m moi_bench.kernels_gpu --out DIR`.

Parity of every implementation on the device, replay of a captured decode step, then the op benchmark; JSON for each in
DIR. Needs torch and Triton, and no more: from a checkout, PYTHONPATH=src:benchmarks will do.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from moi import Mixture
from moi.kernels import IMPLEMENTATIONS, Implementation
from moi.testing import CASES, Case, Inputs, assert_embedding, assert_mixture, oracle_embed, oracle_mix
from moi_bench import op
from moi_bench.rows import Row, prepare
from moi_bench.runner import record, shared
from moi_bench.timer import capture

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
WIDTH = 320
PARTS = ("parity", "op")


def main(argv: list[str] | None = None) -> int:
    """0 if all that could run is right; 1 otherwise; 2 without a GPU."""
    parser = argparse.ArgumentParser(prog="python -m moi_bench.kernels_gpu", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for parity.json and op.json")
    parser.add_argument("--part", nargs="+", choices=PARTS, default=PARTS, help="(default: both)")
    parser.add_argument("--suite", choices=sorted(op.SUITES), default="h100")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="implementations (default: all)")
    parser.add_argument("--case", nargs="+", choices=[case.name for case in CASES], help="of parity (default: all)")
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="cpu: a rehearsal")
    args = parser.parse_args(argv)
    if args.device == "cuda" and not torch.cuda.is_available():
        sys.stderr.write(
            "moi_bench.kernels_gpu needs a CUDA GPU that torch can see; `moi bench op` measures on a CPU\n"
        )
        return 2
    for part in args.part:
        prepare(args.out / f"{part}.json", part)
    wrong = _parity(args) if "parity" in args.part else 0
    return max(_speed(args) if "op" in args.part else 0, wrong)


def _parity(args: argparse.Namespace) -> int:
    """1 if a check found something wrong."""
    rows = record(check_all(torch.device(args.device), args.case, args.only), args.out / "parity.json")
    bad = [row for row in rows if row["status"] == "wrong"]
    for row in bad:
        sys.stdout.write(f"{row['implementation']} {row['check']} {row['case']} {row['dtype']}: {row['reason']}\n")
    sys.stdout.write(f"{sum(row['status'] == 'ok' for row in rows)} checks right, {len(bad)} wrong\n")
    return int(bool(bad))


def _speed(args: argparse.Namespace) -> int:
    """1 if an implementation gave wrong results."""
    return op.run(
        argparse.Namespace(suite=args.suite, out=args.out / "op.json", json=False, only=args.only, repeats=args.repeats)
    )


def check_all(device: torch.device, names: list[str] | None = None, only: list[str] | None = None) -> Iterator[Row]:
    """A row for every implementation (or those in `only`), case (or those in `names`), type and kind of check."""
    cases = [case for case in CASES if names is None or case.name in names]
    common, captures = {**shared(device), "kind": "parity"}, device.type == "cuda"
    for name in [each for each in IMPLEMENTATIONS if only is None or each in only]:
        use: Implementation = IMPLEMENTATIONS[name]
        if reason := use.unavailable(device):
            yield {**common, "implementation": name, "status": "unavailable", "reason": reason}
            continue
        for case in cases:
            for dtype in DTYPES:
                for check in (_eager, _replayed) if case.rows and name == "triton" and captures else (_eager,):
                    row = {**common, "implementation": name, "check": check.__name__.strip("_")}
                    yield {**row, "case": case.name, "dtype": str(dtype), **_verdict(check, use, case, dtype, device)}


def _verdict(check: object, use: Implementation, case: Case, dtype: torch.dtype, device: torch.device) -> Row:
    assert callable(check)
    try:
        check(use, case, dtype, device)
    except Exception as error:  # every case gets its row
        return {"status": "wrong", "reason": f"{type(error).__name__}: {error}"}
    return {"status": "ok", "reason": None}


def _eager(use: Implementation, case: Case, dtype: torch.dtype, device: torch.device) -> None:
    inputs = case.inputs(dtype)
    table = case.table(WIDTH, dtype)
    _compare(_step(use, case, inputs.to(device), table.to(device)), inputs, case, table)


def _replayed(use: Implementation, case: Case, dtype: torch.dtype, device: torch.device) -> None:
    """A captured step sees inputs that changed after the capture."""
    static, table = case.inputs(dtype).to(device), case.table(WIDTH, dtype)
    weights = table.to(device)
    results: list[tuple[Mixture, Tensor]] = []
    graph = capture([lambda: results.append(_step(use, case, static, weights))])
    for seed in (1, 2):
        changed = case.inputs(dtype, seed)
        static.copy_(changed)
        graph.replay()
        torch.cuda.synchronize()
        _compare(results[-1], changed, case, table)


def _step(use: Implementation, case: Case, inputs: Inputs, table: Tensor) -> tuple[Mixture, Tensor]:
    config = case.config
    mixture = use.mix(*inputs, config.top_k, config.entropy, config.prior)
    out = table.new_empty(case.rows, table.shape[1])
    use.embed(mixture.ids, mixture.weights, table, 0, case.vocab, out)
    return mixture, out


def _compare(found: tuple[Mixture, Tensor], inputs: Inputs, case: Case, table: Tensor) -> None:
    mixture = Mixture(*(each.cpu() for each in found[0]))
    assert_mixture(mixture, oracle_mix(inputs, case.config))
    assert_embedding(found[1], oracle_embed(mixture, table))


if __name__ == "__main__":
    sys.exit(main())
