"""Direct Mixture, the paper's baseline: the prior alone, the sampled token ignored."""

from __future__ import annotations

from typing import Any

from moi.policies.declaration import Policy


def weights(prior: Any, entropy: Any) -> tuple[Any, Any]:
    return 0 * entropy, 1 * prior


POLICY = Policy("direct", weights)
