"""Soft Thinking: the likeliest candidates in proportion, the sampled token ignored (arXiv 2505.15778).

The paper mixes the sampler's distribution: use it with `prior="sampling"`. Reported gains are of models of 32B and
more; below about 30B it loses to sampling.
"""

from __future__ import annotations

from typing import Any

from moi.policies.declaration import Parameter, Policy


def weights(prior: Any, entropy: Any, before: Any, best: Any, top_p: Any, min_p: Any) -> tuple[Any, Any]:
    # A sum that reaches top_p but for rounding has reached it: 19 of 20 equal candidates make 0.95.
    return 0 * entropy, prior * (before < top_p * 0.999999) * (prior >= min_p * best)


TOP_P = Parameter("top_p", 0.95, low=0, high=1, above=True, help="mass of the candidates that are kept")
MIN_P = Parameter("min_p", 0.001, low=0, high=1, help="least probability of one that is kept, as a share of the best's")
POLICY = Policy("soft", weights, (TOP_P, MIN_P), normalised=True)
