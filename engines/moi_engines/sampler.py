"""Choosing tokens: temperature, top-k, top-p and min-p, then the inverse of the CDF at given noise.

Dims: B rows, V vocabulary, C candidates. Candidates are ordered by (logit desc, id asc), the CDF runs in
that order: a backend that sums in the same order picks the same token from the same noise.

Sorting a vocabulary costs more than a layer of a small model, and the noise nearly always falls among the few
hundred best ids. So on a CPU rows that keep every id are drawn from their best ids first; only rows which those
cannot decide look further. The arithmetic does not depend on C, so neither does the token. On a GPU asking whether
a row is decided would wait for the device: there one pass takes as many ids as the widest row may choose from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from moi.candidates import largest
from moi_engines.protocol import SamplingParams

WIDTHS = (256, 4096)  # candidates to try before the whole vocabulary
_FLOAT32_MAX = torch.finfo(torch.float32).max


class SamplingTensors(NamedTuple):
    """SamplingParams of a batch on the device: temperature, top_p, min_p float32 [B]; top_k int64 [B]."""

    temperature: Tensor
    top_p: Tensor
    min_p: Tensor
    top_k: Tensor
    candidates: int

    @classmethod
    def of(cls, params: Sequence[SamplingParams], vocab: int, device: torch.device) -> SamplingTensors:
        """As many rows as params, on `device`; top_k 0 becomes the vocabulary, greedy rows have one candidate."""
        top_k = [1 if p.temperature == 0 else min(p.top_k, vocab) or vocab for p in params]
        return cls(
            torch.tensor([p.temperature for p in params], dtype=torch.float32, device=device),
            torch.tensor([p.top_p for p in params], dtype=torch.float32, device=device),
            torch.tensor([p.min_p for p in params], dtype=torch.float32, device=device),
            torch.tensor(top_k, dtype=torch.int64, device=device),
            max(top_k, default=1),
        )

    def select(self, rows: Tensor) -> SamplingTensors:
        """These rows, by int64 places or a mask."""
        return SamplingTensors(
            self.temperature[rows], self.top_p[rows], self.min_p[rows], self.top_k[rows], self.candidates
        )


def sample(logits: Tensor, params: SamplingTensors, noise: Tensor, widths: Sequence[int] | None = None) -> Tensor:
    """Token ids int64 [B] from logits float32 [B,V] and uniform noise float32 [B] in [0,1).

    NaN counts as -inf, +inf as the largest float32; a row without a finite logit gives id 0. `widths` are the
    numbers of candidates to try first; by default `WIDTHS` on a CPU and none elsewhere.
    """
    z = torch.nan_to_num(logits, nan=-torch.inf, posinf=_FLOAT32_MAX, neginf=-torch.inf)
    if params.candidates == 1:
        return z.argmax(-1)  # of equal logits the first
    if widths is None:
        widths = WIDTHS if z.device.type == "cpu" else ()
    narrow = next((width for width in widths if width < params.candidates), None)
    # Limited rows need just their top_k ids; only whole vocabularies are worth the attempt.
    if narrow is None or params.candidates < z.shape[1]:
        return _draw(z, params, noise, params.candidates)[0]
    token, decided = _draw(z, params, noise, narrow)
    if not decided.all():
        rows = (~decided).nonzero()[:, 0]
        token[rows] = sample(z[rows], params.select(rows), noise[rows], widths[1:])
    return token


def _draw(z: Tensor, params: SamplingTensors, noise: Tensor, candidates: int) -> tuple[Tensor, Tensor]:
    """Tokens [B] from the best `candidates` ids of finite or -inf logits, and which rows these decide, bool [B].

    A row is decided if it may choose from no other id, or if the noise fell within these.
    """
    vocab, limit = z.shape[1], params.top_k
    ids = largest(z, candidates)
    peak = z.gather(1, ids[:, :1])
    peak = torch.where(peak == -torch.inf, 0.0, peak)
    tau = torch.where(params.temperature > 0, params.temperature, 1.0)[:, None]
    rank = torch.arange(candidates, device=z.device)
    e = torch.where(rank < limit[:, None], ((z.gather(1, ids) - peak) / tau).exp(), 0.0)
    total = e.sum(-1)
    if params.candidates == vocab:  # some row keeps every id
        total = torch.where(limit == vocab, ((z - peak) / tau).exp().sum(-1), total)
    p = e / torch.where(total > 0, total, 1.0)[:, None]
    before = p.cumsum(-1) - p
    keep = (before < params.top_p[:, None]) & (p >= params.min_p[:, None] * p[:, :1]) & (p > 0)
    cdf = torch.where(keep, p, 0.0).cumsum(-1)
    whole = (limit == vocab) & (params.top_p >= 1) & (params.min_p <= 0)
    mass = torch.where(whole, 1.0, cdf[:, -1])
    index = (cdf <= (noise * mass)[:, None]).sum(-1)
    decided = (limit <= candidates) | (limit == vocab) & (~keep[:, -1] | whole & (index < candidates))
    # Rounding may carry the noise past the last kept candidate.
    index = torch.minimum(index, keep.sum(-1) - 1).clamp_min(0)
    return ids.gather(1, index[:, None])[:, 0], decided
