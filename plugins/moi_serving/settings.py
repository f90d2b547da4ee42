"""Settings: of the server, from its flags; of a request, from `custom_params["moi"]`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from moi import MoIConfig, Policy
from moi.config import parameter_values
from moi.policies import policy_named
from moi.shown import shown

KEY = "moi"  # of custom_params and of meta_info
THINK_END = "think_end"
PER_REQUEST = ("until", "per_token", "seed")  # keys beside the policy and its parameters; `until` is mix_until
PER_SERVER = ("top_k", "entropy", "prior", "preset")

Until = str | int | None


@dataclass(frozen=True)
class ServerSettings:
    """What the flags said: defaults of requests, and K, entropy and prior of all of them.

    mix_until        see `RequestSettings`
    allow_untested   start on a version of the host that the plugin was not tested with
    """

    moi: MoIConfig = field(default_factory=MoIConfig)
    mix_until: Until = None
    allow_untested: bool = False

    def __post_init__(self) -> None:
        check_until(self.mix_until)


@dataclass(frozen=True)
class RequestSettings:
    """How one request decodes.

    moi           policy and parameters; K, entropy and prior are the server's
    mix_until     mix up to this token id, or up to the model's end of thinking ("think_end"); None: to the end
    per_token     report entropy and intervention of every token
    seed          of the random numbers of a policy that draws; None: the host finds one
    """

    moi: MoIConfig
    mix_until: Until = None
    per_token: bool = False
    seed: int | None = None

    @property
    def mixes(self) -> bool:
        """Whether some token may be fed as a mixture."""
        return self.moi.policy != "token"

    @property
    def policy(self) -> Policy:
        """What its policy declares."""
        return policy_named(self.moi.policy)


def request_settings(custom_params: Any, server: ServerSettings) -> RequestSettings:
    """A request's settings over the server's; ValueError that names the key, its value and what is allowed.

    A request that has settings but no policy mixes, also on a server whose default is "token".
    """
    given = _given(custom_params)
    if given is None:
        return RequestSettings(server.moi, server.mix_until)
    policy = given.get("policy", server.moi.policy if server.moi.policy != "token" else "moi")
    known = dict(server.moi.parameters) if policy == server.moi.policy else {}
    own = {key: value for key, value in given.items() if key not in ("policy", *PER_REQUEST)}
    moi = server.moi.replace(policy=policy, **parameter_values(policy, {**known, **own}, PER_REQUEST))
    per_token = given.get("per_token", False)
    if not isinstance(per_token, bool):
        raise ValueError(f"per_token={shown(per_token)} is not allowed; per_token must be true or false")
    return RequestSettings(
        moi, check_until(given.get("until", server.mix_until)), per_token, check_seed(given.get("seed"))
    )


def check_vocabulary(settings: RequestSettings, vocab_size: int) -> None:
    """ValueError for a request that mixes up to a token that the model does not have."""
    until = settings.mix_until
    if settings.mixes and isinstance(until, int) and until >= vocab_size:
        raise ValueError(f"until={until} is not allowed; the model's vocabulary has {vocab_size} ids")


def too_large(settings: ServerSettings, vocab_size: int) -> dict[str, int]:
    """Settings of a server, by name, for which the model's vocabulary is too small."""
    until = settings.mix_until
    found = {"top_k": settings.moi.top_k} if settings.moi.top_k > vocab_size else {}
    return found | ({"until": until} if isinstance(until, int) and until >= vocab_size else {})


def _given(custom_params: Any) -> Mapping[str, Any] | None:
    """What a request says of the keys it may set, each a single value; None where it says nothing."""
    if custom_params is None:
        return None
    if not isinstance(custom_params, Mapping):
        raise ValueError(f"custom_params={shown(custom_params)} is not allowed; it must be a dict")
    if KEY not in custom_params:
        return None
    given = custom_params[KEY]
    if not isinstance(given, Mapping):
        raise ValueError(f"custom_params['moi']={shown(given)} is not allowed; it must be a dict of settings")
    for key, value in given.items():
        if key in PER_SERVER:
            raise ValueError(f"moi key {key!r} is a setting of the server; start it with --moi-{key.replace('_', '-')}")
        if isinstance(value, (Mapping, Sequence)) and not isinstance(value, str):
            name = key if isinstance(key, str) and key.isidentifier() and len(key) < 60 else shown(key)
            raise ValueError(f"{name}={shown(value)} is not allowed; {name} must be a single value")
    return given


def check_seed(seed: Any) -> int | None:
    """A request's `seed`, as it is; ValueError unless it is an integer in [0, 2^63) or None."""
    if seed is None or (type(seed) is int and 0 <= seed < 2**63):
        return seed
    raise ValueError(f"seed={shown(seed)} is not allowed; seed must be an integer in [0, 2^63)")


def check_until(until: Any) -> Until:
    """A request's or a flag's `until`, as it is; ValueError unless it is a token id, think_end or None."""
    if until is None or until == THINK_END or (type(until) is int and 0 <= until < 2**31):
        return until  # type: ignore[no-any-return]
    raise ValueError(f"until={shown(until)} is not allowed; until must be {THINK_END!r}, a token id or null")
