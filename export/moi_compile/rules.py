"""The rest of the state loop, for loops in other languages: policies as numbers, and rules in words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from moi.policies import BOUNDS, Parameter, policy_named
from moi.rows import parameter_count
from moi_onnx.manifest import Manifest

# `moi_engines.noise`, `moi.philox`, `moi_engines.graph_cache` and `moi_engines.sampler` are the same rules in Python.
RULES = {
    "prefill": (
        "mix_ids [batch, longest prompt, 1] holds the ids, padded on the right, mix_weights ones; write_indices 0; "
        "last_index is the prompt's length - 1; caches are zero"
    ),
    "decode": (
        "mix_ids and mix_weights [batch, 1, slots] are what `feeds` brings; write_indices is the prompt's length + "
        "tokens generated - 1; last_index 0"
    ),
    "finished": "a finished row may stay in the batch: leave its write_indices where they are, and read nothing of it",
    "noise": (
        "one number a row and step in [0,1). Of a seed: MT19937, initialised by the array of the seed's 32-bit words "
        "(lowest first, no leading zeros but for seed 0); the upper 24 bits of each word / 2^24"
    ),
    "uniforms": (
        "zeros unless a row's policy draws. Word w of a row is word w mod 4 of the Philox 4x32-10 block with the "
        "counter (w div 4, 0, position, position >> 32) and the seed's halves, lower first, as key; the upper 24 bits "
        "/ 2^24; position is the prompt's length + tokens generated so far"
    ),
    "undecided": (
        "where decided is false the token is only a candidate: draw it from the row's logits over the whole "
        "vocabulary, in the order (logit desc, id asc), with the same noise, and put it in slot 0 of the row's "
        "next_mix_ids. Weights stay if the policy's weights_need_token is false; otherwise give such rows top_k in "
        "1..candidates, which are always decided, as greedy rows are"
    ),
    "end": "a row ends with a token of model.eos, or when its positions or yours are used up",
}


Number = float | Literal["inf", "-inf"]  # JSON has no infinity


@dataclass(frozen=True)
class ColumnSpec:
    """A parameter: its column in the input `parameters`, its value where nobody says another, and what it may be.

    low, high  bounds, both allowed unless `above`, which leaves `low` out
    integer    whether only whole numbers are allowed
    """

    name: str
    column: int
    default: Number
    low: Number
    high: Number
    above: bool
    integer: bool


@dataclass(frozen=True)
class PolicySpec:
    """A policy: its number in the input `policy`.

    draws               its rows need `uniforms`
    weights_need_token  the weights change with the sampled token; otherwise only slot 0 does
    parameters          other columns of its rows are 0
    """

    name: str
    code: int
    draws: bool
    weights_need_token: bool
    parameters: tuple[ColumnSpec, ...]


def policy_specs(manifest: Manifest) -> tuple[PolicySpec, ...]:
    """Those that rows of an export may have, which is "token" alone without mixing.

    Raises ValueError for a policy of the export that is not installed here, or has other parameters.
    """
    width = parameter_count(manifest.policies)
    names = list(manifest.policies) if manifest.mixing else ["token"]
    return tuple(_policy_spec(name, code, manifest.policies[name], width) for code, name in enumerate(names))


def _policy_spec(name: str, code: int, parameters: list[str], width: int) -> PolicySpec:
    policy = policy_named(name)
    declared = {each.name: each for each in policy.parameters}
    if set(declared) != set(parameters):
        raise ValueError(
            f"policy={name!r} of the export has the parameters {', '.join(parameters) or 'none'}; "
            f"here it has {', '.join(declared) or 'none'}"
        )
    own = [_column(declared[key], column) for column, key in enumerate(parameters)]
    bounds = [_column(each, width - len(BOUNDS) + i) for i, each in enumerate(BOUNDS)]
    return PolicySpec(name, code, policy.draws, policy.exclusive, (*own, *bounds))


def _column(each: Parameter, column: int) -> ColumnSpec:
    default, low, high = (_plain(value) for value in (each.default, each.low, each.high))
    return ColumnSpec(each.name, column, default, low, high, each.above, each.integer)


def _plain(value: float) -> Number:
    if math.isfinite(value):
        return float(value)
    return "inf" if value > 0 else "-inf"
