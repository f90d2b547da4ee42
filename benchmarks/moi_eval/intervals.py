"""Confidence intervals of a share."""

from __future__ import annotations

from moi_eval.extras import require


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """95 % Wilson score interval of successes / trials; ValueError unless 0 <= successes <= trials, trials >= 1."""
    if not 0 <= successes <= trials or trials < 1:
        raise ValueError(
            f"successes={successes}, trials={trials} is not allowed; need 0 <= successes <= trials, 1 <= trials"
        )
    require("eval", "scipy")
    from scipy.stats import binomtest

    interval = binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)
