"""Gumbel soft thinking: softmax of perturbed logits, whose largest is the sampled token's (arXiv 2508.03440).

The method perturbs ln p with Gumbel noise, feeds the softmax of it at temperature tau and takes the argmax for the
token. Here the token comes first, from the host's sampler, and the noise is drawn given that it won, which is exact:
the maximum M of all is a Gumbel at ln(sum p) = 0 whoever wins, and every other z_i a Gumbel at ln p_i cut off above M.
With e^-M = -ln u0 and e^-G_i = -ln(u_i) / p_i that is e^-z_i = e^-M + e^-G_i. Reported ahead of sampling on three
models of 32B.
"""

from __future__ import annotations

from typing import Any

from moi.policies.arithmetic import exp, log
from moi.policies.declaration import Parameter, Policy


def weights(prior: Any, other: Any, uniform: Any, u0: Any, tau: Any) -> tuple[Any, Any]:
    # Half a step of the noise stands for 0, whose logarithm is none.
    top = -log(u0 + (u0 <= 0) * 2.9802322387695312e-08)  # e^-M
    rest = -log(uniform + (uniform <= 0) * 2.9802322387695312e-08)  # p e^-G
    share = exp(log(prior * top / (prior * top + rest)) / tau)  # e^((z - M) / tau)
    return 1 + 0 * u0, other * share


TAU = Parameter("tau", 0.5, low=0.1, help="temperature of the softmax: the lower, the more of the token alone")
POLICY = Policy("gumbel", weights, (TAU,), normalised=True)
