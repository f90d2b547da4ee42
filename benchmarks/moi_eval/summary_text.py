"""The table of an evaluation for people."""

from __future__ import annotations

from typing import Any

from moi_eval.summary import NOTE
from moi_eval.text_table import text_table

_HEAD = "decoding|solved|95 % interval|against plain|won/lost|p|Holm|tokens|cut|repeated|entropy|interv."


def render(settings: dict[str, Any], rows: list[dict[str, Any]], baseline: tuple[str, float] | None) -> str:
    """Table, pass@k and votes where there are several samples, what could have been found, and how to read it."""
    task, head = settings["task"], _HEAD.split("|")
    lines = [[row["label"], *_cells(row)] for row in rows]
    if baseline is not None:
        lines.append([baseline[0], f"{baseline[1]:.1%}", "expected", *[""] * 9])
    what = f"{task['name']}: {task['n']} problems x {settings['samples']} samples, {settings['model']['name']}"
    more = "\n".join([*_pass_lines(rows), *vote_lines(rows), *filter(None, [power_line(rows)])])
    below = f"{more}\n\n" if more else ""
    return f"{what}, engine {settings['engine']}\n\n{text_table(head, lines)}\n\n{below}{NOTE}\n"


def known(value: float | None, spec: str) -> str:
    """A number of a table, or a dash where nothing is known."""
    return "-" if value is None else format(value, spec)


def power_line(rows: list[dict[str, Any]]) -> str:
    """What difference to plain decoding this many problems could have shown; nothing without comparisons."""
    pairs = [row["paired"] for row in rows if row["paired"] is not None]
    reach = [100 * pair["detectable"] for pair in pairs if pair["detectable"] is not None]
    if not pairs:
        return ""
    if not reach:
        return "Power: no problem was solved by one arm alone, so what difference could have been found is unknown."
    least, most = f"{min(reach):.1f}", f"{max(reach):.1f}"
    points = least if least == most else f"{least} to {most}"
    return (
        f"Power: a difference to plain of {points} points (by arm) would have been found in 80 % of such runs, "
        "at 5 % over all comparisons; a smaller one cannot be ruled out."
    )


def vote_lines(rows: list[dict[str, Any]]) -> list[str]:
    """Each majority vote against each arm that is not plain."""
    lines = []
    for row in rows:
        for found in row.get("against", ()):
            spread, counts, p, adjusted = paired_cells(found)
            lines.append(f"{row['label']} against {found['arm']}: {spread}, {counts}, p {p}, Holm {adjusted}")
    return lines


def paired_cells(pair: dict[str, Any]) -> list[str]:
    """Of a comparison: the difference in points, answers won and lost, p, and p by Holm."""
    spread = f"{100 * pair['difference']:+.1f} [{100 * pair['low']:+.1f}, {100 * pair['high']:+.1f}]"
    return [spread, f"{pair['won']}/{pair['lost']}", _probability(pair["p"]), _probability(pair["p_holm"])]


def _probability(p: float) -> str:
    return f"{p:.3g}" if p else "<1e-300"  # below what a float holds


def _pass_lines(rows: list[dict[str, Any]]) -> list[str]:
    found = [(row["label"], row["pass_at"]) for row in rows if row.get("pass_at")]
    return [f"pass@k of {label}: " + ", ".join(f"{k}: {v:.1%}" for k, v in each.items()) for label, each in found]


def _cells(row: dict[str, Any]) -> list[str]:
    if not row["done"]:
        return ["not begun", *[""] * 10]
    means = [f"{row['mean_tokens']:.1f}", known(row["cut"], ".1%"), known(row["repeated"], ".1%")]
    means += [known(row["mean_entropy"], ".3f"), known(row["mean_intervention"], ".3f")]
    if row["share"] is None:
        state = "not judged here" if row["done"] == row["wanted"] else f"{row['done']} of {row['wanted']}"
        return [state, *[""] * 5, *means]
    cells = [f"{row['share']:.1%}", f"{row['low']:.1%} to {row['high']:.1%}"]
    return [*cells, *([""] * 4 if row["paired"] is None else paired_cells(row["paired"])), *means]
