"""A mixture whose token comes later.

The weights of a mixture hardly depend on the sampled token: it is component 0 of the ids, and an exclusive policy has
no share for the candidate that equals it. So the mixture is computed while the logits are at hand, for a token that is
no candidate, and completed once the token is known.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch
from torch import Tensor

from moi.mixture import Mixture
from moi.policies import load_policies


@functools.cache
def exclusive_policies(device: torch.device) -> Tensor:
    """Whether a policy is exclusive, bool by code."""
    return torch.tensor([policy.exclusive for policy in load_policies()], device=device)


class PendingMixture(NamedTuple):
    """Mixture of B rows, complete but for their tokens; policy int32 [B], code 0 is plain; drawn: with uniforms."""

    policy: Tensor
    mixture: Mixture
    drawn: bool

    def complete(self, token: Tensor) -> Mixture:
        """With the tokens [B] that were sampled since. Takes the mixture over: it is completed once."""
        ids, weights, _ = self.mixture
        ids[:, 0] = token
        if self.drawn:  # rows of exclusive policies have uniforms, whether they read them or not
            exclusive = exclusive_policies(ids.device)[self.policy.long()][:, None]
            weights[:, 1:].masked_fill_(exclusive & (ids[:, 1:] == ids[:, :1]), 0.0)
            total = weights.sum(-1, keepdim=True)
            empty = exclusive & (total <= 0)  # nothing else had a share: plain
            weights.div_(torch.where(exclusive & ~empty, total, 1.0)).masked_fill_(empty, 0.0)
            weights[:, :1].masked_fill_(empty, 1.0)
        return self.mixture
