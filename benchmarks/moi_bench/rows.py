"""Rows of a benchmark: what was measured, on what, with which versions, and by which command."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

import moi

SCHEMA = 1

Row = dict[str, Any]


def environment(device: torch.device) -> Row:
    """What every row of a run shares."""
    return {
        "schema": SCHEMA,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "versions": {
            "moi": moi.__version__,
            "torch": torch.__version__,
            "numba": version("numba"),
            "triton": version("triton"),
            "flashinfer": version("flashinfer-python"),
            "python": platform.python_version(),
        },
        "commit": _commit(),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }


def version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    return f"CPU {platform.machine()}, {torch.get_num_threads()} threads"


def _commit() -> str | None:
    """The commit this file was checked out at, or None outside a checkout."""
    here = Path(__file__).parent
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return found.stdout.strip() or None


def dumps(rows: list[Row]) -> str:
    return json.dumps(rows, indent=1)


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
