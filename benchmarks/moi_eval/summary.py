"""The table of an evaluation, from its results file alone: the same file always gives the same table."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping
from typing import Any

from moi_eval.comparisons import Comparison, Outcomes, adjust, compare
from moi_eval.entropy_bins import by_entropy
from moi_eval.journal import Key
from moi_eval.stats import pass_at, share_interval
from moi_eval.texts import repeated
from moi_eval.votes import Records, outcomes, partners, vote_rows

NOTE = (
    "Intervals are 95 %, over problems. 'against plain' is the paired difference, in points, to plain decoding\n"
    "at the same temperature and top-p from the same noise. p is exact (McNemar; with several samples a problem its\n"
    "generalisation, sign flips of whole problems); Holm's adjustment counts all comparisons of this table.\n"
    "A vote is compared with one answer, that from the noise of its first text.\n"
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
    complete = {row["label"]: _records(by_arm[row["label"]]) for row in rows if row["solved"] is not None}
    plain = [arm for arm in settings["arms"] if arm["label"] == arm["plain"] and arm["label"] in complete]
    votes = [row for arm in plain for row in vote_rows(arm, complete[arm["label"]])]
    adjust([*_arms_compared(rows, complete), *_votes_compared(votes, rows, complete)])
    return rows + votes


def _arms_compared(rows: list[dict[str, Any]], complete: Mapping[str, Records]) -> Iterator[Comparison]:
    """Each arm with the plain one."""
    for row in _beside_plain(rows, complete):
        own, other = complete[row["label"]], complete[row["plain"]]
        comparison = compare(_outcomes(own), _outcomes(other))
        row["paired"] = comparison.found
        row["paired"]["by_entropy"] = by_entropy(own, other, comparison.answers)
        yield comparison


def _votes_compared(
    votes: list[dict[str, Any]], rows: list[dict[str, Any]], complete: Mapping[str, Records]
) -> Iterator[Comparison]:
    """Each vote with one plain answer, and with one of each other arm."""
    for vote in votes:
        own = outcomes(complete[vote["plain"]], vote["votes"])
        comparison = compare(own, partners(complete[vote["plain"]], vote["votes"]))
        vote["paired"] = comparison.found
        yield comparison
        for row in _beside_plain(rows, complete):
            if row["plain"] == vote["plain"]:
                comparison = compare(own, partners(complete[row["label"]], vote["votes"]))
                comparison.found["arm"] = row["label"]
                vote["against"].append(comparison.found)
                yield comparison


def _beside_plain(rows: list[dict[str, Any]], complete: Mapping[str, Records]) -> list[dict[str, Any]]:
    """The complete arms that have a plain one to be compared with."""
    return [row for row in rows if row["label"] in complete and row["plain"] in complete.keys() - {row["label"]}]


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
        counts = [sum(each) for each in _outcomes(_records(samples)).values()]
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


def _outcomes(records: Records) -> Outcomes:
    return {item: [bool(record["solved"]) for record in found] for item, found in records.items()}
