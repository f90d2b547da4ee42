"""SeLaR: where the entropy is high, the prior pushed away from its best candidate; else plain decoding.

Weights are signed and sum to 1: rank 0 may fall below zero. The decision is each row's own, while the published code
takes one for its whole batch.
"""

from __future__ import annotations

from typing import Any

from moi.policies.declaration import Parameter, Policy


def weights(prior: Any, entropy: Any, rank: Any, threshold: Any, strength: Any) -> tuple[Any, Any]:
    mixed = (entropy >= threshold) * 1.0
    push = strength * entropy
    return 1 - mixed, mixed * ((1 + push) * prior - push * (rank < 1))


THRESHOLD = Parameter("threshold", 0.3, low=0, high=1, help="entropy below which a row is fed plainly")
STRENGTH = Parameter("strength", 1.0, low=0, high=4, help="of the push away from the best candidate, times entropy")
POLICY = Policy("selar", weights, (THRESHOLD, STRENGTH))
