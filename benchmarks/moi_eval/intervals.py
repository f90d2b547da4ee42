"""Confidence intervals of a share."""

from __future__ import annotations

import math

_Z95 = 1.959963984540054


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """95 % Wilson score interval of successes / trials; ValueError unless 0 <= successes <= trials, trials >= 1."""
    if not 0 <= successes <= trials or trials < 1:
        raise ValueError(
            f"successes={successes}, trials={trials} is not allowed; need 0 <= successes <= trials, 1 <= trials"
        )
    share, z2 = successes / trials, _Z95**2
    middle = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = _Z95 * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2)) / (1 + z2 / trials)
    return max(0.0, middle - half), min(1.0, middle + half)
