"""MoIConfig: every setting of the method, checked once where the user hands it in."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from moi.policies import BOUNDS, UNBOUNDED, load_policies, policy_named
from moi.policies.declaration import FLOAT32_MAX, INFINITY
from moi.shown import shown

ENTROPIES = ("support", "vocab")
PRIORS = ("raw", "sampling")
MAX_TOP_K = 64
_SHARED = ("top_k", "entropy", "prior")  # by all rows of a batch
# Below it logits / temperature leaves float32 (as in SGLang, which draws the same line): such rows are greedy.
LEAST_TEMPERATURE = 1e-6


def check_temperature(temperature: Any) -> float:
    """temperature as a float, 0 (greedy) where it is too small to divide by; ValueError unless finite and >= 0."""
    number = isinstance(temperature, (int, float)) and not isinstance(temperature, bool)
    if not number or not 0 <= temperature < math.inf:
        raise ValueError(f"temperature={shown(temperature)} is not allowed; temperature must be a finite number >= 0")
    if temperature > FLOAT32_MAX:
        raise ValueError(f"temperature is larger than float32 holds; temperature must be at most {FLOAT32_MAX:.4g}")
    return float(temperature) if temperature >= LEAST_TEMPERATURE else 0.0


@dataclass(frozen=True, init=False, repr=False)
class MoIConfig:
    """Settings of Mixture of Inputs: `MoIConfig("moi", beta=0.5, top_k=20)`.

    policy      name of a policy in `moi.policies`: "moi", "direct", "token" (plain decoding), ... or an installed one
    parameters  of the policy as (name, value) in the declared order, then min_entropy and max_entropy, which all have;
                given by their names, and read so: `config.beta`
    top_k       K, the candidates that make up the prior, 1..64
    entropy     "support": over the K candidates, / ln K; "vocab": over the vocabulary, / ln V
    prior       "raw": softmax of the logits; "sampling": of the logits / sampling temperature

    Raises ValueError that names the setting, its value and what is allowed.
    """

    policy: str
    parameters: tuple[tuple[str, float], ...]
    top_k: int
    entropy: str
    prior: str

    def __init__(
        self,
        /,
        policy: str = "moi",
        *,
        parameters: Mapping[str, Any] | Iterable[tuple[str, Any]] = (),
        top_k: int = 20,
        entropy: str = "support",
        prior: str = "raw",
        **values: Any,
    ) -> None:
        _check_choice("entropy", entropy, ENTROPIES)
        _check_choice("prior", prior, PRIORS)
        if isinstance(top_k, bool) or not isinstance(top_k, int) or not 1 <= top_k <= MAX_TOP_K:
            raise ValueError(f"top_k={shown(top_k)} is not allowed; top_k must be an integer in 1..{MAX_TOP_K}")
        checked = parameter_values(policy, {**dict(parameters), **values}, (*_SHARED, "preset"))
        settings = {"top_k": top_k, "entropy": entropy, "prior": prior}
        for name, value in {"policy": policy, "parameters": tuple(checked.items()), **settings}.items():
            object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> float:
        """A parameter by its name."""
        for key, value in self.__dict__.get("parameters", ()):
            if key == name:
                return float(value)
        raise AttributeError(f"MoIConfig of policy {self.__dict__.get('policy')!r} has no {name!r}")

    def __repr__(self) -> str:
        return f"MoIConfig({', '.join(f'{key}={value!r}' for key, value in self.to_dict().items())})"

    @classmethod
    def preset(cls, name: str, **overrides: Any) -> MoIConfig:
        """A named preset, with some settings changed: `MoIConfig.preset("paper", beta=0.5)`."""
        _check_choice("preset", name, PRESETS)
        return cls.from_dict(overrides, base=PRESETS[name])

    @classmethod
    def from_dict(cls, payload: Mapping[str, Any], *, base: MoIConfig | None = None) -> MoIConfig:
        """Settings from a request: "policy", its parameters, the keys of this class or "preset", over `base`.

        Raises ValueError for a payload that is no mapping, an unknown key or a bad value.
        """
        if not isinstance(payload, Mapping):
            raise ValueError(f"moi={shown(payload)} is not allowed; it must be a dict of settings")
        settings = dict(payload)
        if "preset" in settings:
            _check_choice("preset", settings["preset"], PRESETS)
            base = PRESETS[settings.pop("preset")]
        return (base or cls()).replace(settings)

    def replace(self, changes: Mapping[str, Any] = {}, /, **more: Any) -> MoIConfig:
        """With some settings changed, by the keys of `to_dict`; another policy starts from its own defaults."""
        changes = {**changes, **more}
        policy = changes.pop("policy", self.policy)
        shared = {key: changes.pop(key, getattr(self, key)) for key in _SHARED}
        kept = dict(self.parameters) if policy == self.policy else {}
        return MoIConfig(policy, parameters={**kept, **changes}, **shared)

    def to_dict(self) -> dict[str, Any]:
        """The settings in one flat dict, the parameters beside their policy, as JSON holds them.

        Infinity is "inf"; bounds of entropy that bound nothing are left out. `from_dict` reads it back.
        """
        given = [each for each in self.parameters if each not in UNBOUNDED]
        parameters = {name: INFINITY if value == math.inf else value for name, value in given}
        return {"policy": self.policy, **parameters, **{key: getattr(self, key) for key in _SHARED}}


def parameter_values(policy: str, given: Mapping[str, Any], others: Iterable[str] = ()) -> dict[str, float]:
    """The values of all parameters that the policy declares and of the BOUNDS, as given or else their defaults.

    others  keys that may stand beside them, for the message

    Raises ValueError that names the policy, the key and what that policy takes.
    """
    declared = policy_named(policy)
    taken = {each.name: each for each in (*declared.parameters, *BOUNDS)}
    for key in given:
        if key not in taken:
            _refuse_key(policy, key, declared.names, others)
    return {name: each.check(given.get(name, each.default)) for name, each in taken.items()}


def parse_assignments(texts: Iterable[str]) -> dict[str, float]:
    """Parameters as a command line spells them, "name=value"; ValueError for anything else, or a name twice."""
    values: dict[str, float] = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            number = float(value)
        except ValueError:
            raise ValueError(f"parameter {shown(text)} is not allowed; write it as name=number") from None
        if values.setdefault(name, number) is not number:
            raise ValueError(f"parameter {shown(name)} is given twice")
    return values


def _refuse_key(policy: str, key: Any, names: tuple[str, ...], others: Iterable[str]) -> None:
    bounds = ", ".join(each.name for each in BOUNDS)
    owners = [other.name for other in load_policies() if key in other.names]
    if owners:
        takes = ", ".join(names) or "none"
        raise ValueError(
            f"policy {policy!r} has no parameter {shown(key)}, which is one of: {', '.join(owners)}; "
            f"its parameters: {takes}; those of every policy: {bounds}"
        )
    allowed = ", ".join(("policy", *names, *others, bounds))
    raise ValueError(f"moi key {shown(key)} is unknown; allowed: {allowed} (with policy {policy!r})")


def _check_choice(key: str, value: Any, allowed: Any) -> None:
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{key}={shown(value)} is unknown; allowed: {', '.join(allowed)}")


# official: what the authors' code ran, hence the published results. paper: the equations as printed,
# cut to K candidates.
PRESETS: dict[str, MoIConfig] = {
    "official": MoIConfig(),
    "paper": MoIConfig(top_k=64, entropy="vocab", prior="sampling"),
}
