"""Which policies there are: this package's, then those that installed packages bring.

    [project.entry-points."moi.policies"]
    half = "my_package.half:POLICY"

A policy's place in `load_policies()` is its code in per-row tensors: the same in every process that sees the same
packages. Nothing is looked up before a name is asked for that is not built in.
"""

from __future__ import annotations

import torch
from torch import Tensor

from moi.entry_points import installed, load
from moi.policies import direct, gumbel, moi, multiplex, router, selar, soft, token
from moi.policies.declaration import Policy
from moi.shown import shown

GROUP = "moi.policies"
# Token comes first: code 0, so zero-initialised tables of a host mean plain decoding.
_MODULES = (token, moi, direct, soft, selar, router, gumbel, multiplex)
BUILT_IN: dict[str, Policy] = {each.POLICY.name: each.POLICY for each in _MODULES}


_found: tuple[Policy, ...] = ()  # all policies, once they were looked for


def load_policies() -> tuple[Policy, ...]:
    """All policies in the order of their codes; RuntimeError that names an entry point which gives none."""
    return _found or _look()


def _look() -> tuple[Policy, ...]:
    global _found
    found = dict(BUILT_IN)
    for name, point in installed(GROUP, "policy", BUILT_IN).items():
        found[name] = load(point, "policy", "a moi.Policy", lambda policy: isinstance(policy, Policy))
    _found = tuple(found.values())
    return _found


# As torch.compiler.assume_constant_result, which costs the import of the compiler: a graph that is traced takes the
# policies there are, and not the looking for them.
_look._dynamo_marked_constant = True  # type: ignore[attr-defined]


def policy_named(name: str) -> Policy:
    """The named policy; ValueError for an unknown name."""
    if isinstance(name, str) and name in BUILT_IN:  # other packages stay unimported
        return BUILT_IN[name]
    for policy in load_policies():
        if policy.name == name:
            return policy
    raise ValueError(f"policy={shown(name)} is unknown; allowed: {', '.join(policy_names())}")


def policy_names() -> list[str]:
    """In the order of their codes."""
    return [policy.name for policy in load_policies()]


def policy_code(name: str) -> int:
    """Position of the named policy in `load_policies()`; ValueError for an unknown name."""
    policy_named(name)
    return policy_names().index(name)


def policy_codes(names: list[str], device: torch.device | str | None = None) -> Tensor:
    """Codes of several rows, int32 [B]."""
    return torch.tensor([policy_code(name) for name in names], dtype=torch.int32, device=device)
