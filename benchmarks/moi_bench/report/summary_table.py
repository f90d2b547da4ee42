"""The short table: an engine a line, a model a column, at one batch size."""

from __future__ import annotations

from moi_bench.report.tables import Table
from moi_bench.rows import Row

BATCH = 8


def summary_table(rows: list[Row]) -> Table:
    """Change of output tokens/s with MoI, median (p10 to p90); of each model the shortest context."""
    found = chosen(rows)
    models = list(dict.fromkeys(model for _, line in found for model in line))
    lines = [
        [f"{engine}, {device}", *(_cell(line[model]) if model in line else "" for model in models)]
        for (engine, device), line in found
    ]
    return Table([f"MoI against plain, tokens/s, B={BATCH}", *models], lines, [])


def chosen(rows: list[Row]) -> list[tuple[tuple[str, str], dict[str, Row]]]:
    """((engine, device), row by model): one batch size, of each model the shortest context."""
    found: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        case = row["case"]
        if row["status"] == "ok" and case["batch"] == BATCH:
            line = found.setdefault((row["engine"], row["device"]), {})
            other = line.setdefault(case["model"], row)
            line[case["model"]] = min(other, row, key=lambda each: int(each["case"]["context"]))
    return list(found.items())


def _cell(row: Row) -> str:
    median, p10, p90 = (100 * (row["ratio"][key] - 1) for key in ("median", "p10", "p90"))
    return f"{median:+.1f} % ({p10:+.1f} to {p90:+.1f})"
