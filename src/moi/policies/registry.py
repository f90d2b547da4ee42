"""Which policies there are: this package's, then those that installed packages bring.

    [project.entry-points."moi.policies"]
    half = "my_package.half:POLICY"

A policy's place in `load_policies()` is its code in per-row tensors: the same in every process that sees the same
packages. Nothing is looked up before a name is asked for that is not built in.
"""

from __future__ import annotations

import functools
from importlib.metadata import EntryPoint, entry_points

import torch
from torch import Tensor

from moi.policies import direct, moi, router, selar, soft, token
from moi.policies.declaration import Policy

GROUP = "moi.policies"
# Token comes first: code 0, so zero-initialised tables of a host mean plain decoding.
BUILT_IN: dict[str, Policy] = {each.POLICY.name: each.POLICY for each in (token, moi, direct, soft, selar, router)}


def load_policies() -> tuple[Policy, ...]:
    """All policies in the order of their codes; RuntimeError that names an entry point which gives none."""
    return _loaded()


# As torch.compiler.assume_constant_result, which costs the import of the compiler: a graph that is traced takes the
# policies there are, and not the looking for them.
load_policies._dynamo_marked_constant = True  # type: ignore[attr-defined]


@functools.cache
def _loaded() -> tuple[Policy, ...]:
    found = dict(BUILT_IN)
    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        policy = _from_entry_point(point)
        if policy.name in found:
            raise RuntimeError(f"{_described(point)}: there is a policy {policy.name!r} already")
        found[policy.name] = policy
    return tuple(found.values())


def policy_named(name: str) -> Policy:
    """The named policy; ValueError for an unknown name."""
    if isinstance(name, str) and name in BUILT_IN:  # other packages stay unimported
        return BUILT_IN[name]
    for policy in load_policies():
        if policy.name == name:
            return policy
    raise ValueError(f"policy={name!r} is unknown; allowed: {', '.join(policy_names())}")


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


def _from_entry_point(point: EntryPoint) -> Policy:
    try:
        policy = point.load()
    except Exception as error:  # whatever the code of another package raises
        raise RuntimeError(f"{_described(point)} cannot be loaded: {type(error).__name__}: {error}") from error
    if not isinstance(policy, Policy) or policy.name != point.name:
        raise RuntimeError(f"{_described(point)} must be a moi.Policy named {point.name!r}, got {policy!r}")
    return policy


def _described(point: EntryPoint) -> str:
    package = f" of {point.dist.name}" if point.dist is not None else ""
    return f"policy entry point {point.name} = {point.value}{package}"
