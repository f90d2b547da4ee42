"""Settings of the server, from --additional-config and MOI_* variables; of a request, from its vllm_xargs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moi import MoIConfig
from moi.shown import shown
from moi_serving.environment import environment_settings, switched_on
from moi_serving.mixing_marks import Marks, marks_of
from moi_serving.settings import KEY, PER_SERVER, RequestSettings, ServerSettings, request_settings

PREFIX = f"{KEY}_"  # of a request's keys: moi_beta
SEED = f"{PREFIX}seed"
_MARKS = f"{PREFIX}marks"  # what the front end made of moi_until, for the processes that have no tokenizer
_ENVIRONMENT = "environment"  # of the server's settings: false in what the started process hands to the others


def server_settings(additional: Mapping[str, Any], environ: Mapping[str, str]) -> ServerSettings | None:
    """The "moi" of --additional-config over the environment over defaults; None unless MoI is on.

    ValueError that names the key, its value and what is allowed.
    """
    given = additional.get(KEY)
    if given is False or (given is None and not switched_on("MOI_ENABLE", environ)):
        return None
    given = {} if given in (None, True) else given
    if not isinstance(given, Mapping):
        raise ValueError(f"{KEY}={shown(given)} is not allowed; it must be a dict of settings, true or false")
    values = dict(given)
    if values.pop(_ENVIRONMENT, True):
        values = {**environment_settings(environ), **values}
    until = values.pop("until", None)
    untested = values.pop("allow_untested", switched_on("MOI_ALLOW_UNTESTED", environ))
    if not isinstance(untested, bool):
        raise ValueError(f"allow_untested={shown(untested)} is not allowed; allow_untested must be true or false")
    return ServerSettings(MoIConfig.from_dict(values), until, untested)


def resolved(settings: ServerSettings) -> dict[str, Any]:
    """What `server_settings` reads the same settings from, in a process with another environment."""
    told = {**settings.moi.to_dict(), "until": settings.mix_until, "allow_untested": settings.allow_untested}
    return {**told, _ENVIRONMENT: False}


def asked(extra_args: Mapping[str, Any], server: ServerSettings) -> RequestSettings:
    """A request's settings over the server's: of the keys that begin with "moi_", others are other plugins'.

    ValueError that names the key, its value and what is allowed.
    """
    own: dict[str, Any] = {}
    for key, value in extra_args.items():
        if not isinstance(key, str) or not (key == KEY or key.startswith(PREFIX)) or key == _MARKS:
            continue
        name = key.removeprefix(PREFIX)
        if key in (KEY, PREFIX):
            raise ValueError(f"{shown(key)} is unknown; settings of MoI begin with {PREFIX!r}, as in {PREFIX}beta")
        if name in PER_SERVER:
            raise ValueError(
                f'{key!r} is a setting of the server: --additional-config \'{{"moi": {{"{name}": ...}}}}\''
            )
        own[name] = value
    if own.get("per_token") in (0, 1) and not isinstance(own["per_token"], float):  # JSON's true arrives as 1
        own["per_token"] = bool(own["per_token"])
    return request_settings({KEY: own} if own else None, server)


def marks_sent(extra_args: Mapping[str, Any], settings: RequestSettings) -> Marks:
    """The tokens at which a request stops to mix; ValueError where the front end has not looked them up."""

    def sent() -> Marks:
        if (marks := extra_args.get(_MARKS)) is None:
            raise ValueError(f"until={settings.mix_until!r} was not resolved: the front end has no plugin")
        return Marks(*marks)

    return marks_of(settings, sent)


def sent_marks(marks: Marks) -> tuple[str, list[int]]:
    """Key and value that `marks_sent` reads."""
    return _MARKS, list(marks)


def check_sent(extra_args: Mapping[str, Any]) -> None:
    """ValueError for a request that brings what only the front end may send."""
    if _MARKS in extra_args:
        raise ValueError(f"{_MARKS!r} is unknown; {PREFIX}until sets where a request stops to mix")
