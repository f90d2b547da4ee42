"""The server's flags, their environment equivalents and `sgl.Engine(enable_moi=True, moi_beta=...)`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from moi import PRESETS, MoIConfig
from moi.config import ENTROPIES, PRIORS, parse_assignments
from moi.policies.registry import BUILT_IN
from moi_serving.settings import THINK_END, ServerSettings, Until

_FIELD = "_moi_settings"  # SGLang pickles underscore attributes of ServerArgs to its processes


class Flag(NamedTuple):
    """--moi-top-k is `top_k` here, MOI_TOP_K in the environment and moi_top_k for sgl.Engine."""

    name: str
    parse: Callable[[str], Any]
    help: str


def _until(text: str) -> Until:
    return int(text) if text.isdigit() else text


FLAGS = (
    Flag("preset", str, f"K, entropy and prior of all requests: {', '.join(PRESETS)}"),
    # Other packages stay unimported on a server that does not mix.
    Flag("policy", str, f"of requests that say nothing: {', '.join(BUILT_IN)}, or one that a package brings"),
    Flag("beta", float, "short for --moi-param beta=B; larger is closer to plain decoding"),
    Flag("top_k", int, "candidates in a mixture, over the preset's"),
    Flag("entropy", str, f"over the preset's: {', '.join(ENTROPIES)}"),
    Flag("prior", str, f"over the preset's: {', '.join(PRIORS)}"),
    Flag("until", _until, f"mix up to this token id, or {THINK_END!r}: up to the end of thinking"),
)
PARAM = "moi_param"  # --moi-param name=value, moi_param={"name": value} in Python, MOI_PARAM_NAME=value outside
SWITCHES = {
    "enable_moi": "Decode with Mixture of Inputs.",
    "moi_allow_untested": "Start on an SGLang version that the plugin was not tested with.",
}
_TRUE = ("1", "true", "yes", "on")


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
    if not _switched("enable_moi", given, environ):
        return None
    flags = {flag.name: given[f"moi_{flag.name}"] for flag in FLAGS if given.get(f"moi_{flag.name}") is not None}
    values = {**_environment(environ), **_parameters(given), **flags}
    until = values.pop("until", None)
    return ServerSettings(MoIConfig.from_dict(values), until, _switched("moi_allow_untested", given, environ))


def _environment(environ: Mapping[str, str]) -> dict[str, Any]:
    prefix = f"{PARAM.upper()}_"
    texts = {key[len(prefix) :].lower(): text for key, text in environ.items() if key.startswith(prefix) and text}
    named = {flag.name: _parsed(flag, text) for flag in FLAGS if (text := environ.get(f"MOI_{flag.name.upper()}"))}
    return {**parse_assignments(f"{name}={text}" for name, text in texts.items()), **named}


def _parameters(given: Mapping[str, Any]) -> dict[str, Any]:
    """Of --moi-param, a list of texts, or of moi_param in Python, a dict."""
    parameters = given.get(PARAM) or {}
    named = dict(parameters) if isinstance(parameters, Mapping) else parse_assignments(parameters)
    if "beta" in named and given.get("moi_beta") is not None:
        raise ValueError("beta is given twice: by --moi-beta and by --moi-param")
    return named


def enabled_by(argv: list[str], environ: Mapping[str, str]) -> bool:
    """Whether someone asked for MoI, before any flag is parsed."""
    return "--enable-moi" in argv or _switched("enable_moi", {}, environ)


def _switched(name: str, given: Mapping[str, Any], environ: Mapping[str, str]) -> bool:
    variable = {"enable_moi": "MOI_ENABLE"}.get(name, name.upper())
    return bool(given.get(name)) or environ.get(variable, "").lower() in _TRUE


def _parsed(flag: Flag, text: str) -> Any:
    try:
        return flag.parse(text)
    except ValueError as error:
        raise ValueError(f"MOI_{flag.name.upper()}={text!r} is not allowed: {error}") from error
