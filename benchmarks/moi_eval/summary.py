"""The table of an evaluation, from its results file alone: the same file always gives the same table."""

from __future__ import annotations

import math
import statistics
from typing import Any

from moi_eval.journal import Key
from moi_eval.stats import difference_interval, holm, share_interval, sign_flip_p
from moi_eval.text_table import text_table

NOTE = (
    "Intervals are 95 %, over problems. 'against plain' is the paired difference, in points, to plain decoding\n"
    "at the same temperature and top-p from the same noise. p is exact (McNemar; with several samples a problem its\n"
    "generalisation, sign flips of whole problems); Holm's adjustment counts all comparisons of this table."
)
Samples = dict[Key, dict[str, Any]]


def summarise(settings: dict[str, Any], samples: Samples) -> list[dict[str, Any]]:
    """A row for each arm, in the order of the settings; arms that are not complete say how far they are."""
    wanted = settings["task"]["n"] * settings["samples"]
    by_arm: dict[str, Samples] = {arm["label"]: {} for arm in settings["arms"]}
    for key, record in samples.items():
        by_arm[key.arm][key] = record
    rows = [_row(arm, by_arm[arm["label"]], wanted, settings["samples"]) for arm in settings["arms"]]
    complete = {row["label"] for row in rows if row["done"] == wanted and row["solved"] is not None}
    compared = [row for row in rows if row["label"] in complete and row["plain"] in complete - {row["label"]}]
    for row in compared:
        row["paired"] = _paired(by_arm[row["label"]], by_arm[row["plain"]], settings["samples"])
    for row, adjusted in zip(compared, holm([row["paired"]["p"] for row in compared]), strict=True):
        row["paired"]["p_holm"] = adjusted
    return rows


def _row(arm: dict[str, Any], samples: Samples, wanted: int, per_problem: int) -> dict[str, Any]:
    row = {**arm, "done": len(samples), "wanted": wanted, "solved": None, "share": None, "paired": None}
    if not samples:
        return row
    records = list(samples.values())
    row["mean_tokens"] = statistics.fmean(record["tokens"] for record in records)
    for key in ("entropy", "intervention"):
        row[f"mean_{key}"] = _token_mean(records, key)
    row["finished"] = statistics.fmean(record["finish"] != "length" for record in records)
    if len(samples) == wanted and all(record["solved"] is not None for record in records):
        counts = list(_solved(samples).values())
        row["solved"], row["share"] = sum(counts), sum(counts) / wanted
        row["low"], row["high"] = share_interval(counts, per_problem)
    return row


def _token_mean(records: list[dict[str, Any]], key: str) -> float | None:
    """The mean over all tokens; None where a server told nothing of some text."""
    if any(record[key] is None for record in records):
        return None
    total: int = sum(record["tokens"] for record in records)
    return math.fsum(record[key] * record["tokens"] for record in records) / total


def _solved(samples: Samples) -> dict[str, int]:
    """Solved samples of each problem."""
    counts = dict[str, int]()
    for key in sorted(samples):
        counts[key.item] = counts.get(key.item, 0) + bool(samples[key]["solved"])
    return counts


def _paired(mine: Samples, plain: Samples, per_problem: int) -> dict[str, float]:
    own, other = _solved(mine), _solved(plain)
    differences = [own[item] - other[item] for item in own]
    mean, low, high = difference_interval(differences, per_problem)
    won = sum(record["solved"] and not plain[_at(key, plain)]["solved"] for key, record in mine.items())
    lost = sum(not record["solved"] and plain[_at(key, plain)]["solved"] for key, record in mine.items())
    return {"difference": mean, "low": low, "high": high, "won": won, "lost": lost, "p": sign_flip_p(differences)}


def _at(key: Key, samples: Samples) -> Key:
    """The sample of another arm that drew the same noise."""
    return key._replace(arm=next(iter(samples)).arm)


def render(settings: dict[str, Any], rows: list[dict[str, Any]], baseline: tuple[str, float] | None) -> str:
    """The table for people."""
    task = settings["task"]
    head = [
        "decoding",
        "solved",
        "95 % interval",
        "against plain",
        "won/lost",
        "p",
        "Holm",
        "entropy",
        "interv.",
        "tokens",
    ]
    lines = [[row["label"], *_cells(row)] for row in rows]
    if baseline is not None:
        lines.append([baseline[0], f"{baseline[1]:.1%}", "expected", *[""] * 7])
    what = f"{task['name']}: {task['n']} problems x {settings['samples']} samples, {settings['model']['name']}"
    return f"{what}, engine {settings['engine']}\n\n{text_table(head, lines)}\n\n{NOTE}\n"


def known(value: float | None, spec: str) -> str:
    """A number of a table, or a dash where nothing is known."""
    return "-" if value is None else format(value, spec)


def _cells(row: dict[str, Any]) -> list[str]:
    if not row["done"]:
        return ["not begun", *[""] * 8]
    means = [known(row["mean_entropy"], ".3f"), known(row["mean_intervention"], ".3f"), f"{row['mean_tokens']:.1f}"]
    if row["share"] is None:
        state = "not judged here" if row["done"] == row["wanted"] else f"{row['done']} of {row['wanted']}"
        return [state, *[""] * 5, *means]
    cells = [f"{row['share']:.1%}", f"{row['low']:.1%} to {row['high']:.1%}"]
    if (pair := row["paired"]) is None:
        return [*cells, *[""] * 4, *means]
    spread = f"{100 * pair['difference']:+.1f} [{100 * pair['low']:+.1f}, {100 * pair['high']:+.1f}]"
    return [*cells, spread, f"{pair['won']}/{pair['lost']}", f"{pair['p']:.3g}", f"{pair['p_holm']:.3g}", *means]
