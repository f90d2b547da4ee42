"""Rows of `python -m moi_bench.onnx_decode`: what a token costs, and what an export did."""

from __future__ import annotations

from moi_bench.report.tables import Table
from moi_bench.rows import Row

_HEAD = ["graph", "ms a token, median", "fastest tenth", "speed of torch", "over the plain graph", "tokens of torch"]


def onnx_table(rows: list[Row]) -> Table:
    """A line for each engine; exports are reasons below it. Fields that an older row lacks stay empty."""
    lines = [_line(row) for row in rows if row["measure"] == "decode"]
    return Table(_HEAD, lines, [_export(row) for row in rows if row["measure"] == "export"])


def _line(row: Row) -> list[str]:
    return [
        str(row.get("engine", "")),
        _number(row.get("ms_per_token_median"), ".1f"),
        _number(row.get("ms_per_token_fastest_tenth"), ".1f"),
        _number(row.get("speed_of_torch_median"), ".2f"),
        _number(row.get("over_plain_median"), "+.1%"),
        "yes" if row.get("tokens_equal_torch") is True else "no" if row.get("tokens_equal_torch") is False else "",
    ]


def _export(row: Row) -> str:
    seconds, peak = _number(row.get("seconds"), ".0f"), _number(row.get("peak_bytes"), ".2e")
    return f"export of {row.get('graph', '?')}: {seconds} s, at most {peak} bytes of memory"


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
