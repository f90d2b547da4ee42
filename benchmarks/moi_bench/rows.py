"""Rows of a benchmark: what was measured, on what, with which versions, and by which command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from moi import json_text
from moi.files import check_file, write_file

Row = dict[str, Any]


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
    """What measured a row: "op", "engine", "serve", "parity", "vllm", "onnx" or "sglang" (these two say no kind)."""
    if "kind" in row:
        return str(row["kind"])
    if "what" in row or "measure" in row:
        return "sglang" if "what" in row else "onnx"
    return "parity" if "check" in row else "op"  # of before rows said it


def dumps(rows: list[Row]) -> str:
    """Rows as they are written and printed."""
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
