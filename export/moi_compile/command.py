"""`moi compile`: an exported folder becomes a TensorRT or TensorRT-RTX engine."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from moi import json_text
from moi_compile.compile import CompileOptions, Report, compile_engine
from moi_compile.runtimes import RUNTIMES
from moi_compile.sidecar import Sidecar


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of `moi compile`."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="what `moi export` wrote")
    parser.add_argument("--out", type=Path, metavar="FILE", help="engine file (default: DIR/model.engine)")
    parser.add_argument("--runtime", choices=list(RUNTIMES), default="tensorrt")
    parser.add_argument(
        "--compute-capability",
        action="append",
        default=[],
        metavar="X.Y",
        help="chip to compile for, e.g. 8.9; several times for several chips (tensorrt-rtx, needs no GPU)",
    )
    parser.add_argument("--max-batch", type=int, default=8, metavar="N", help="rows decoded together (default: 8)")
    parser.add_argument(
        "--max-prompt", type=int, metavar="N", help="tokens of the longest prompt (default: all but one)"
    )
    parser.add_argument("--timing-cache", type=Path, metavar="FILE", help="read if it exists, then written")
    parser.add_argument("--json", action="store_true", help="print the sidecar and nothing else")


def run(args: argparse.Namespace) -> int:
    """Compile a folder; 0 if the engine is written."""
    options = CompileOptions(
        args.runtime, tuple(args.compute_capability), args.max_batch, args.max_prompt, args.timing_cache
    )
    out = args.out or args.folder / "model.engine"
    with _progress(args.json) as report:
        sidecar = compile_engine(args.folder, out, options, report)
    if args.json:
        json_text.write(asdict(sidecar), indent=2)
    else:
        sys.stdout.write(_summary(out, sidecar) + "\n")
    return 0


def _summary(out: Path, sidecar: Sidecar) -> str:
    profile = sidecar.profile
    return (
        f"{out}: {out.stat().st_size / 1e6:.1f} MB for {sidecar.runtime} {sidecar.version}, "
        f"compute capability {', '.join(sidecar.capabilities)}, "
        f"batch <= {profile.max_batch}, prompt <= {profile.max_prompt}, positions {profile.max_length}"
    )


@contextmanager
def _progress(quiet: bool) -> Iterator[Report | None]:
    """A bar for each phase on standard error, where somebody looks at it."""
    from rich.console import Console
    from rich.progress import Progress, TaskID

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield None
        return
    tasks: dict[str, TaskID] = {}
    with Progress(console=console, transient=True) as progress:

        def report(phase: str, done: int, total: int) -> None:
            if phase not in tasks:
                tasks[phase] = progress.add_task(phase, total=total)
            progress.update(tasks[phase], completed=done)

        yield report
