"""Mixture of Inputs in plain PyTorch: the reference that every implementation is held to.

    logits[B,V] --sampler--> token[B]
         |                      |
         +------- mix ----------+--> Mixture(ids, weights, entropy) --embed--> x[B,D] -> next forward

Dims: B rows, V vocabulary, K candidates, S = K + 1 slots, D embedding width.
Source: Zhuang et al., "Mixture of Inputs", arXiv 2505.14827, Eq. 1-5. All arithmetic is float32.
These functions trust their caller; `moi.mix` and `moi.embed` check what users hand in.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from moi.candidates import largest
from moi.policies import Policy, load_policies
from moi.policies.declaration import DRAWN, SHARED_UNIFORMS
from moi.rows import RowParams

_FLOAT32_MAX = torch.finfo(torch.float32).max


class Mixture(NamedTuple):
    """What the next input is made of, one row per sequence.

    ids      int32 [B,S]: slot 0 the sampled token y, slots 1..K the candidates (logit desc, id asc)
    weights  float32 [B,S]: of each slot; never merged, signed
    entropy  float32 [B]: the normalised entropy H of the prior, 0..1
    """

    ids: Tensor
    weights: Tensor
    entropy: Tensor

    @property
    def intervention(self) -> Tensor:
        """1 - total weight on y, float32 [B]: how much of the input MoI changed, at most 1 / (beta + 1)."""
        others = torch.where(self.ids == self.ids[:, :1], 0.0, self.weights)
        return others.sum(-1)


def mix(
    logits: Tensor,
    token: Tensor,
    rows: RowParams,
    top_k: int,
    entropy: str,
    prior: str,
    *,
    select: Callable[[Tensor, int], Tensor] = largest,
) -> Mixture:
    """Weights of the next input, from the logits [B,V] and the token [B] sampled from them.

    p = softmax(logits[S] / tau) over the K largest logits, H = entropy(p) / ln K
    w = (H p + (beta + 1 - H) onehot(y)) / (beta + 1)

    NaN logits count as -inf; a row without any finite logit decodes plainly. `select` finds the candidates.
    """
    vocab = logits.shape[-1]
    z = torch.nan_to_num(logits.float(), nan=-torch.inf, posinf=_FLOAT32_MAX, neginf=-torch.inf)
    candidates = select(z, top_k)
    temperature = rows.temperature
    tau = torch.where(temperature > 0, temperature, 1.0) if prior == "sampling" else torch.ones_like(temperature)
    peak = z.gather(1, candidates[:, :1])
    empty = peak == -torch.inf
    peak = torch.where(empty, 0.0, peak)
    p = softmax((z.gather(1, candidates) - peak) / tau[:, None])
    if entropy == "support":
        h = normalised_entropy(p, top_k)
    else:
        h = normalised_entropy(softmax((z - peak) / tau[:, None]), vocab)
    policy = torch.where(empty[:, 0], 0, rows.policy)
    ids = torch.cat([token[:, None], candidates], 1).int()
    return Mixture(ids, policy_weights(policy, rows.parameters, Given(p, h[:, None], ids, rows.uniforms)), h)


def embed(ids: Tensor, weights: Tensor, table: Tensor, start: int, end: int) -> Tensor:
    """x[b] = sum_j weights[b,j] E[ids[b,j]], accumulated in float32, in the table's dtype; [B,D].

    Row r of `table` is the embedding of id start + r. Ids outside [start, end) and slots of weight
    zero contribute nothing, whatever their rows hold: shards of a vocabulary sum to the whole.
    """
    live = (ids >= start) & (ids < end) & (weights != 0)
    rows = table[torch.where(live, ids - start, 0).long()].float()
    rows = torch.where(live[:, :, None], rows * weights[:, :, None], 0.0)
    return rows.sum(1).to(table.dtype)


def softmax(z: Tensor) -> Tensor:
    """softmax of logits whose maximum is 0; a row of -inf alone gives zeros instead of NaN."""
    e = z.exp()
    total = e.sum(-1, keepdim=True)
    p: Tensor = e / torch.where(total > 0, total, 1.0)
    return p


def normalised_entropy(p: Tensor, support: int) -> Tensor:
    """-sum p ln p / ln(support), in 0..1; 0 where the support is a single id."""
    if support == 1:
        return torch.zeros_like(p[:, 0])
    nats: Tensor = torch.special.entr(p).sum(-1)
    return (nats / math.log(support)).clamp(0, 1)


class Given(NamedTuple):
    """What policies weigh by: the prior p [B,K], its entropy h [B,1], ids [B,S], and uniforms [B,8+K] or None."""

    p: Tensor
    h: Tensor
    ids: Tensor
    uniforms: Tensor | None


def policy_weights(policy: Tensor, parameters: Tensor, given: Given) -> Tensor:
    """weights [B,S] of each row by its own policy; policy int32 [B], parameters float32 [B,P].

    Plain are a code that is none, rows out of the bounds of entropy, and rows that draw without uniforms.
    """
    h = given.h[:, 0]
    policy = torch.where((h < parameters[:, -2]) | (h > parameters[:, -1]), 0, policy)
    plain, *others = load_policies()
    own, rest = _weigh(plain, parameters, given)
    for code, each in enumerate(others, start=1):
        if each.draws and given.uniforms is None:
            continue
        own_here, rest_here = _weigh(each, parameters, given)
        own = torch.where(policy[:, None] == code, own_here, own)
        rest = torch.where(policy[:, None] == code, rest_here, rest)
    return torch.cat([own, rest], 1)


def _weigh(policy: Policy, parameters: Tensor, given: Given) -> tuple[Any, Any]:
    """One policy for all rows: (weight of the token [B,1], of the candidates [B,K]), bound to what it asks for."""
    columns = {name: parameters[:, i : i + 1] for i, name in enumerate(policy.names)}
    own, rest = policy.weights(
        **{name: columns[name] if name in columns else _argument(name, given) for name in policy.arguments}
    )
    return _normalised(own, rest) if policy.normalised else (own, rest)


def _normalised(own: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:
    """Shares divided by their sum; plain where they sum to nothing."""
    total = own + rest.sum(-1, keepdim=True)
    divisor = torch.where(total > 0, total, 1.0)
    return torch.where(total > 0, own / divisor, 1.0), torch.where(total > 0, rest / divisor, 0.0)


def _ranks(p: Tensor) -> Tensor:
    return torch.arange(p.shape[1], device=p.device)


def _mass_before(p: Tensor) -> Tensor:
    """Not by cumsum, which TensorRT's subset of ONNX lacks."""
    rank = _ranks(p)
    return torch.where(rank < rank[:, None], p[:, None, :], 0.0).sum(-1)


def _argument(name: str, given: Given) -> Tensor:
    if name not in DRAWN:
        return _ARGUMENTS[name](given)
    assert given.uniforms is not None, "asked for by policies that draw alone"
    if name not in SHARED_UNIFORMS:
        return given.uniforms[:, len(SHARED_UNIFORMS) :]
    place = SHARED_UNIFORMS.index(name)
    return given.uniforms[:, place : place + 1]


_ARGUMENTS: dict[str, Callable[[Given], Tensor]] = {
    "prior": lambda given: given.p,
    "entropy": lambda given: given.h,
    "rank": lambda given: _ranks(given.p).float(),
    "before": lambda given: _mass_before(given.p),
    "best": lambda given: given.p[:, :1],
    "other": lambda given: (given.ids[:, 1:] != given.ids[:, :1]).float(),
}
