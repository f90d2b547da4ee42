"""Policies: how the sampled token and the prior share the weight of the next input. One file each.

A policy is a `Policy`: a name, its declared parameters and one function in plain arithmetic. `moi.policies.moi` is the
shortest example. All take the entropies between which a row is mixed at all (`BOUNDS`). Other packages bring theirs
through the entry-point group `moi.policies`.
"""

from moi.policies.declaration import BOUNDS, UNBOUNDED, Parameter, Policy
from moi.policies.registry import load_policies, policy_code, policy_codes, policy_named, policy_names

__all__ = [
    "BOUNDS",
    "UNBOUNDED",
    "Parameter",
    "Policy",
    "load_policies",
    "policy_code",
    "policy_codes",
    "policy_named",
    "policy_names",
]
