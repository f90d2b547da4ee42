"""The arms of an evaluation: what is compared on the same problems from the same noise."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

from moi import MoIConfig
from moi_engines import SamplingParams

# The grids of arXiv 2505.14827 (AIME and CountDown).
PAPER_BETAS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
PAPER_TEMPERATURES = (0.6, 0.8, 1.0)
PAPER_TOP_P = (0.4, 0.6, 0.8, 0.95)
_WITHOUT_BETA = ("token", "direct")


@dataclass(frozen=True)
class Arm:
    """One way to decode; beta is None for policies that do not read it."""

    policy: str
    beta: float | None
    temperature: float
    top_p: float

    @property
    def label(self) -> str:
        beta = "" if self.beta is None else f" beta={self.beta:g}"
        return f"{self.policy}{beta} T={self.temperature:g} top-p={self.top_p:g}"

    @property
    def plain(self) -> Arm:
        """The arm of plain decoding it is compared with."""
        return replace(self, policy="token", beta=None)

    def config(self, base: MoIConfig) -> MoIConfig:
        given = {} if self.beta is None else {"beta": self.beta}
        return base.replace(policy=self.policy, **given)

    def sampling(self, max_new_tokens: int, seed: int) -> SamplingParams:
        return SamplingParams(self.temperature, self.top_p, max_new_tokens=max_new_tokens, seed=seed)


def make_arms(
    policies: Sequence[str], betas: Sequence[float], temperatures: Sequence[float], top_p: Sequence[float]
) -> list[Arm]:
    """Every combination, each once; ValueError for values that no engine takes."""
    arms = dict[str, Arm]()
    for temperature, p, policy in product(temperatures, top_p, policies):
        for beta in (None,) if policy in _WITHOUT_BETA else betas:
            arm = Arm(policy, beta, temperature, p)
            arm.config(MoIConfig()), arm.sampling(1, 0)  # they check
            arms.setdefault(arm.label, arm)
    return list(arms.values())


def sample_seed(seed: int, item: str, sample: int) -> int:
    """The seed of a sample's noise: the same in every arm, and whatever else is in the batch."""
    digest = hashlib.sha256(f"{seed}/{item}/{sample}".encode()).digest()
    return int.from_bytes(digest[:6], "big")
