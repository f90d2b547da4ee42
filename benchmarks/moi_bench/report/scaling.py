"""How the cost of MoI scales, as plots: one thing varies along x, a plot for each setting of everything else.

A line needs two points, a plot needs a line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from moi import MoIConfig
from moi_bench.report import figures
from moi_bench.rows import Row

_OP = {"rows": "rows B", "vocab": "vocabulary V", "top_k": "candidates K"}
_ENGINE = {"batch": "batch", "context": "context, tokens", "vocab": "vocabulary V"}
_SERVE = {"concurrency": "concurrent requests"}
_SAME_BODY = "narrow"  # models that differ in their vocabulary alone

# What a row measured: (name of its line, y), and {what may vary: (x, text for a title)}.
Facts = dict[str, tuple[float, str]]


def op_plots(rows: list[Row]) -> Iterator[str]:
    """Time of one step of mix and embed, both axes logarithmic."""
    yield from _plots(rows, _OP, "µs per step", _op, lambda row: (row["implementation"], row["median_us"]))


def engine_plots(rows: list[Row]) -> Iterator[str]:
    """Added time of a decode step; within noise it may be negative."""
    unit = "added µs per decode step"
    yield from _plots(rows, _ENGINE, unit, _engine, lambda row: (row["engine"], 1e3 * _added_ms(row)), signed=True)


def serve_plots(rows: list[Row]) -> Iterator[str]:
    """Added time per token, a line for each share of MoI requests."""

    def line(row: Row) -> tuple[str, float]:
        return f"{row['case']['share']:.0%} MoI requests", _added_ms(row)

    yield from _plots(rows, _SERVE, "added ms per token", _serve, line, signed=True)


def _plots(
    rows: list[Row],
    axes: Mapping[str, str],
    unit: str,
    facts_of: Callable[[Row], Facts],
    line_of: Callable[[Row], tuple[str, float]],
    *,
    signed: bool = False,
) -> Iterator[str]:
    for axis, label in axes.items():
        groups: dict[str, dict[str, list[tuple[float, float]]]] = {}
        for row in rows:
            if row["status"] == "ok":
                facts, (name, y) = facts_of(row), line_of(row)
                title = ", ".join([*(text for key, (_, text) in facts.items() if key != axis), row["device"]])
                groups.setdefault(title, {}).setdefault(name, []).append((facts[axis][0], y))
        for title, series in groups.items():
            long = {name: points for name, points in series.items() if len({x for x, _ in points}) > 1}
            if long:
                yield figures.lines(long, label, unit, title, signed=signed)


def _op(row: Row) -> Facts:
    case = row["case"]
    top_k = case.get("top_k") or MoIConfig.preset(case["preset"]).top_k
    facts = {
        key: (case[key], f"{letter}={case[key]}") for key, letter in (("rows", "B"), ("vocab", "V"), ("width", "D"))
    }
    return {**facts, "top_k": (top_k, f"K={top_k}"), "kind": (0, f"{case['dtype']} {case['preset']}")}


def _engine(row: Row) -> Facts:
    case = row["case"]
    model = _SAME_BODY if case["model"].startswith(f"{_SAME_BODY}-") else case["model"]
    return {
        "model": (0, model),
        "vocab": (case["vocab"], f"V={case['vocab']}"),
        "batch": (case["batch"], f"B={case['batch']}"),
        "context": (case["context"], f"context {case['context']}"),
        "new_tokens": (0, f"{case['new_tokens']} new tokens"),
    }


def _serve(row: Row) -> Facts:
    case = row["case"]
    lengths = f"{case['prompt_words']} words in, {case['new_tokens']} tokens out"
    served = f"{row['engine']}, {case['model']}"
    return {"served": (0, served), "lengths": (0, lengths), "concurrency": (case["concurrency"], "")}


def _added_ms(row: Row) -> float:
    """Median time per token with MoI, less that of plain decoding."""
    return float(row["moi"]["tpot_ms"]["median"] - row["plain"]["tpot_ms"]["median"])
