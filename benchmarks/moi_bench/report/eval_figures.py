"""Figures of an evaluation: accuracy against the tokens it cost, and the gain against entropy."""

from __future__ import annotations

from moi_bench.report import figures
from moi_bench.report.figures import Dot
from moi_bench.report.results import Evaluation


def against_tokens(evaluation: Evaluation) -> str | None:
    """The share solved over mean tokens of an answer, majority votes and longer limits among the arms."""
    series = {
        arm["label"]: [(arm["mean_tokens"], 100 * arm["share"], 100 * arm["low"], 100 * arm["high"])]
        for arm in evaluation.arms
        if arm["share"] is not None
    }
    title = "Share of problems solved against tokens spent on an answer; 95 % interval"
    return figures.dots(series, "tokens of an answer", "problems solved, %", title, log=True) if series else None


def against_entropy(evaluation: Evaluation) -> str | None:
    """The difference to plain decoding over the mean entropy of bins of problems; None without bins."""
    series: dict[str, list[Dot]] = {}
    for arm in evaluation.arms:
        for each in (arm["paired"] or {}).get("by_entropy", ()):
            middle = (each["entropy_low"] + each["entropy_high"]) / 2
            points = [100 * each[key] for key in ("difference", "low", "high")]
            own = " (binned by its own texts alone)" if each["of"] == "arm" else ""
            series.setdefault(arm["label"] + own, []).append((middle, *points))
    title = (
        "Difference to plain decoding by the mean entropy of a problem's texts; bins of as many problems, 95 % interval"
    )
    return figures.dots(series, "mean entropy of a bin", "difference, percentage points", title) if series else None
