"""Tables of `python -m moi_bench.sglang_decode` and `vllm_decode`: without and with the plugin, and its host time."""

from __future__ import annotations

from moi_bench.report.tables import Table
from moi_bench.rows import Row


def throughput_table(rows: list[Row]) -> Table:
    """Without the plugin, and with it where every request is mixed, or none of an idle row."""
    head = ["model", "batch", "without, tok/s", "with, tok/s", "ratio", "p10 to p90", "target", "added µs per step"]
    return Table(head, [_throughput(row) for row in rows], [])


def _throughput(row: Row) -> list[str]:
    rates, target = row["tokens_per_second"], row.get("target_ratio")
    return [
        f"{row['shape']}, plugin on, all plain" if row.get("idle") else row["shape"],
        str(row["batch"]),
        f"{rates['plain']:.1f}",
        f"{rates['moi']:.1f}",
        f"{row['ratio']:.3f}",
        f"{row['ratio_p10']:.3f} to {row['ratio_p90']:.3f}",
        "" if target is None else f"{target:g}",
        f"{row['added_us']:.0f}",
    ]


def host_table(rows: list[Row]) -> Table:
    """The hooks of one decode step; the total leaves out the host's own embedding."""
    lines = []
    for row in rows:
        name, target = f"{row['piece']}, B={row['batch']}", row.get("target_us")
        low, high = row.get("p10_us"), row.get("p90_us")
        spread = "" if low is None or high is None else f"{low:.1f} to {high:.1f}"
        lines.append([name, f"{row['median_us']:.1f}", spread, "" if target is None else f"{target:g}"])
    return Table(["piece", "median µs", "p10 to p90", "target"], lines, [])
