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

from moi import Mixture, MoIConfig, RowParams, load_policies
from moi.ops import resolve


@functools.cache
def exclusive_policies(device: torch.device) -> Tensor:
    """Whether a policy is exclusive, bool by code."""
    return torch.tensor([policy.exclusive for policy in load_policies()], device=device)


class PendingMixture(NamedTuple):
    """Mixture of B rows, complete but for their tokens; policy int32 [B], code 0 is plain; drawn: with uniforms."""

    policy: Tensor
    mixture: Mixture
    drawn: bool

    @classmethod
    def compute(cls, logits: Tensor, rows: RowParams, config: MoIConfig, placeholder: Tensor) -> PendingMixture:
        """Of logits [B,V]. K, entropy and prior are the config's.

        placeholder  int64 [B], stands where tokens will be: NO_TOKEN where the rows have uniforms
        """
        mixture = resolve("auto", logits.device).mix(
            logits, placeholder, rows, config.top_k, config.entropy, config.prior
        )
        return cls(rows.policy, mixture, rows.uniforms is not None)

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
