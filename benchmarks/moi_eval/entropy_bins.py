"""Does the gain depend on entropy? Problems in bins of their mean entropy, and the difference to plain in each."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from moi_eval.stats import difference_interval

MOST, LEAST = 5, 20  # bins; problems of a bin
Records = Mapping[str, Sequence[dict[str, Any]]]  # of each problem, by the number of the sample


def by_entropy(mine: Records, plain: Records, samples: int) -> list[dict[str, Any]]:
    """Bins of as many problems each, from low to high entropy; empty if that of some text is unknown, or if there are
    too few problems for two bins.

    A problem's entropy is that of its plain texts, or of the arm's own where a server told none of plain texts: those
    are shaped by what is measured, and the bins say so ("of": "plain" or "arm").
    """
    for name, source in (("plain", plain), ("arm", mine)):
        known = {item: _mean([each["entropy"] for each in records]) for item, records in source.items()}
        entropies = {item: value for item, value in known.items() if value is not None}
        if len(entropies) == len(source):
            return _bins(entropies, mine, plain, samples, name)
    return []


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known and len(known) == len(values) else None


def _bins(entropies: dict[str, float], mine: Records, plain: Records, samples: int, name: str) -> list[dict[str, Any]]:
    items = sorted(entropies, key=lambda item: (entropies[item], item))
    count = min(MOST, len(items) // LEAST)
    if count < 2:
        return []
    found = []
    for index in range(count):
        part = items[index * len(items) // count : (index + 1) * len(items) // count]
        differences = [_solved(mine[item]) - _solved(plain[item]) for item in part]
        mean, low, high = difference_interval(differences, samples)
        edges = {"entropy_low": entropies[part[0]], "entropy_high": entropies[part[-1]], "of": name}
        found.append({**edges, "n": len(part), "difference": mean, "low": low, "high": high})
    return found


def _solved(records: Sequence[dict[str, Any]]) -> int:
    return sum(bool(record["solved"]) for record in records)
