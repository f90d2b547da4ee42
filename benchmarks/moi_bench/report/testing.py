"""Made-up results in every file format that a report reads: for its tests, never for a claim."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from moi_bench.eval.journal import Journal, Key
from moi_bench.rows import SCHEMA, Row, dumps

_MACHINE: Row = {
    "schema": SCHEMA,
    "device": "CPU test",
    "driver": "570.1",
    "versions": {"moi": "0", "torch": "0"},
    "commit": "abc123abc123abc123-dirty",
}


def write_samples(folder: Path) -> list[Path]:
    """Files of the op, the engines, a server and an evaluation."""
    rows = {"op": _op(), "engines": _engines(), "serve": _serve()}
    paths = []
    for name, found in rows.items():
        paths.append(folder / f"{name}.json")
        paths[-1].write_text(dumps([{**_MACHINE, "command": f"moi bench {name}", **row} for row in found]))
    return [*paths, _evaluation(folder / "eval.jsonl")]


def _op() -> list[Row]:
    rows = []
    for batch, median in ((1, 10.0), (8, 15.0), (64, 100.0)):
        for name, factor in (("eager", 1.0), ("fused", 0.25)):
            case = {"name": f"B={batch} V=1000", "rows": batch, "vocab": 1000, "dtype": "float32", "preset": "official"}
            timing = {"median_us": median * factor, "p10_us": 1.0, "p90_us": 200.0, "floor_us": 2.0, "launches": 1}
            ratios = {"ratio_to_floor": median * factor / 2, "ratio_to_eager": factor, "copy_bandwidth": 1e10}
            rows.append({"case": case, "implementation": name, "status": "ok", "reason": None, **timing, **ratios})
    return rows


def _side(throughput: float) -> dict[str, Any]:
    spread = {key: {"median": 1.5, "p10": 1.0, "p90": 2.0} for key in ("ttft_ms", "tpot_ms")}
    tokens = {"median": throughput, "p10": throughput, "p90": throughput}
    return {"tokens_per_s": tokens, **spread, "peak_bytes": 1 << 30}


def _measured(case: dict[str, Any]) -> Row:
    ratio = {"median": 0.877, "p10": 0.8, "p90": 0.95, "turns": 5}
    sides = {"plain": _side(100.0), "moi": _side(87.7), "ratio": ratio}
    return {"case": case, "status": "ok", "reason": None, **sides, "baseline": "the same loop without the op"}


def _engines() -> list[Row]:
    case = {"name": "embedded B=2 context=6", "model": "embedded", "batch": 2, "context": 6, "new_tokens": 4}
    missing = {"case": case, "status": "unavailable", "reason": "not here <b>", "plain": None, "moi": None}
    return [
        {"kind": "engine", "engine": "torch", **_measured(case)},
        {"kind": "engine", "engine": "onnxruntime", **missing, "ratio": None},
    ]


def _serve() -> list[Row]:
    case = {"name": "embedded 16 requests, concurrency 4", "share": 0.5, "concurrency": 4, "requests": 16}
    return [{"kind": "serve", "engine": "sglang", **_measured(case)}]


def _evaluation(path: Path) -> Path:
    arms = [("token T=1 top-p=1", "token", None), ("moi beta=1 T=1 top-p=1", "moi", 1.0)]
    settings = {
        "task": {"name": "countdown", "numbers": 3, "n": 2, "seed": 0},
        "model": {"name": "made up", "digest": "0"},
        "engine": "torch",
        "arms": [
            {"label": label, "plain": arms[0][0], "policy": policy, "beta": beta, "temperature": 1.0, "top_p": 1.0}
            for label, policy, beta in arms
        ],
        "samples": 2,
        "max_new_tokens": 9,
    }
    journal = Journal.open(path, settings, {**_MACHINE, "command": "moi eval countdown"})
    record = {"outcome": "solved", "tokens": 3, "finish": "eos", "entropy": 0.1, "intervention": 0.0, "text": ""}
    for label, _, beta in arms:
        for sample in range(4):
            key = Key(label, f"p{sample // 2}", sample % 2)
            journal.append(key, {**record, "solved": beta is not None or sample > 1})
    journal.close()
    return path
