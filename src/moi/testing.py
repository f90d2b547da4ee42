"""The contract as data: cases, tolerances and the assertions every backend is held to.

`oracle_mix` and `oracle_embed` restate the method in Python's own float64, one row at a time and
without a line of the code under test.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from moi.config import MoIConfig
from moi.mixture import Mixture
from moi.policies import BOUNDS, Parameter, Policy, load_policies
from moi.rows import RowParams, parameter_count

# Largest |difference| allowed, by type of the result. Weights are float32 sums of at most V terms,
# whatever the logits' type: logits are widened exactly. Embeddings of unit-scale tables accumulate in
# float32 and round once to the table's type, so half a unit in the last place of values up to 4.
TOLERANCES: dict[torch.dtype, float] = {
    torch.float32: 4e-6,
    torch.float16: 2e-3,
    torch.bfloat16: 1.6e-2,
}


class Inputs(NamedTuple):
    """Arguments of an implementation's mix, one row per sequence."""

    logits: Tensor
    token: Tensor
    rows: RowParams

    def to(self, device: torch.device | str) -> Inputs:
        rows = RowParams(*(tensor.to(device) for tensor in self.rows))
        return Inputs(self.logits.to(device), self.token.to(device), rows)

    def copy_(self, other: Inputs) -> None:
        """Take over its values in place, where a recorded graph reads them."""
        for mine, theirs in zip((*self[:2], *self.rows), (*other[:2], *other.rows), strict=True):
            mine.copy_(theirs)

    def select(self, rows: Tensor) -> Inputs:
        """These rows, by their places."""
        return Inputs(self.logits[rows], self.token[rows], self.rows.select(rows))

    def of_policy(self, code: int) -> Inputs:
        """With the same policy in every row, over the values of its parameters."""
        policy = torch.full_like(self.rows.policy, code)
        return self._replace(rows=self.rows._replace(policy=policy, parameters=parameters_of(policy)))


@dataclass(frozen=True)
class Case:
    """A shape, a setting and a way to fill the logits float32 [B,V]."""

    name: str
    rows: int
    vocab: int
    config: MoIConfig
    fill: Callable[[int, int], Tensor]

    def inputs(self, dtype: torch.dtype = torch.float32, seed: int = 0) -> Inputs:
        """Deterministic arguments: policies, their parameters and temperatures differ from row to row."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            logits = self.fill(self.rows, self.vocab).to(dtype)
            row = torch.arange(self.rows)
            best = logits.float().nan_to_num(nan=-math.inf).argmax(-1) if self.rows else row
            token = torch.where(row % 2 == 0, best, torch.randint(self.vocab, (self.rows,)))
            policy = (row + 1) % len(load_policies())
            temperature = torch.tensor([0.6, 1.0, 0.0, 1.7])[row % 4]
            return Inputs(logits, token, RowParams(policy.int(), parameters_of(policy), temperature))

    def table(self, width: int, dtype: torch.dtype, seed: int = 1) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(self.vocab, width, generator=generator).to(dtype)


def parameters_of(policy: Tensor) -> Tensor:
    """float32 [B,P] for codes [B]: values that the declarations allow, others in each row."""
    values = torch.zeros(len(policy), parameter_count())
    for row, code in enumerate(policy.tolist()):
        for column, parameter in enumerate(load_policies()[code].parameters):
            allowed = probes(parameter)
            values[row, column] = allowed[(row + column) % len(allowed)]
    between = torch.tensor([[0.0, 1.0], [0.0, 1.0], [0.25, 1.0], [0.0, 0.75]])
    place = torch.arange(len(policy))
    values[:, -len(BOUNDS) :] = between[(place + place // 4) % 4]
    return values


def probes(parameter: Parameter) -> list[float]:
    """The default, the bounds and values between them, as far as they are allowed.

    None is the entropy, probability or mass of candidates that are equal, or certain, but for rounding.
    """
    low = parameter.low if math.isfinite(parameter.low) else min(parameter.default, parameter.high) - 8
    high = parameter.high if math.isfinite(parameter.high) else low + 8
    between = [low + (high - low) * share for share in (0.037, 0.463, 0.983)]
    if parameter.integer:
        between = [float(round(value)) for value in between]
    values = (
        [parameter.default, low, *between, parameter.high]
        if math.isinf(parameter.high)
        else [parameter.default, low, *between]
    )
    return [value for value in dict.fromkeys(values) if parameter.holds(value)]


def _normal(rows: int, vocab: int) -> Tensor:
    return torch.randn(rows, vocab) * 3


def _ties(rows: int, vocab: int) -> Tensor:
    return torch.randint(-3, 4, (rows, vocab)) / 2


def _flat(rows: int, vocab: int) -> Tensor:
    return torch.zeros(rows, vocab)


def _peaked(rows: int, vocab: int) -> Tensor:
    logits = torch.randn(rows, vocab)
    logits[:, vocab // 2] = 60.0
    return logits


def _masked(rows: int, vocab: int) -> Tensor:
    """A grammar that leaves five ids, and nothing at all in the last row."""
    logits = torch.full((rows, vocab), -math.inf)
    logits[:, 3:8] = torch.randn(rows, 5)
    logits[-1:] = -math.inf
    return logits


def _odd_values(rows: int, vocab: int) -> Tensor:
    """NaN counts as -inf; +inf and huge values stay ordered; -0.0 ties with 0.0 at the top of the middle rows."""
    logits = -torch.randn(rows, vocab).abs()
    logits[:, ::7] = math.nan
    logits[:, 2] = 0.0
    logits[:, 1] = logits[:, 3] = -0.0
    logits[0, 5] = 3e38
    logits[-1, 4:6] = math.inf
    return logits


def _strided(rows: int, vocab: int) -> Tensor:
    return torch.randn(vocab, 2 * rows).t()[::2] * 2


_OFFICIAL = MoIConfig.preset("official")
_PAPER = MoIConfig.preset("paper")

CASES: tuple[Case, ...] = (
    Case("official", 8, 1000, _OFFICIAL, _normal),
    Case("paper", 8, 1000, _PAPER, _normal),
    Case("support of sampling prior", 8, 1000, replace(_OFFICIAL, prior="sampling"), _normal),
    Case("vocab of raw prior", 8, 1000, replace(_PAPER, prior="raw"), _normal),
    Case("ties", 8, 999, _OFFICIAL, _ties),
    Case("flat", 4, 4097, _PAPER, _flat),
    Case("peaked", 8, 1000, _PAPER, _peaked),
    Case("masked", 4, 500, _OFFICIAL, _masked),
    Case("masked, vocab", 4, 500, _PAPER, _masked),
    Case("nan, inf and zeros", 4, 500, _OFFICIAL, _odd_values),
    Case("strided", 6, 700, _PAPER, _strided),
    Case("one candidate", 4, 300, replace(_OFFICIAL, top_k=1), _normal),
    Case("whole vocabulary", 4, 40, replace(_OFFICIAL, top_k=40), _normal),
    Case("one id", 2, 1, replace(_PAPER, top_k=1), _normal),
    Case("no rows", 0, 100, _OFFICIAL, _normal),
    Case("large vocabulary", 2, 151_936, _OFFICIAL, _normal),
    Case("largest vocabulary", 1, 262_144, _PAPER, _normal),
)


def oracle_mix(inputs: Inputs, config: MoIConfig) -> Mixture:
    """The method of `moi.mix`, restated row by row in float64 (weights and entropy float64)."""
    rows = [
        _oracle_row(inputs.logits[i], inputs.token[i], *inputs.rows.select(i), config) for i in range(len(inputs.token))
    ]
    slots = config.top_k + 1
    return Mixture(
        torch.tensor([row[0] for row in rows], dtype=torch.int32).reshape(-1, slots),
        torch.tensor([row[1] for row in rows], dtype=torch.float64).reshape(-1, slots),
        torch.tensor([row[2] for row in rows], dtype=torch.float64),
    )


def _oracle_row(
    logits: Tensor, sampled: Tensor, code: Tensor, parameters: Tensor, temperature: Tensor, config: MoIConfig
) -> tuple[list[int], list[float], float]:
    token = int(sampled)
    biggest = torch.finfo(torch.float32).max
    values = [-math.inf if math.isnan(v) else min(v, biggest) for v in logits.tolist()]
    order = sorted(range(len(values)), key=lambda i: (-values[i], i))[: config.top_k]
    ids = [token, *order]
    peak = values[order[0]]
    if peak == -math.inf:
        return ids, [1.0] + [0.0] * len(order), 0.0
    tau = float(temperature) if config.prior == "sampling" and temperature > 0 else 1.0
    p = _oracle_softmax([(values[i] - peak) / tau for i in order])
    over = p if config.entropy == "support" else _oracle_softmax([(v - peak) / tau for v in values])
    h = 0.0 if len(over) == 1 else -math.fsum(q * math.log(q) for q in over if q > 0) / math.log(len(over))
    policy = load_policies()[int(code)]
    least, most = parameters.tolist()[-2:]
    if not least <= h <= most:
        return ids, [1.0] + [0.0] * len(order), h
    own, others = _oracle_weights(policy, dict(zip(policy.names, parameters.tolist(), strict=False)), p, h)
    return ids, [own, *others], h


def _oracle_weights(policy: Policy, given: dict[str, float], p: list[float], h: float) -> tuple[float, list[float]]:
    """The published policies in words of their own; of others, their function in float64, candidate by candidate."""
    nothing = [0.0] * len(p)
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
    own, others = 0.0, []
    for rank, q in enumerate(p):
        known = {"prior": q, "entropy": h, "rank": rank, "before": math.fsum(p[:rank]), "best": p[0], **given}
        own, other = policy.weights(**{name: known[name] for name in policy.arguments})
        others.append(float(other))
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


def assert_mixture(actual: Mixture, expected: Mixture) -> None:
    """ids equal, weights and entropy within float32's tolerance, types and weight sums as documented."""
    assert actual.ids.dtype == torch.int32
    assert actual.weights.dtype == actual.entropy.dtype == torch.float32
    assert torch.equal(actual.ids.cpu(), expected.ids.cpu()), "candidates differ"
    tolerance = TOLERANCES[torch.float32]
    assert_close("weights", actual.weights, expected.weights, tolerance)
    assert_close("entropy", actual.entropy, expected.entropy, tolerance)
    assert_close("weight sum", actual.weights.sum(-1), torch.ones(len(actual.ids)), tolerance)


def assert_embedding(actual: Tensor, expected: Tensor) -> None:
    """Embeddings equal within the tolerance of the table's type."""
    assert_close("embedding", actual, expected, TOLERANCES[actual.dtype])


def assert_close(name: str, actual: Tensor, expected: Tensor, tolerance: float) -> None:
    assert actual.shape == expected.shape, f"{name}: shape {list(actual.shape)}, expected {list(expected.shape)}"
    difference = (actual.cpu().double() - expected.cpu().double()).abs()
    worst = difference.max().item() if difference.numel() else 0.0
    assert worst <= tolerance, f"{name}: differs by {worst:.3g}, allowed {tolerance:.3g}"
