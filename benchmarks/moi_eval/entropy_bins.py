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

    A problem's entropy is the mean over its texts of both arms ("of": "both"). A text that wanders has a high entropy
    and fails: bins of the plain texts alone would hold the plain arm's misfortunes at one end and show a gain where
    both arms are the same. Where a server told no entropy of plain texts it is that of the arm's own ("of": "arm"),
    with just that fault.
    """
    own, other = _known(mine), _known(plain)
    if own is None:
        return []
    if other is None:
        return _bins(own, mine, plain, samples, "arm")
    return _bins({item: (own[item] + other[item]) / 2 for item in own}, mine, plain, samples, "both")


def _known(source: Records) -> dict[str, float] | None:
    """The mean entropy of each problem's texts; None if one is unknown."""
    means = {item: _mean([each["entropy"] for each in records]) for item, records in source.items()}
    found = {item: mean for item, mean in means.items() if mean is not None}
    return found if len(found) == len(means) else None


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
