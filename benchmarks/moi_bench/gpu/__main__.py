"""The one command for a machine with a GPU: `python -m moi_bench.gpu --out DIR`.

Checks and measures, in order of worth and within --minutes, what needs a GPU: each step in a process of its own, its
results in DIR as they come, a table at the end and in DIR/summary.md. What is missing is skipped with its reason. The
same command again repeats what did not finish. Needs torch and Triton; SGLang from --site or installed.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch

from moi_bench.bad_input import checked
from moi_bench.gpu import environment, summary
from moi_bench.gpu.day import Day
from moi_bench.gpu.environment import Place
from moi_bench.gpu.jobs import jobs
from moi_bench.gpu.plan import STEPS
from moi_eval.environment import environment as described


def main(argv: list[str] | None = None) -> int:
    """0 if no step failed, 1 if one did, 2 for bad input or without a GPU, 130 after Ctrl-C."""
    given = sys.argv[1:] if argv is None else argv
    args = _parser().parse_args(given)
    day = checked("moi_bench.gpu", lambda: _day(args, given))
    if day is None:
        return 2
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever ends it gets the table, too
    status = 0
    try:
        day.run(args.step)
    except KeyboardInterrupt:
        status = 130
    finally:
        signal.signal(signal.SIGTERM, before)
    records = [*day.records.values()]
    summary.write(args.out, day.about, records)
    sys.stdout.write(f"\n{summary.table(records)}\n")
    return status or int(day.failed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m moi_bench.gpu", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for results and summary")
    parser.add_argument("--site", type=Path, metavar="DIR", help="folder of packages, such as a prepared SGLang")
    parser.add_argument("--models", type=Path, nargs="+", default=[], metavar="DIR", help="model folders to evaluate")
    parser.add_argument("--minutes", type=float, default=25, help="for all steps together (default: 25)")
    parser.add_argument("--step", nargs="+", metavar="NAME", help=f"of {', '.join(step.name for step in STEPS)}")
    parser.add_argument("--again", action="store_true", help="repeat what is finished, too")
    parser.add_argument("--rehearse", action="store_true", help="the same plan on a CPU, with tiny settings")
    return parser


def _day(args: argparse.Namespace, given: list[str]) -> Day:
    """ValueError or OSError for what cannot be done."""
    if not (args.rehearse or torch.cuda.is_available()):
        raise ValueError("needs a CUDA GPU that torch can see; --rehearse runs the plan on a CPU")
    if not args.minutes > 0:
        raise ValueError(f"--minutes={args.minutes:g} is not allowed; it must be a number > 0")
    for option, folder in [("--site", args.site), *(("--models", model) for model in args.models)]:
        if folder is not None and not folder.is_dir():
            raise NotADirectoryError(f"{option} {folder} is no folder")
    for name in args.step or []:
        if name not in (known := [step.name for step in STEPS]):
            raise ValueError(f"--step={name} is unknown; allowed: {', '.join(known)}")
    earlier = summary.load(args.out) or {"steps": [], "rehearsed": args.rehearse}
    if earlier["rehearsed"] != args.rehearse:
        what = ("measured on a GPU", "rehearsed")[earlier["rehearsed"]]
        raise ValueError(f"--out {args.out} holds what was {what}; give another folder")
    place = Place(args.out, args.site, args.models, args.rehearse)
    return Day(
        [*jobs(STEPS, place)],
        place,
        _about(args, given),
        time.monotonic() + 60 * args.minutes,
        args.again,
        _log,
        {record["name"]: record for record in earlier["steps"]},
    )


def _about(args: argparse.Namespace, given: list[str]) -> dict[str, Any]:
    """What heads the summary. No context is made on the GPU: its memory is for the steps."""
    found = described(torch.device("cpu"))
    mine = {"command": shlex.join(["python", "-m", "moi_bench.gpu", *given]), "rehearsed": args.rehearse}
    return {**found, **mine, "kind": "gpu", "gpu": None if args.rehearse else environment.gpu()}


def _log(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
