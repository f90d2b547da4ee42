"""Two ways to decode on the same problems, answer by answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from moi_eval.stats import detectable, difference_interval, holm, sign_flip_p

Outcomes = Mapping[str, Sequence[bool]]  # of each problem, whether each of its answers solves it; as many for each


@dataclass(frozen=True)
class Comparison:
    """found is what a table tells; differences are those of the answers that solve a problem, of `answers` each."""

    found: dict[str, Any]
    differences: list[int]
    answers: int


def compare(own: Outcomes, other: Outcomes) -> Comparison:
    """The difference in share solved with its interval, answers won and lost, and the exact p.

    own, other  of the same problems; the n-th answers of a problem are a pair
    """
    differences = [sum(own[item]) - sum(other[item]) for item in own]
    answers = len(next(iter(own.values())))
    mean, low, high = difference_interval(differences, answers)
    pairs = [pair for item in own for pair in zip(own[item], other[item], strict=True)]
    found = {"difference": mean, "low": low, "high": high}
    found |= {"won": pairs.count((True, False)), "lost": pairs.count((False, True)), "p": sign_flip_p(differences)}
    return Comparison(found, differences, answers)


def adjust(comparisons: Sequence[Comparison]) -> None:
    """What depends on how many comparisons a table has: p by Holm, and the difference that could have been found."""
    adjusted = holm([each.found["p"] for each in comparisons])
    for each, p in zip(comparisons, adjusted, strict=True):
        each.found["p_holm"] = p
        each.found["detectable"] = detectable(each.differences, each.answers, len(comparisons))
