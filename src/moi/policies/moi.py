"""Mixture of Inputs: the Dirichlet-multinomial posterior mean (arXiv 2505.14827, Eq. 5).

The paper's weight of y, (beta + 1 - H) / (beta + 1), is written 1 - H / (beta + 1): the same number, and still a
number when beta is infinite.
"""

from __future__ import annotations

from typing import Any

from moi.policies.declaration import Parameter, Policy


def weights(prior: Any, entropy: Any, beta: Any) -> tuple[Any, Any]:
    share = entropy / (beta + 1)
    return 1 - share, share * prior


BETA = Parameter("beta", 1.0, low=0, help="weight of the sampled token as evidence; infinity is plain decoding")
POLICY = Policy("moi", weights, (BETA,))
