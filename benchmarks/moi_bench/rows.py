"""Rows of a benchmark: what was measured, on what, with which versions, and by which command."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

import moi
from moi import json_text
from moi.files import check_file, write_file

SCHEMA = 1
_SOURCES = (":/", ":(exclude,top)benchmarks/results")

Row = dict[str, Any]


def environment(device: torch.device) -> Row:
    """What every row of a run shares."""
    gpu = device.type == "cuda"
    return {
        "schema": SCHEMA,
        "device": torch.cuda.get_device_name(device) if gpu else processor(),
        "driver": _driver() if gpu else None,
        "versions": {
            "moi": moi.__version__,
            "torch": torch.__version__,
            "numba": version("numba"),
            "triton": version("triton"),
            "flashinfer": version("flashinfer-python"),
            "python": platform.python_version(),
        },
        "commit": commit(),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }


def version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Model, cores and torch's threads, such as "AMD EPYC 7763 (2 cores), 1 thread"."""
    cores, threads = os.cpu_count(), torch.get_num_threads()
    return f"{_model(cpuinfo)} ({cores} cores), {threads} {'thread' if threads == 1 else 'threads'}"


def _model(cpuinfo: Path) -> str:
    """The processor's name; where the system has no such file, or an unnamed processor, what Python knows."""
    found = re.search(r"^model name\s*:\s*(.*\S)", cpuinfo.read_text(), re.M) if cpuinfo.exists() else None
    return found[1] if found else platform.processor() or platform.machine()


def _driver() -> str | None:
    """Version of the NVIDIA driver, or None where nvidia-smi is not installed."""
    found = _said("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    return found.splitlines()[0] if found else None


def commit(folder: Path = Path(__file__).parent) -> str | None:
    """The commit that `folder` was checked out at, or None outside a checkout; "-dirty" where tracked files changed.

    Results do not count: a run that is written into the checkout would spoil the next one's commit.
    """
    found = _said("git", "-C", str(folder), "rev-parse", "--verify", "--quiet", "HEAD")
    changed = _said("git", "-C", str(folder), "status", "--porcelain", "--untracked-files=no", "--", *_SOURCES)
    return f"{found}-dirty" if found and changed else found


def _said(*command: str) -> str | None:
    """What a command prints, or None if there is no such command, or it prints nothing."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or None
    except OSError:
        return None


def prepare(out: Path | None, kind: str) -> None:
    """Before minutes are spent: OSError unless `out` is free or holds rows of this kind, which new ones replace."""
    if out is not None:
        check_file(out, lambda path: _holds(path, kind), f"a results file of {kind} rows")


def write(out: Path | None, rows: list[Row]) -> None:
    """All rows so far, after each of them: what is measured stays."""
    if out is not None and rows:
        kind = kind_of(rows[0])
        write_file(out, dumps(rows) + "\n", lambda path: _holds(path, kind), f"a results file of {kind} rows")


def _holds(path: Path, kind: str) -> bool:
    rows = json.loads(path.read_bytes())
    return isinstance(rows, list) and bool(rows) and all("command" in row and kind_of(row) == kind for row in rows)


def kind_of(row: Row) -> str:
    """What measured a row: "op", "engine", "serve", "parity", "onnx" or "sglang" (which says "what" it measured)."""
    if "what" in row or "measure" in row:
        return "sglang" if "what" in row else "onnx"
    if "kind" in row:
        return str(row["kind"])
    return "parity" if "check" in row else "op"


def dumps(rows: list[Row]) -> str:
    return json_text.dumps(rows, indent=1)


def table(rows: list[Row]) -> str:
    """The rows for people, one line each."""
    numbers = f"{'median us':>10} {'p10':>8} {'p90':>8} {'x floor':>8} {'speedup':>8}  launches"
    head = f"{'case':38} {'implementation':14} {numbers}"
    return "\n".join([head, *(_line(row) for row in rows)])


def _line(row: Row) -> str:
    start = f"{row['case']['name']:38} {row['implementation']:14} "
    if row["median_us"] is None:
        return f"{start}{row['reason']}"
    numbers = f"{row['median_us']:10.1f} {row['p10_us']:8.1f} {row['p90_us']:8.1f} {row['ratio_to_floor']:8.2f}"
    speedup = "" if row["ratio_to_eager"] is None else f"{1 / row['ratio_to_eager']:.1f}"
    launched = "" if row["launches"] is None else row["launches"]
    return f"{start}{numbers} {speedup:>8}  {launched}"
