"""Reading results: rows of the benchmarks (JSON) and evaluations (JSONL, plain or in gzip), or a clear word about what
they are not."""

from __future__ import annotations

import gzip
import json
import sys
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from moi_bench import row_models
from moi_bench.rows import Row
from moi_eval import journal
from moi_eval.environment import SCHEMA
from moi_eval.summary import summarise


@dataclass
class Results:
    """Everything that was given, by what measured it."""

    op: list[Row] = field(default_factory=list)
    engine: list[Row] = field(default_factory=list)
    serve: list[Row] = field(default_factory=list)
    sglang: list[Row] = field(default_factory=list)
    host: list[Row] = field(default_factory=list)
    vllm: list[Row] = field(default_factory=list)
    vllm_host: list[Row] = field(default_factory=list)
    onnx: list[Row] = field(default_factory=list)
    evals: list[Evaluation] = field(default_factory=list)

    @property
    def machines(self) -> list[Row]:
        """The environments of all files, each once."""
        rows = [*self.op, *self.engine, *self.serve, *self.sglang, *self.host, *self.vllm]
        rows += [*self.vllm_host, *self.onnx]
        rows += [evaluation.environment for evaluation in self.evals]
        found = {
            json.dumps([row.get(key) for key in ("device", "driver", "commit", "command", "note")]): row for row in rows
        }
        return list(found.values())


@dataclass
class Evaluation:
    """What `moi eval` found: the settings of its header, where it ran, and its arms."""

    settings: dict[str, Any]
    environment: Row
    arms: list[dict[str, Any]]


def read(paths: Sequence[Path]) -> Results:
    """The results in all files, engines on real models first.

    ValueError that names a file of another version, of another kind or cut short.
    """
    results = Results()
    for path in paths:
        if path.name.endswith((".jsonl", ".jsonl.gz")):
            results.evals.append(_evaluation(path))
        else:
            _add_rows(results, path)
    results.engine.sort(key=lambda row: not is_real(row))
    return results


def is_real(row: Row) -> bool:
    """Whether an engine decoded a pretrained model, not one of the benchmark's own."""
    return bool(row["case"].get("real", False))


def _evaluation(path: Path) -> Evaluation:
    contents = journal.parse(path, _unpacked(path))
    if contents.header is None:
        raise ValueError(f"{path} has no header line; it was cut short before the first sample")
    if contents.torn:
        sys.stderr.write(f"{path}: the last line was cut short and is left out; moi eval decodes its sample again\n")
    settings, environment = contents.header["settings"], contents.header["environment"]
    return Evaluation(settings, environment, summarise(settings, contents.samples))


def _unpacked(path: Path) -> bytes:
    raw = path.read_bytes()
    if path.suffix != ".gz":
        return raw
    try:
        return gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is no gzip file, or is cut short: {error}") from None


def _add_rows(results: Results, path: Path) -> None:
    try:
        rows = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON, it may be cut short: {error}") from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{path} is no list of rows; moi report reads what moi bench and moi eval write with --out")
    if not rows:
        raise ValueError(f"{path} holds no rows; nothing was measured")
    for index, row in enumerate(rows):
        where = f"{path} row {index}"
        if row.get("schema") != SCHEMA:
            raise ValueError(f"{where} has schema={row.get('schema')!r}; this version reads {SCHEMA}")
        getattr(results, row_models.check(row, where)).append(row)
