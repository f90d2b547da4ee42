"""The arms of an evaluation: what is compared on the same problems from the same noise."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from moi import MoIConfig
from moi.config import parse_assignments
from moi.policies import BOUNDS, policy_named
from moi_engines import SamplingParams

# The grids of arXiv 2505.14827 (AIME and CountDown).
PAPER_BETAS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
PAPER_TEMPERATURES = (0.6, 0.8, 1.0)
PAPER_TOP_P = (0.4, 0.6, 0.8, 0.95)


@dataclass(frozen=True)
class Arm:
    """One way to decode; parameters of the policy by name, in the declared order; a limit `longer` times the plan's."""

    policy: str
    parameters: tuple[tuple[str, float], ...]
    temperature: float
    top_p: float
    longer: int = 1

    @property
    def label(self) -> str:
        """Policy, parameters and sampling in words: its key in results."""
        values = "".join(f" {name}={value:g}" for name, value in self.parameters)
        budget = f" budget x{self.longer}" if self.longer > 1 else ""
        return f"{self.policy}{values} T={self.temperature:g} top-p={self.top_p:g}{budget}"

    @property
    def plain(self) -> Arm:
        """The arm of plain decoding it is compared with."""
        return replace(self, policy="token", parameters=(), longer=1)

    def config(self, base: MoIConfig) -> MoIConfig:
        """Its policy over the settings that all arms share."""
        return base.replace(policy=self.policy, **dict(self.parameters))

    def sampling(self, max_new_tokens: int, seed: int) -> SamplingParams:
        """Of one sample, with the seed of its noise; max_new_tokens is the plan's."""
        return SamplingParams(self.temperature, self.top_p, max_new_tokens=max_new_tokens * self.longer, seed=seed)

    def limit(self, max_new_tokens: int) -> dict[str, int]:
        """For a results file: the limit of an arm that has its own, where max_new_tokens is the plan's."""
        return {"max_new_tokens": max_new_tokens * self.longer} if self.longer > 1 else {}

    def to_dict(self) -> dict[str, Any]:
        """Its entry in a results file, where beta is null for a policy that does not read it."""
        shared = {"temperature": self.temperature, "top_p": self.top_p}
        entry = {"label": self.label, "plain": self.plain.label, "policy": self.policy, "beta": None}
        # A parameter that is called as a setting of the sampler (top_p of `soft`) stands under its policy's name.
        own = {f"{self.policy}_{name}" if name in shared else name: value for name, value in self.parameters}
        return {**entry, **own, **shared}


def make_arms(
    policies: Sequence[str],
    parameters: Mapping[str, Sequence[float]],
    temperatures: Sequence[float],
    top_p: Sequence[float],
) -> list[Arm]:
    """Every combination of a policy, the values of its parameters and the sampler's, each once.

    parameters  values to try by name, for each policy that declares it; those not named keep their default

    Raises ValueError for values that no engine takes.
    """
    arms = dict[str, Arm]()
    for temperature, p, policy in product(temperatures, top_p, policies):
        bounds = [each for each in BOUNDS if each.name in parameters and policy != "token"]
        tried = (*policy_named(policy).parameters, *bounds)
        for values in product(*(parameters.get(each.name, (each.default,)) for each in tried)):
            arm = Arm(policy, tuple(zip((each.name for each in tried), values, strict=True)), temperature, p)
            arm.config(MoIConfig()), arm.sampling(1, 0)  # they check
            arms.setdefault(arm.label, arm)
    return list(arms.values())


def longer_arms(arms: Sequence[Arm], times: Sequence[int]) -> list[Arm]:
    """The plain arms again with so many times the limit; ValueError unless there is one, and all times are above 1."""
    plain = [arm for arm in arms if arm == arm.plain]
    if times and (min(times) < 2 or not plain):
        raise ValueError(
            f"--longer {' '.join(map(str, times))} is not allowed; it needs policy token, and integers >= 2"
        )
    return [replace(arm, longer=each) for each in dict.fromkeys(times) for arm in plain]


def parameter_grid(
    texts: Sequence[str], betas: Sequence[float] | None, policies: Sequence[str]
) -> dict[str, list[float]]:
    """Values by name from several "name=value" and from --beta; ValueError for a name that no policy declares."""
    grid = dict[str, list[float]]()
    for text in [*texts, *(f"beta={beta!r}" for beta in betas or ())]:
        for name, value in parse_assignments([text]).items():
            grid.setdefault(name, []).append(value)
    declared = [each.name for policy in policies for each in policy_named(policy).parameters]
    for name in grid:
        if name not in (*declared, *(each.name for each in BOUNDS)):
            takes = ", ".join(dict.fromkeys(declared)) or "none"
            raise ValueError(f"parameter {name!r} is not one of {', '.join(policies)}; their parameters: {takes}")
    return grid


def sample_seed(seed: int, item: str, sample: int) -> int:
    """The seed of a sample's noise: the same in every arm, and whatever else is in the batch."""
    digest = hashlib.sha256(f"{seed}/{item}/{sample}".encode()).digest()
    return int.from_bytes(digest[:6], "big")
