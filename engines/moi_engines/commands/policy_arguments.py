"""Command-line options for a policy and its parameters, which the policies declare."""

from __future__ import annotations

import argparse
from typing import Any

from moi import load_policies, policy_names
from moi.config import parse_assignments


def add_policy_arguments(group: Any) -> None:
    """--policy, --param NAME=VALUE and --beta."""
    group.add_argument("--policy", choices=policy_names(), help="default: moi; token is plain decoding")
    group.add_argument("--param", action="append", default=[], metavar="NAME=VALUE", help=parameter_help())
    group.add_argument("--beta", type=float, help="short for --param beta=B (default: 1)")


def parameters_of(args: argparse.Namespace) -> dict[str, float]:
    """What --param and --beta say; ValueError for what is no number, or said twice."""
    return parse_assignments([*args.param, *([] if args.beta is None else [f"beta={args.beta!r}"])])


def parameter_help() -> str:
    """A line on each parameter that there is."""
    declared = (
        f"{policy.name}: {each.name}, {each.allowed} (default {each.default:g}), {each.help}"
        for policy in load_policies()
        for each in policy.parameters
    )
    return f"of the policy, may be given several times. {'; '.join(declared)}".replace("%", "%%")
