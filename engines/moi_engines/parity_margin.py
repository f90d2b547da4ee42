"""How far a token is from being a right choice, given the logits that it was chosen from.

The margin is the smallest eps in 0..1 with which the choice is right: the difference of any two logits divided by the
temperature may be off by eps (in nats: a share eps of one probability beside another), and the thresholds of top-p and
min-p, the sums of the CDF and the noise by eps (in probability). So 0 is the reference's own choice, 1 one that it
would never make, and one tolerance holds for flat and for sharp distributions, for large vocabularies and for small
ones.

Dims: V vocabulary. Ranks and the CDF run by (logit desc, id asc), as `moi_engines.sampler`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from moi_engines.protocol import SamplingParams

_LEAST = 1e-9  # smaller margins are 0
_HALVINGS = 24  # of nine decades: the margin to four digits


class Choices:
    """One step's distribution of one row: logits [V] and how it is sampled; noise None if it is not known."""

    def __init__(self, logits: Tensor, params: SamplingParams, noise: float | None) -> None:
        self._greedy = params.temperature == 0
        scores = logits.double() / (params.temperature or 1.0)
        self._scores, self._ids = torch.sort(scores, descending=True, stable=True)
        self._rank = torch.empty_like(self._ids).scatter_(0, self._ids, torch.arange(len(scores), device=scores.device))
        count = params.top_k or len(scores)
        self._least_score = self._scores[min(count, len(scores)) - 1]
        self._p = torch.softmax(self._scores[:count], -1)
        self._cdf = self._p.cumsum(-1)
        self._top_p, self._min_p, self._noise = params.top_p, params.min_p, noise

    def best(self) -> int:
        """The token that the reference chooses; its likeliest one where the noise is not known."""
        if self._greedy or self._noise is None:
            return int(self._ids[0])
        count = self._kept(0.0)
        index = int((self._cdf[:count] <= self._noise * self._cdf[count - 1]).sum())
        return int(self._ids[min(index, count - 1)])

    def margin(self, token: int) -> float:
        """0..1, as the module says; 1 for logits that are not numbers."""
        if self._right(token, 0.0):
            return 0.0
        if not self._right(token, 1.0):
            return 1.0
        low, high = _LEAST, 1.0
        for _ in range(_HALVINGS):
            middle = float((low * high) ** 0.5)
            low, high = (low, middle) if self._right(token, middle) else (middle, high)
        return high

    def _right(self, token: int, eps: float) -> bool:
        """Whether `token` can be the choice when all is off by at most eps."""
        score = self._scores[self._rank[token]]
        if self._greedy:
            return bool(score >= self._scores[0] - eps)
        # Scores fall with the rank: those that may come before the token, and those that surely do.
        surely = int((self._scores > score + eps).sum())
        maybe = int((self._scores >= score - eps).sum())
        below, above = self._mass(surely), self._mass(maybe if eps else int(self._rank[token]) + 1)
        if not eps:
            below = self._mass(int(self._rank[token]))
        kept = (
            bool(score >= self._least_score - eps)
            and below < self._top_p + eps
            and float(torch.exp(score - self._scores[0])) >= self._min_p - eps
        )
        if not kept or self._noise is None:
            return kept
        most, least = (self._noise * self._mass(self._kept(eps * sign)) for sign in (1, -1))
        return below - eps <= most and least <= above + eps

    def _kept(self, slack: float) -> int:
        """Candidates that the filters keep when their thresholds move by `slack` (negative: keep fewer)."""
        keep = (self._cdf - self._p < self._top_p + slack) & (self._p >= (self._min_p - slack) * self._p[0])
        return max(1, int(keep.sum()))

    def _mass(self, count: int) -> float:
        """Probability of the first `count` candidates."""
        return float(self._cdf[min(count, len(self._cdf)) - 1]) if count else 0.0
