"""What a reader came for, in one figure each: what MoI costs, and what it gains."""

from __future__ import annotations

from moi_bench.report import figures
from moi_bench.report.results import Results
from moi_bench.report.summary_table import chosen
from moi_bench.report.tables import PAPER_CHANGE
from moi_bench.rows import Row

PAPER = ("the paper's QwQ-32B on vLLM", round(100 * PAPER_CHANGE, 2))


def cost(results: Results) -> str | None:
    """Output tokens/s of MoI against plain decoding: engines as in the summary, servers at their largest load."""
    measured = [(engine, model, row) for (engine, _), line in chosen(results.engine) for model, row in line.items()]
    rows = [(f"{engine}, {model}", *change(row)) for engine, model, row in measured]
    served: dict[str, Row] = {}
    for row in results.serve:
        if row["status"] == "ok":
            name = f"{row['engine']} server, {row['case']['model']}, {row['case']['share']:.0%} MoI requests"
            served[name] = max(served.get(name, row), row, key=lambda each: int(each["case"]["concurrency"]))
    rows += [(name, *change(row)) for name, row in served.items()]
    if not rows:
        return None
    title = "What MoI costs: output tokens/s against plain decoding; median of turns, p10 to p90"
    return figures.intervals(rows, "change of tokens/s, %", title, PAPER)


def change(row: Row) -> tuple[float, float, float]:
    """Change of tokens/s with MoI in per cent: median, p10, p90."""
    median, low, high = (100 * (row["ratio"][key] - 1) for key in ("median", "p10", "p90"))
    return median, low, high


def gain(results: Results) -> str | None:
    """Problems solved against plain decoding, in points, with the 95 % interval of the paired difference."""
    rows = []
    for evaluation in results.evals:
        settings = evaluation.settings
        for arm in evaluation.arms:
            if (pair := arm["paired"]) is not None and "votes" not in arm:
                name = f"{settings['task']['name']}, {settings['model']['name']}, {arm['label']}"
                rows.append((name, *(100 * pair[key] for key in ("difference", "low", "high"))))
    if not rows:
        return None
    title = "What MoI gains: problems solved against plain decoding on the same problems; 95 % interval"
    return figures.intervals(rows, "difference, percentage points", title)
