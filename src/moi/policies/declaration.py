"""What a policy declares, and how a value of one of its parameters is checked."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from moi.shown import shown

FLOAT32_MAX = 3.4028234663852886e38
INFINITY = "inf"  # in JSON, which has no number for it

# Random numbers that a step of a row has for all its candidates; one more for each candidate comes behind them.
SHARED_UNIFORMS = tuple(f"u{place}" for place in range(8))
DRAWN = ("uniform", *SHARED_UNIFORMS)
OTHER = "other"
# What a policy's function may ask for besides its own parameters.
ARGUMENTS = ("prior", "entropy", "rank", "before", "best", OTHER, *DRAWN)
# Keys that stand beside a policy's parameters in payloads and on command lines.
_TAKEN = ("policy", "parameters", "top_k", "temperature", "preset", "until", "per_token", "seed", *ARGUMENTS)
_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Parameter:
    """A number that a policy reads, the same or another in each row of a batch.

    low, high  bounds, both allowed unless `above`, which leaves `low` out; an infinite `high` allows infinity
    integer    whether only whole numbers are allowed
    help       one line for users

    Raises ValueError for a name that cannot be a key, or a default outside the bounds.
    """

    name: str
    default: float
    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    integer: bool = False
    help: str = ""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or self.name in _TAKEN:
            raise ValueError(
                f"parameter name {self.name!r} is not allowed; use lower-case words, none of: {_listed(_TAKEN)}"
            )
        object.__setattr__(self, "default", self.check(self.default))

    @property
    def allowed(self) -> str:
        """The range in words: "a number >= 0", "an integer in [1, 8]"."""
        kind = "an integer" if self.integer else "a number"
        if math.isinf(self.low) and math.isinf(self.high):
            return kind
        if math.isinf(self.high):
            return f"{kind} {'>' if self.above else '>='} {self.low:g}"
        if math.isinf(self.low):
            return f"{kind} <= {self.high:g}"
        return f"{kind} in {'(' if self.above else '['}{self.low:g}, {self.high:g}]"

    def holds(self, value: Any) -> Any:
        """Whether a number, or each of a tensor, is in range; False for NaN."""
        over = value > self.low if self.above else value >= self.low
        within = over & (value <= self.high)
        return within & (value % 1 == 0) if self.integer else within

    def check(self, value: Any) -> float:
        """`value` as a float32 can hold it: infinity, which "inf" spells too, beyond its largest number.

        Raises ValueError that names the parameter, the value and what is allowed.
        """
        if value == INFINITY and self.high == math.inf:
            value = math.inf
        try:
            if isinstance(value, (int, float)) and not isinstance(value, bool) and self.holds(float(value)):
                return float(value) if abs(value) <= FLOAT32_MAX else math.copysign(math.inf, value)
        except OverflowError:  # an integer beyond floats, which JSON can spell
            raise ValueError(
                f"{self.name} is an integer of more than 308 digits; {self.name} must be {self.allowed}"
            ) from None
        raise ValueError(f"{self.name}={shown(value)} is not allowed; {self.name} must be {self.allowed}")


# Every policy takes them beside its own parameters: outside these entropies a row is fed plainly.
BOUNDS = (
    Parameter("min_entropy", 0, low=0, high=1, help="entropy H below which a row is fed plainly"),
    Parameter("max_entropy", 1, low=0, high=1, help="entropy H above which a row is fed plainly"),
)
UNBOUNDED = tuple((each.name, each.default) for each in BOUNDS)


@dataclass(frozen=True)
class Policy:
    """A way to share the weight of the next input between the sampled token and the candidates.

    weights     (own arguments) -> (weight of the sampled token, weights of the candidates), see below
    parameters  that the function reads, by their names
    normalised  whether the weights are shares yet: they are divided by their sum over the token and all candidates,
                and a row whose shares sum to 0 is fed plainly

    The function is written once, in plain arithmetic (+ - * /, comparisons as factors, exp and log of
    `moi.policies.arithmetic`), and serves PyTorch, Numba, Triton and ONNX; there is no branch, no other call and no
    other name from outside in it. It takes, by name and in any order, what it needs of its parameters and of:

        prior    p, softmax of the K best logits; [B,K] or one row or one candidate of it, as the rest
        entropy  H, normalised to 0..1
        rank     place of the candidate: 0 for the best
        before   mass of the prior over lower ranks
        best     p of rank 0
        other    1 for a candidate that is not the sampled token, 0 for the one that is
        uniform  a random number in [0,1) of the candidate's own
        u0 .. u7 random numbers in [0,1) that the candidates share

    The weight of the sampled token may depend on entropy, best, u0 .. u7 and parameters alone. `other` is a factor of
    a candidate's share: hosts weigh before they know the token, and take its candidate out once they do. Weights are
    signed; unless the policy says `normalised` they are fed as they are. Raises ValueError for a declaration that
    cannot be served.
    """

    name: str
    weights: Callable[..., tuple[Any, Any]]
    parameters: tuple[Parameter, ...] = ()
    normalised: bool = False
    names: tuple[str, ...] = field(init=False)  # of the parameters
    arguments: tuple[str, ...] = field(init=False)  # of the function

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(parameter.name for parameter in self.parameters))
        object.__setattr__(self, "arguments", tuple(inspect.signature(self.weights).parameters))
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"policy name {self.name!r} is not allowed; use lower-case words")
        if len(set(self.names)) < len(self.names):
            raise ValueError(f"policy {self.name!r} declares a parameter twice: {_listed(self.names)}")
        for bound in BOUNDS:
            if bound.name in self.names:
                raise ValueError(f"policy {self.name!r} declares {bound.name!r}, which every policy has")
        if self.exclusive and not self.normalised:
            raise ValueError(f"policy {self.name!r} asks for {OTHER!r}, which goes with normalised=True alone")
        for argument in self.arguments:
            if argument not in (*ARGUMENTS, *self.names):
                allowed = _listed((*ARGUMENTS, *self.names))
                raise ValueError(f"policy {self.name!r}: weights() asks for {argument!r}; there are: {allowed}")

    @property
    def draws(self) -> bool:
        """Whether a step of a row needs random numbers."""
        return not set(self.arguments).isdisjoint(DRAWN)

    @property
    def exclusive(self) -> bool:
        """Whether the candidate that is the sampled token has no share of its own."""
        return OTHER in self.arguments

    @property
    def completed(self) -> bool:
        """Whether its weights are completed with the token, for which they are computed with its position."""
        return self.draws or self.exclusive


def uniform_count(top_k: int) -> int:
    """Random numbers that a step of a row has: those that `top_k` candidates share, then one for each."""
    return len(SHARED_UNIFORMS) + top_k


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names)
