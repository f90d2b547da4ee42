"""Confidence intervals and exact paired tests for samples that come in groups, several to a problem."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from moi_eval.extras import require
from moi_eval.intervals import wilson


def score_interval(share: float, trials: float) -> tuple[float, float]:
    """95 % Wilson score interval of a share seen over `trials`, an effective number: scipy's takes whole ones alone."""
    require("eval", "scipy")
    from scipy.stats import norm

    z2 = float(norm.ppf(0.975)) ** 2
    middle = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = math.sqrt(z2 * (share * (1 - share) / trials + z2 / (4 * trials**2))) / (1 + z2 / trials)
    return max(0.0, middle - half), min(1.0, middle + half)


def share_interval(solved: Sequence[int], samples: int) -> tuple[float, float]:
    """95 % interval of the share solved: `solved` of `samples` for each problem.

    Samples of one problem are alike, so the Wilson interval is taken at their effective number
    p (1 - p) / var(mean over problems), between the number of problems and that of samples.
    """
    problems = len(solved)
    share = sum(solved) / (problems * samples)
    if samples == 1:
        return wilson(sum(solved), problems)
    if problems == 1:
        return score_interval(share, problems)
    variance = statistics.variance([count / samples for count in solved]) / problems
    spread = share * (1 - share)  # 0 where all or none were solved: then count problems, not samples
    effective = spread / variance if variance > 0 else math.inf if spread > 0 else 0.0
    return score_interval(share, min(max(effective, problems), problems * samples))


def difference_interval(differences: Sequence[int], samples: int) -> tuple[float, float, float]:
    """(mean, low, high) of the difference in share solved, paired by problem; 95 %, normal approximation.

    Where all problems differ alike there is no spread to take it from. Problems of another kind were then seen in none
    of n, so their share is at most q with (1 - q)^n = 2.5 % (Clopper and Pearson's bound at none of n), and each of
    them moves the mean by at most 1 + |mean|, since differences are in -1..1.
    """
    require("eval", "scipy")
    from scipy.stats import norm

    means = [difference / samples for difference in differences]
    mean = statistics.fmean(means)
    if len(set(differences)) > 1:
        half = float(norm.ppf(0.975)) * statistics.stdev(means) / math.sqrt(len(means))
    else:
        half = (1 - 0.025 ** (1 / len(means))) * (1 + abs(mean))
    return mean, max(-1.0, mean - half), min(1.0, mean + half)


def sign_flip_p(differences: Sequence[int]) -> float:
    """Exact two-sided p of "both arms solve alike", from the difference in solved samples of each problem.

    Under it the sign of each problem's difference is a fair coin. With one sample a problem this is McNemar's exact
    test, a binomial test of the problems that moved; else the distribution of the sum is found problem by problem,
    since scipy's permutation test would enumerate every flip.
    """
    require("eval", "scipy")
    import numpy as np
    from scipy.stats import binomtest

    moved = [abs(difference) for difference in differences if difference]
    reach, seen = sum(moved), abs(sum(differences))
    if seen == 0:
        return 1.0
    if reach == len(moved):  # nobody moved by more than one
        return float(binomtest((reach + seen) // 2, reach).pvalue)
    chance = np.zeros(2 * reach + 1)
    chance[reach] = 1.0
    for size in moved:
        chance = (np.roll(chance, size) + np.roll(chance, -size)) / 2  # mass never reaches the ends too soon
    return min(1.0, 2 * float(chance[reach + seen :].sum()))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values adjusted for their number (Holm): rejecting those below 5 % errs at all in 5 % of cases."""
    adjusted, worst = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = worst
    return adjusted


def pass_at(solved: Sequence[int], samples: int, k: int) -> float:
    """The chance that one of k samples of a problem solves it, over problems: without bias from `solved` of `samples`
    for each. ValueError unless 1 <= k <= samples.
    """
    if not 1 <= k <= samples:
        raise ValueError(f"k={k} is not allowed; it must be in 1..{samples}")
    require("eval", "scipy")
    from scipy.stats import hypergeom

    # none of the k that are drawn, of all samples without putting back, is one of those that solve it
    return float(1 - statistics.fmean(hypergeom.pmf(0, samples, count, k) for count in solved))


def detectable(differences: Sequence[int], samples: int, comparisons: int) -> float | None:
    """The difference in share solved that would be found in 80 % of such runs, at 5 % over all `comparisons` of a table
    (Bonferroni, Holm's first step), from how much the problems' differences spread; None if nothing moved.
    """
    require("eval", "scipy")
    from scipy.stats import norm

    means = [difference / samples for difference in differences]
    spread = statistics.stdev(means) if len(means) > 1 else 0.0
    if spread == 0:
        return None
    reach = float(norm.ppf(1 - 0.025 / comparisons) + norm.ppf(0.8))
    return reach * spread / math.sqrt(len(means))
