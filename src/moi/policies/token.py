"""Plain decoding: the sampled token alone."""

from __future__ import annotations

from typing import Any

from moi.policies.declaration import Policy


def weights(prior: Any, entropy: Any) -> tuple[Any, Any]:
    return 1 + 0 * entropy, 0 * prior


POLICY = Policy("token", weights)
