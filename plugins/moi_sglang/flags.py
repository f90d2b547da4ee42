"""The server's flags, their environment equivalents and `sgl.Engine(enable_moi=True, moi_beta=...)`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from typing import Any

from moi import MoIConfig
from moi.config import parse_assignments
from moi_serving.environment import FLAGS, environment_settings, switched_on
from moi_serving.settings import ServerSettings

_FIELD = "_moi_settings"  # SGLang pickles underscore attributes of ServerArgs to its processes


PARAM = "moi_param"  # --moi-param name=value, moi_param={"name": value} in Python
SWITCHES = {
    "enable_moi": "Decode with Mixture of Inputs.",
    "moi_allow_untested": "Start on an SGLang version that the plugin was not tested with.",
}


def add_cli_args(result: Any, parser: argparse.ArgumentParser, *args: Any, **kwargs: Any) -> None:
    """AFTER the server's own flags were added."""
    group = parser.add_argument_group("Mixture of Inputs")
    for name, text in SWITCHES.items():
        group.add_argument("--" + name.replace("_", "-"), action="store_true", help=text)
    for flag in FLAGS:
        option = f"--moi-{flag.name.replace('_', '-')}"
        group.add_argument(option, type=flag.parse, default=None, help=flag.help.replace("%", "%%"))
    text = "a parameter of the policy, of requests that say nothing; may be given several times"
    group.add_argument("--moi-param", action="append", default=[], metavar="NAME=VALUE", help=text)


def engine_server_args(original: Callable[..., Any]) -> Callable[..., Any]:
    """What makes the arguments of an engine, that takes the plugin's keywords too."""
    known = {*SWITCHES, PARAM, *(f"moi_{flag.name}" for flag in FLAGS)}

    def build(**kwargs: Any) -> Any:
        server_args = original(**{key: value for key, value in kwargs.items() if key not in known})
        attach(server_args, {key: value for key, value in kwargs.items() if key in known})
        return server_args

    return build


def attach(server_args: Any, given: Mapping[str, Any]) -> None:
    """Keep the settings that these flags and the environment make; SystemExit for a bad value."""
    try:
        settings = server_settings(given, os.environ)
    except ValueError as error:
        raise SystemExit(f"--enable-moi: {error}") from error
    setattr(server_args, _FIELD, settings)


def settings_of(server_args: Any) -> ServerSettings | None:
    """The settings of a server that mixes, None of one that does not."""
    return getattr(server_args, _FIELD, None)


def server_settings(given: Mapping[str, Any], environ: Mapping[str, str]) -> ServerSettings | None:
    """Flags over environment over defaults; None unless MoI is enabled. ValueError for a bad value."""
    if not given.get("enable_moi") and not switched_on("MOI_ENABLE", environ):
        return None
    flags = {flag.name: given[f"moi_{flag.name}"] for flag in FLAGS if given.get(f"moi_{flag.name}") is not None}
    values = {**environment_settings(environ), **_parameters(given), **flags}
    until = values.pop("until", None)
    untested = bool(given.get("moi_allow_untested")) or switched_on("MOI_ALLOW_UNTESTED", environ)
    return ServerSettings(MoIConfig.from_dict(values), until, untested)


def _parameters(given: Mapping[str, Any]) -> dict[str, Any]:
    """Of --moi-param, a list of texts, or of moi_param in Python, a dict."""
    parameters = given.get(PARAM) or {}
    named = dict(parameters) if isinstance(parameters, Mapping) else parse_assignments(parameters)
    if "beta" in named and given.get("moi_beta") is not None:
        raise ValueError("beta is given twice: by --moi-beta and by --moi-param")
    return named
