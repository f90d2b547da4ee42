"""The method restated in Python's own float64, one row at a time and without a line of the code under test."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from moi.config import MoIConfig
from moi.mixture import Mixture
from moi.policies import Policy, load_policies
from moi.policies.declaration import SHARED_UNIFORMS
from moi.rows import RowParams
from moi.testing.inputs import Inputs


def oracle_mix(inputs: Inputs, config: MoIConfig) -> Mixture:
    """The method of `moi.mix`, restated row by row in float64 (weights and entropy float64)."""
    rows = [
        _oracle_row(inputs.logits[i], int(inputs.token[i]), inputs.rows.select(i), config)
        for i in range(len(inputs.token))
    ]
    slots = config.top_k + 1
    return Mixture(
        torch.tensor([row[0] for row in rows], dtype=torch.int32).reshape(-1, slots),
        torch.tensor([row[1] for row in rows], dtype=torch.float64).reshape(-1, slots),
        torch.tensor([row[2] for row in rows], dtype=torch.float64),
    )


class _Step(NamedTuple):
    """What a policy weighs by."""

    p: list[float]
    h: float
    same: list[bool]  # whether a candidate is the token
    uniforms: list[float]


def _oracle_row(logits: Tensor, token: int, row: RowParams, config: MoIConfig) -> tuple[list[int], list[float], float]:
    temperature, parameters = float(row.temperature), row.parameters.tolist()
    biggest = torch.finfo(torch.float32).max
    values = [-math.inf if math.isnan(v) else min(v, biggest) for v in logits.tolist()]
    order = sorted(range(len(values)), key=lambda i: (-values[i], i))[: config.top_k]
    ids = [token, *order]
    peak = values[order[0]]
    if peak == -math.inf:
        return ids, [1.0] + [0.0] * len(order), 0.0
    tau = temperature if config.prior == "sampling" and temperature > 0 else 1.0
    p = _oracle_softmax([(values[i] - peak) / tau for i in order])
    over = p if config.entropy == "support" else _oracle_softmax([(v - peak) / tau for v in values])
    h = 0.0 if len(over) == 1 else -math.fsum(q * math.log(q) for q in over if q > 0) / math.log(len(over))
    policy = load_policies()[int(row.policy)]
    plain = [1.0] + [0.0] * len(order)
    if not parameters[-2] <= h <= parameters[-1] or (policy.draws and row.uniforms is None):
        return ids, plain, h
    drawn = [] if row.uniforms is None else row.uniforms.tolist()
    step = _Step(p, h, [i == token for i in order], drawn)
    own, others = _oracle_weights(policy, dict(zip(policy.names, parameters, strict=False)), step)
    return ids, [own, *others], h


def _oracle_weights(policy: Policy, given: dict[str, float], step: _Step) -> tuple[float, list[float]]:
    """The published policies in words of their own; of others, their function in float64, candidate by candidate."""
    p, h, nothing = step.p, step.h, [0.0] * len(step.p)
    if policy.name == "token" or (policy.name == "moi" and math.isinf(given["beta"])):
        return 1.0, nothing
    if policy.name == "direct":
        return 0.0, p
    if policy.name == "moi":
        beta = given["beta"]
        return (beta + 1 - h) / (beta + 1), [h * q / (beta + 1) for q in p]
    if policy.name == "soft":
        masses = [math.fsum(p[:rank]) for rank in range(len(p))]
        least = given["min_p"] * p[0]
        kept = [
            q if mass < given["top_p"] * 0.999999 and q >= least else 0.0 for q, mass in zip(p, masses, strict=True)
        ]
        return 0.0, [q / math.fsum(kept) for q in kept]
    if policy.name == "selar":
        if h < given["threshold"]:
            return 1.0, nothing
        push = given["strength"] * h
        return 0.0, [(1 + push) * p[0] - push, *((1 + push) * q for q in p[1:])]
    if policy.name == "router":
        return (0.0, p) if p[0] >= given["threshold"] else (1.0, nothing)
    if policy.name == "gumbel":
        return _oracle_gumbel(given["tau"], step)
    if policy.name == "multiplex":
        return _oracle_multiplex(int(given["draws"]), step)
    return _oracle_function(policy, given, step)


def _oracle_gumbel(tau: float, step: _Step) -> tuple[float, list[float]]:
    """Softmax at tau of logits perturbed by Gumbel noise, given that the token's was the largest."""
    largest = _gumbel(step.uniforms[0])
    z = []
    for q, same, u in zip(step.p, step.same, step.uniforms[8:], strict=True):
        free = -math.inf if same or q == 0 else math.log(q) + _gumbel(u)
        z.append(-math.inf if free == -math.inf else -math.log(math.exp(-largest) + math.exp(-free)))
    own, *others = _oracle_softmax([(each - largest) / tau for each in (largest, *z)])
    return own, others


def _gumbel(u: float) -> float:
    return -math.log(-math.log(u or 2.0**-25))


def _oracle_multiplex(draws: int, step: _Step) -> tuple[float, list[float]]:
    """The token and draws - 1 more from p in equal shares, by the inverse of its CDF."""
    ends = [math.fsum(step.p[: rank + 1]) for rank in range(len(step.p))]
    drawn = [next((rank for rank, end in enumerate(ends) if u < end), None) for u in step.uniforms[: draws - 1]]
    counts = [drawn.count(rank) for rank in range(len(ends))]
    return 1 / (1 + sum(counts)), [count / (1 + sum(counts)) for count in counts]


def _oracle_function(policy: Policy, given: dict[str, float], step: _Step) -> tuple[float, list[float]]:
    p, own, others = step.p, 0.0, []
    shared = {name: step.uniforms[place] for place, name in enumerate(SHARED_UNIFORMS) if step.uniforms}
    for rank, q in enumerate(p):
        known = {"prior": q, "entropy": step.h, "rank": rank, "before": math.fsum(p[:rank]), "best": p[0]}
        known |= {"other": 1.0 - step.same[rank], **shared, **given}
        if step.uniforms:
            known["uniform"] = step.uniforms[len(shared) + rank]
        own, other = policy.weights(**{name: known[name] for name in policy.arguments})
        others.append(float(other))
    if policy.normalised:
        total = own + math.fsum(others)
        return (own / total, [other / total for other in others]) if total > 0 else (1.0, [0.0] * len(p))
    return float(own), others


def _oracle_softmax(z: list[float]) -> list[float]:
    e = [math.exp(v) for v in z]
    total = math.fsum(e)
    return [v / total for v in e]


def oracle_embed(mixture: Mixture, table: Tensor) -> Tensor:
    """sum_j weights[b,j] * E[ids[b,j]] in float64, [B,D]."""
    out = torch.zeros(mixture.ids.shape[0], table.shape[1], dtype=torch.float64)
    for b, (ids, weights) in enumerate(zip(mixture.ids.tolist(), mixture.weights.tolist(), strict=True)):
        for i, w in zip(ids, weights, strict=True):
            if w != 0:
                out[b] += w * table[i].double()
    return out
