"""ThinkRouter: the prior where the model is confident, the sampled token where it is not (arXiv 2602.11683)."""

from __future__ import annotations

from typing import Any

from moi.policies.declaration import Parameter, Policy


def weights(prior: Any, best: Any, threshold: Any) -> tuple[Any, Any]:
    mixed = (best >= threshold) * 1.0
    return 1 - mixed, mixed * prior


THRESHOLD = Parameter("threshold", 0.5, low=0, high=1, help="probability of the best candidate below which it is plain")
POLICY = Policy("router", weights, (THRESHOLD,))
