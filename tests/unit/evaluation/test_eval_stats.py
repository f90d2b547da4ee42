"""Intervals and exact tests against hand-made numbers and an enumeration."""

from __future__ import annotations

import itertools
import math
import statistics

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import binomtest

from moi_eval.intervals import wilson
from moi_eval.stats import difference_interval, holm, score_interval, share_interval, sign_flip_p


def mcnemar(won: int, lost: int) -> float:
    n = won + lost
    tail = sum(math.comb(n, k) for k in range(min(won, lost) + 1)) / 2**n
    return min(1.0, 2 * tail)


@pytest.mark.parametrize(("won", "lost"), [(0, 0), (1, 0), (5, 0), (10, 2), (7, 7), (3, 60), (200, 150)])
def test_with_one_sample_it_is_mcnemars_exact_test(won: int, lost: int) -> None:
    assert sign_flip_p([1] * won + [-1] * lost + [0] * 9) == pytest.approx(mcnemar(won, lost), rel=1e-9)


@given(st.lists(st.integers(-4, 4), max_size=9))
def test_it_counts_every_assignment_of_signs(differences: list[int]) -> None:
    seen = abs(sum(differences))
    flips = [sum(map(math.prod, zip(signs, differences, strict=True))) for signs in signs_of(len(differences))]
    assert sign_flip_p(differences) == pytest.approx(sum(abs(total) >= seen for total in flips) / len(flips))


def signs_of(count: int) -> list[tuple[int, ...]]:
    return list(itertools.product((-1, 1), repeat=count))


Z95 = 1.959963984540054


def by_hand(share: float, trials: float) -> tuple[float, float]:
    """Wilson 1927, solved for the share."""
    middle = (share + Z95**2 / (2 * trials)) / (1 + Z95**2 / trials)
    half = Z95 * math.sqrt(share * (1 - share) / trials + Z95**2 / (4 * trials**2)) / (1 + Z95**2 / trials)
    return max(0.0, middle - half), min(1.0, middle + half)


@given(st.integers(1, 10**6), st.floats(0, 1))
def test_intervals_are_those_of_the_formula(trials: int, part: float) -> None:
    successes = round(part * trials)
    expected = by_hand(successes / trials, trials)
    assert wilson(successes, trials) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert score_interval(successes / trials, float(trials)) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(st.lists(st.sampled_from([-1, 0, 1]), max_size=400))
def test_the_binomial_test_is_mcnemars_exact_test(differences: list[int]) -> None:
    expected = mcnemar(differences.count(1), differences.count(-1))
    assert sign_flip_p(differences) == pytest.approx(expected, rel=1e-9)
    doubled = sign_flip_p([2 * difference for difference in differences])  # the same, found problem by problem
    assert doubled == pytest.approx(expected, rel=1e-9)


@given(st.lists(st.integers(-4, 4), min_size=2, max_size=50))
def test_the_difference_s_interval_is_mean_and_standard_error(differences: list[int]) -> None:
    assume(len(set(differences)) > 1)
    mean, low, high = difference_interval(differences, 4)
    means = [difference / 4 for difference in differences]
    half = Z95 * statistics.stdev(means) / math.sqrt(len(means))
    assert mean == pytest.approx(statistics.fmean(means))
    assert (low, high) == pytest.approx((max(-1, mean - half), min(1, mean + half)))


def test_one_sample_a_problem_gives_wilson() -> None:
    assert share_interval([1] * 30 + [0] * 10, 1) == pytest.approx(wilson(30, 40))


def test_alike_samples_count_as_one_and_independent_ones_as_many() -> None:
    assert share_interval([4] * 30 + [0] * 10, 4) == pytest.approx(wilson(30, 40), abs=1e-3)
    low, high = share_interval([2] * 40, 4)  # more even than chance
    assert (low, high) == pytest.approx(wilson(80, 160), abs=1e-9)
    assert 0 < share_interval([4] * 40, 4)[0] < 1


def test_the_difference_is_paired_by_problem() -> None:
    mean, low, high = difference_interval([1, 0, 0, -1, 1, 1, 0, 0], 1)
    assert mean == 0.25
    assert low < mean < high


@given(st.integers(-4, 4), st.integers(1, 1000))
def test_differences_that_are_all_alike_have_the_bound_of_what_was_never_seen(difference: int, problems: int) -> None:
    mean, low, high = difference_interval([difference] * problems, 4)
    share = float(binomtest(0, problems).proportion_ci(0.95, "exact").high)  # of problems that differ otherwise
    assert mean == difference / 4
    assert (low, high) == pytest.approx(
        (max(-1, mean - share * (1 + abs(mean))), min(1, mean + share * (1 + abs(mean))))
    )
    assert low < high


def test_holm_is_monotone_and_bounded() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
