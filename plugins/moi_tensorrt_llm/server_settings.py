"""What a server sets for all of its requests, through the environment: it reaches the workers, where flags do not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from moi import MoIConfig
from moi.policies import policy_named
from moi.shown import shown

# The second name of each reaches the workers of a server that starts them by MPI, which forwards TLLM* and few others.
DEFAULT_VARIABLES = ("MOI_TENSORRT_LLM_DEFAULT", "TLLM_MOI_DEFAULT")
REPLAY_VARIABLES = ("MOI_TENSORRT_LLM_REPLAY_TOKENS", "TLLM_MOI_REPLAY_TOKENS")


@dataclass(frozen=True)
class ServerSettings:
    """Settings of a worker process.

    moi            policy of requests that say nothing; K, entropy and prior of all
    replay_tokens  mixtures kept of each request, to be fed again should it be preempted; 0: the last alone
    """

    moi: MoIConfig = MoIConfig("token")
    replay_tokens: int = 0

    def check(self, config: MoIConfig) -> None:
        """ValueError for settings of a request that only the server can choose."""
        for name in ("top_k", "entropy", "prior"):
            own, allowed = getattr(config, name), getattr(self.moi, name)
            if own != allowed:
                raise ValueError(
                    f"{name}={own!r} is not allowed; this server has {name}={allowed!r}, from {DEFAULT_VARIABLES[0]}"
                )


def server_settings(environ: Mapping[str, str]) -> ServerSettings:
    """From DEFAULT_VARIABLES, a MoIConfig as JSON such as {"beta": 2}, and REPLAY_VARIABLES, a number.

    ValueError that names the variable for anything else, or for two names of one setting that differ.
    """
    name, text = _given(environ, DEFAULT_VARIABLES)
    moi = MoIConfig("token") if text is None else _config(name, text)
    name, text = _given(environ, REPLAY_VARIABLES)
    if text is not None and not text.isdecimal():
        raise ValueError(f"{name}={shown(text)} is not a number of tokens")
    if len(text or "") > 9:
        raise ValueError(f"{name}={shown(text)} is not allowed; it must be below 10^9")
    return ServerSettings(moi, int(text or 0))


def _config(name: str, text: str) -> MoIConfig:
    try:
        config = MoIConfig.from_dict(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name}={shown(text)} is not a JSON object of MoI settings: {error}") from error
    if config.policy == "token":
        return config
    if config.prior == "sampling":
        raise ValueError(f'{name}: prior="sampling" needs each request\'s temperature; use prior="raw"')
    if policy_named(config.policy).draws:
        raise ValueError(f"{name}: policy {config.policy!r} needs each request's seed; use MoILogitsProcessor")
    return config


def _given(environ: Mapping[str, str], names: tuple[str, ...]) -> tuple[str, str | None]:
    """The name that is set and its text."""
    given = {name: environ[name] for name in names if environ.get(name)}
    if not given:
        return names[0], None
    (name, text), *others = given.items()
    if others and others[0][1] != text:
        raise ValueError(f"{name} and {others[0][0]} differ; set one of them")
    return name, text
