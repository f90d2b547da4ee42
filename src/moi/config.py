"""MoIConfig: every setting of the method, checked once where the user hands it in."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from moi.policies import policy_names

ENTROPIES = ("support", "vocab")
PRIORS = ("raw", "sampling")
MAX_TOP_K = 64
FLOAT32_MAX = 3.4028234663852886e38
INFINITY = "inf"  # of beta in JSON, which has no number for it
# Below it logits / temperature leaves float32 (as in SGLang, which draws the same line): such rows are greedy.
LEAST_TEMPERATURE = 1e-6


def check_beta(beta: Any) -> float:
    """beta as a float32 can hold it; ValueError unless it is a number >= 0.

    Infinity, which "inf" spells too, means plain decoding, and so do numbers beyond float32.
    """
    try:
        if beta == INFINITY:
            return math.inf
        if isinstance(beta, (int, float)) and not isinstance(beta, bool) and float(beta) >= 0:
            return float(beta) if beta <= FLOAT32_MAX else math.inf
    except OverflowError:  # an integer beyond floats, which JSON can spell
        raise ValueError("beta is an integer of more than 308 digits; beta must be a number >= 0") from None
    raise ValueError(f"beta={beta!r} is not allowed; beta must be a number >= 0")


def check_temperature(temperature: Any) -> float:
    """temperature as a float, 0 (greedy) where it is too small to divide by; ValueError unless finite and >= 0."""
    number = isinstance(temperature, (int, float)) and not isinstance(temperature, bool)
    if not number or not 0 <= temperature < math.inf:
        raise ValueError(f"temperature={temperature!r} is not allowed; temperature must be a finite number >= 0")
    if temperature > FLOAT32_MAX:
        raise ValueError(f"temperature is larger than float32 holds; temperature must be at most {FLOAT32_MAX:.4g}")
    return float(temperature) if temperature >= LEAST_TEMPERATURE else 0.0


@dataclass(frozen=True, slots=True)
class MoIConfig:
    """Settings of Mixture of Inputs.

    policy   name of a policy in `moi.policies`: "moi", "direct" or "token" (plain decoding)
    beta     weight of the sampled token as evidence, >= 0; larger is closer to plain decoding
    top_k    K, the candidates that make up the prior, 1..64
    entropy  "support": over the K candidates, / ln K; "vocab": over the vocabulary, / ln V
    prior    "raw": softmax of the logits; "sampling": of the logits / sampling temperature

    Raises ValueError that names the setting, its value and what is allowed.
    """

    policy: str = "moi"
    beta: float = 1.0
    top_k: int = 20
    entropy: str = "support"
    prior: str = "raw"

    def __post_init__(self) -> None:
        object.__setattr__(self, "beta", check_beta(self.beta))
        _check_choice("policy", self.policy, policy_names())
        _check_choice("entropy", self.entropy, ENTROPIES)
        _check_choice("prior", self.prior, PRIORS)
        if isinstance(self.top_k, bool) or not isinstance(self.top_k, int) or not 1 <= self.top_k <= MAX_TOP_K:
            raise ValueError(f"top_k={self.top_k!r} is not allowed; top_k must be an integer in 1..{MAX_TOP_K}")

    @classmethod
    def preset(cls, name: str, **overrides: Any) -> MoIConfig:
        """A named preset, with some settings changed: `MoIConfig.preset("paper", beta=0.5)`."""
        _check_choice("preset", name, PRESETS)
        return cls.from_dict(overrides, base=PRESETS[name])

    @classmethod
    def from_dict(cls, payload: Mapping[str, Any], *, base: MoIConfig | None = None) -> MoIConfig:
        """Settings from a request: keys of this class, or "preset", over `base` (default: this class's).

        Raises ValueError for a payload that is no mapping, an unknown key or a bad value.
        """
        if not isinstance(payload, Mapping):
            raise ValueError(f"moi={payload!r} is not allowed; it must be a dict of settings")
        settings = dict(payload)
        if "preset" in settings:
            _check_choice("preset", settings["preset"], PRESETS)
            base = PRESETS[settings.pop("preset")]
        allowed = [field.name for field in dataclasses.fields(cls)]
        for key in settings:
            if key not in allowed:
                raise ValueError(f"moi key {key!r} is unknown; allowed: {', '.join([*allowed, 'preset'])}")
        return dataclasses.replace(base or cls(), **settings)

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON holds them, an infinite beta as "inf"; `from_dict` reads them back."""
        return dataclasses.asdict(self) | ({"beta": INFINITY} if math.isinf(self.beta) else {})


def _check_choice(key: str, value: Any, allowed: Any) -> None:
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{key}={value!r} is unknown; allowed: {', '.join(allowed)}")


# official: what the authors' code ran, hence the published results. paper: the equations as printed,
# cut to K candidates.
PRESETS: dict[str, MoIConfig] = {
    "official": MoIConfig(),
    "paper": MoIConfig(top_k=64, entropy="vocab", prior="sampling"),
}
