"""Majority vote over plain samples: what a user would do with the same compute instead."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from moi_eval.comparisons import Outcomes
from moi_eval.stats import share_interval

SIZES = (3, 5, 9, 17, 33, 65)
Records = Mapping[str, Sequence[dict[str, Any]]]  # of each problem, by the number of the sample


def vote_rows(arm: dict[str, Any], records: Records) -> list[dict[str, Any]]:
    """A row of the table for each size of `SIZES` that the samples of a plain, complete arm allow; none where no text
    has an answer that could be voted on.

    The samples of a problem are parted into groups of that size, in their order; each group is one vote, and costs the
    tokens of all its samples.
    """
    per_problem = min(map(len, records.values()))
    if not any(record.get("answer") is not None for group in records.values() for record in group):
        return []
    return [_row(arm, records, size, per_problem // size) for size in SIZES if size <= per_problem]


def winner(group: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The first record with the answer that most records give, of several such answers the one given first; None if
    no record has an answer.
    """
    counts = Counter(record["answer"] for record in group if record.get("answer") is not None)
    if not counts:
        return None
    ((answer, _),) = counts.most_common(1)
    return next(record for record in group if record.get("answer") == answer)


def outcomes(records: Records, size: int) -> Outcomes:
    """Of each problem, whether each of its votes solves it."""
    return {item: [_solved(group) for group in _groups(found, size)] for item, found in records.items()}


def partners(records: Records, size: int) -> Outcomes:
    """Of another arm, the answers that votes are compared with: of each vote the one from the noise of its first text.

    One answer for one vote: where both solve a problem as often, either is as likely to be the better, so that the
    test of flipped signs is exact. The mean over all samples of a vote has no such symmetry.
    """
    return {item: [bool(group[0]["solved"]) for group in _groups(found, size)] for item, found in records.items()}


def _groups(records: Sequence[dict[str, Any]], size: int) -> list[Sequence[dict[str, Any]]]:
    return [records[start : start + size] for start in range(0, len(records) - size + 1, size)]


def _row(arm: dict[str, Any], records: Records, size: int, votes: int) -> dict[str, Any]:
    solved = [sum(each) for each in outcomes(records, size).values()]
    groups = [group for found in records.values() for group in _groups(found, size)]
    tokens = statistics.fmean(sum(record["tokens"] for record in group) for group in groups)
    low, high = share_interval(solved, votes)
    wanted = votes * len(records)
    nothing = dict.fromkeys(("paired", "mean_entropy", "mean_intervention", "finished", "cut", "repeated"))
    return {
        **{"label": f"majority of {size}: {arm['label']}", "plain": arm["label"], "policy": None, "votes": size},
        "against": [],
        **{"done": wanted, "wanted": wanted, "solved": sum(solved), "share": sum(solved) / wanted},
        **{"low": low, "high": high, "mean_tokens": tokens, "pass_at": {}, **nothing},
    }


def _solved(group: Sequence[dict[str, Any]]) -> bool:
    found = winner(group)
    return found is not None and bool(found["solved"])
