"""Made-up results in every file format that a report reads: for its tests, never for a claim."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from moi_bench.rows import Row, dumps
from moi_eval.environment import SCHEMA
from moi_eval.journal import Journal, Key

_MACHINE: Row = {
    "schema": SCHEMA,
    "device": "CPU test",
    "driver": "570.1",
    "versions": {"moi": "0", "torch": "0"},
    "commit": "abc123abc123abc123-dirty",
}


def write_samples(folder: Path) -> list[Path]:
    """Files of the op, the engines, a server, SGLang and vLLM with and without the plugin, and an evaluation."""
    rows = {"op": _op(), "engines": _engines(), "serve": _serve(), "sglang": _sglang(), "vllm": _vllm()}
    folder.mkdir(exist_ok=True)
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
            case |= {"width": 64, "top_k": None}
            timing = {"median_us": median * factor, "p10_us": 1.0, "p90_us": 200.0, "floor_us": 2.0, "launches": 1}
            ratios = {"ratio_to_floor": median * factor / 2, "ratio_to_eager": factor, "copy_bandwidth": 1e10}
            rows.append({"case": case, "implementation": name, "status": "ok", "reason": None, **timing, **ratios})
    return rows


def _side(throughput: float, per_token_ms: float) -> dict[str, Any]:
    tokens = {"median": throughput, "p10": throughput, "p90": throughput}
    spread = {"median": per_token_ms, "p10": 1.0, "p90": 9.0}
    return {"tokens_per_s": tokens, "ttft_ms": {"median": 1.5, "p10": 1.0, "p90": 2.0}, "tpot_ms": spread} | {
        "peak_bytes": 1 << 30
    }


def _measured(case: dict[str, Any], added_ms: float) -> Row:
    ratio = {"median": 0.877, "p10": 0.8, "p90": 0.95, "turns": 5}
    sides = {"plain": _side(100.0, 2.0), "moi": _side(87.7, 2.0 + added_ms), "ratio": ratio}
    return {"case": case, "status": "ok", "reason": None, **sides, "baseline": "the same loop without the op"}


def _engines() -> list[Row]:
    rows = [
        {"kind": "engine", "engine": engine, **_measured(_case(batch), added_ms)}
        for engine, batch, added_ms in (
            ("torch", 2, 0.25),
            ("torch", 8, 0.5),
            ("sglang", 2, -0.125),
            ("sglang", 8, 0.125),
        )
    ]
    nothing = {"status": "unavailable", "reason": "not here <b>", **dict.fromkeys(("plain", "moi", "ratio"))}
    return [*rows, {"kind": "engine", "engine": "onnxruntime", "case": _case(2), **nothing}]


def _case(batch: int) -> dict[str, Any]:
    shape = {"model": "embedded", "batch": batch, "context": 6, "new_tokens": 4, "vocab": 116}
    return {"name": f"embedded B={batch} context=6", **shape}


def _serve() -> list[Row]:
    rows = []
    for concurrency, added_ms in ((1, 0.125), (8, 1.0)):
        sizes = {"model": "made up", "share": 0.5, "requests": 16, "prompt_words": 8, "new_tokens": 16}
        case = {"name": f"made up C={concurrency} N=16", **sizes, "concurrency": concurrency}
        rows.append({"kind": "serve", "engine": "sglang", **_measured(case, added_ms)})
    return rows


def _sglang() -> list[Row]:
    throughput = {"what": "decode throughput", "shape": "made up", "batch": 8, "target_ratio": 0.97}
    throughput |= {"ratio": 0.9, "ratio_p10": 0.88, "ratio_p90": 0.93}
    host = {"what": "host time per decode step", "batch": 8}
    return [
        {
            **throughput,
            "tokens_per_second": {"plain": 1000.0, "moi": 900.0},
            "added_us": 888.9,
            "note": "others ran too",
        },
        {**host, "piece": "sample", "median_us": 77.7, "p10_us": 70.0, "p90_us": 80.0},
        {**host, "piece": "total", "median_us": 123.4, "target_us": 150},
    ]


def _vllm() -> list[Row]:
    throughput, *host = _sglang()
    mixed = throughput | {"tokens_per_second": {"plain": 2000.0, "moi": 1800.0}}
    idle = throughput | {"tokens_per_second": {"plain": 2000.0, "moi": 1990.0}, "idle": True}
    return [
        {"kind": "vllm", **row} for row in (*({**row, "piece": f"{row['piece']} of it"} for row in host), mixed, idle)
    ]


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
