"""Multiplex Thinking: the mean embedding of several draws, the sampled token among them (arXiv 2601.08808).

The form that needs no training: draws - 1 more tokens are drawn from the prior and fed together with the sampled one.
Reported ahead of sampling at 7B and equal lengths.
"""

from __future__ import annotations

from typing import Any

from moi.policies.declaration import Parameter, Policy


def weights(
    prior: Any, before: Any, u0: Any, u1: Any, u2: Any, u3: Any, u4: Any, u5: Any, u6: Any, draws: Any
) -> tuple[Any, Any]:
    end = before + prior  # a candidate is drawn by the numbers in [before, end)
    count = 1.0 * (draws > 1) * (u0 >= before) * (u0 < end)
    count = count + 1.0 * (draws > 2) * (u1 >= before) * (u1 < end)
    count = count + 1.0 * (draws > 3) * (u2 >= before) * (u2 < end)
    count = count + 1.0 * (draws > 4) * (u3 >= before) * (u3 < end)
    count = count + 1.0 * (draws > 5) * (u4 >= before) * (u4 < end)
    count = count + 1.0 * (draws > 6) * (u5 >= before) * (u5 < end)
    count = count + 1.0 * (draws > 7) * (u6 >= before) * (u6 < end)
    return 1 + 0 * u0, count


DRAWS = Parameter("draws", 3, low=1, high=8, integer=True, help="tokens that are fed together, the sampled one too")
POLICY = Policy("multiplex", weights, (DRAWS,), normalised=True)
