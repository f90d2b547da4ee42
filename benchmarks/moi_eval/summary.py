"""The table of an evaluation, from its results file alone: the same file always gives the same table."""

from __future__ import annotations

import math
import statistics
from typing import Any

from moi_eval.entropy_bins import by_entropy
from moi_eval.journal import Key
from moi_eval.stats import detectable, difference_interval, holm, pass_at, share_interval, sign_flip_p
from moi_eval.texts import repeated
from moi_eval.votes import vote_rows

NOTE = (
    "Intervals are 95 %, over problems. 'against plain' is the paired difference, in points, to plain decoding\n"
    "at the same temperature and top-p from the same noise. p is exact (McNemar; with several samples a problem its\n"
    "generalisation, sign flips of whole problems); Holm's adjustment counts all comparisons of this table.\n"
    "Tokens are those of one answer; a majority of n costs n texts. Cut: texts that the limit ended. Repeated: the\n"
    "share of a text's 4-grams of words that stood in it before."
)
Samples = dict[Key, dict[str, Any]]


def summarise(settings: dict[str, Any], samples: Samples) -> list[dict[str, Any]]:
    """A row for each arm, in the order of the settings, then one for each majority vote over plain samples; arms that
    are not complete say how far they are.
    """
    wanted = settings["task"]["n"] * settings["samples"]
    by_arm: dict[str, Samples] = {arm["label"]: {} for arm in settings["arms"]}
    for key, record in samples.items():
        by_arm[key.arm][key] = record
    rows = [_row(arm, by_arm[arm["label"]], wanted, settings["samples"]) for arm in settings["arms"]]
    complete = {row["label"] for row in rows if row["done"] == wanted and row["solved"] is not None}
    compared = [row for row in rows if row["label"] in complete and row["plain"] in complete - {row["label"]}]
    for row in compared:
        row["paired"] = _paired(by_arm[row["label"]], by_arm[row["plain"]], settings["samples"])
    for row in compared:
        own, other = (_records(by_arm[row[key]]) for key in ("label", "plain"))
        moved = [_count(own[item]) - _count(other[item]) for item in own]
        row["paired"]["detectable"] = detectable(moved, settings["samples"], len(compared))
        row["paired"]["by_entropy"] = by_entropy(own, other, settings["samples"])
    for row, adjusted in zip(compared, holm([row["paired"]["p"] for row in compared]), strict=True):
        row["paired"]["p_holm"] = adjusted
    plain = [arm for arm in settings["arms"] if arm["label"] == arm["plain"] and arm["label"] in complete]
    return rows + [row for arm in plain for row in vote_rows(arm, _records(by_arm[arm["label"]]))]


def _row(arm: dict[str, Any], samples: Samples, wanted: int, per_problem: int) -> dict[str, Any]:
    row = {**arm, "done": len(samples), "wanted": wanted, "solved": None, "share": None, "paired": None}
    if not samples:
        return row
    records = list(samples.values())
    row["mean_tokens"] = statistics.fmean(record["tokens"] for record in records)
    for key in ("entropy", "intervention"):
        row[f"mean_{key}"] = _token_mean(records, key)
    row["cut"] = statistics.fmean(record["finish"] == "length" for record in records)
    row["finished"], row["pass_at"] = 1 - row["cut"], {}
    row["repeated"] = statistics.fmean(repeated(record["text"]) for record in records)
    if len(samples) == wanted and all(record["solved"] is not None for record in records):
        counts = list(_solved(samples).values())
        row["solved"], row["share"] = sum(counts), sum(counts) / wanted
        row["low"], row["high"] = share_interval(counts, per_problem)
        ks = [1 << power for power in range(per_problem.bit_length())] if per_problem > 1 else []
        row["pass_at"] = {k: pass_at(counts, per_problem, k) for k in ks}
    return row


def _token_mean(records: list[dict[str, Any]], key: str) -> float | None:
    """The mean over all tokens; None where a server told nothing of some text."""
    if any(record[key] is None for record in records):
        return None
    total: int = sum(record["tokens"] for record in records)
    return math.fsum(record[key] * record["tokens"] for record in records) / total


def _records(samples: Samples) -> dict[str, list[dict[str, Any]]]:
    """Of each problem, by the number of the sample."""
    found: dict[str, list[dict[str, Any]]] = {}
    for key in sorted(samples):
        found.setdefault(key.item, []).append(samples[key])
    return found


def _count(records: list[dict[str, Any]]) -> int:
    return sum(bool(record["solved"]) for record in records)


def _solved(samples: Samples) -> dict[str, int]:
    """Solved samples of each problem."""
    return {item: _count(records) for item, records in _records(samples).items()}


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
