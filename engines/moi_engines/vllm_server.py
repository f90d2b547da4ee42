"""The command line of vLLM's server with this project's plugin on."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from moi_engines.commands.model_arguments import flag_given, refuse_flag, served_name
from moi_engines.commands.policy_arguments import parameters_of
from moi_engines.weights import check_weights

_MIXING = ("preset", "policy", "top_k", "until")
_SETTINGS = "--additional-config"
_INSTEAD = "settings of MoI have flags of their own before the --, others need `vllm serve`"


def command(folder: Path, args: argparse.Namespace) -> list[str]:
    """The command line of vLLM's server for the arguments of `moi serve`; ValueError for what cannot be said so."""
    refuse_flag(args.flags, _SETTINGS, _INSTEAD)
    given = {name: value for name in _MIXING if (value := getattr(args, name)) is not None}
    settings: dict[str, Any] = {**parameters_of(args), **given}
    if str(settings.get("until", "")).isdigit():
        settings["until"] = int(settings["until"])
    server = ["--model", str(folder), "--host", args.host, "--port", str(args.port)]
    if args.trust_remote_code:
        server.append("--trust-remote-code")
    name = served_name(folder, args)
    if name != str(folder) and not flag_given(args.flags, "--served-model-name"):
        server += ["--served-model-name", name]
    server += [_SETTINGS, json.dumps({"moi": settings})]
    return [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *server, *args.flags]


def server(folder: Path, args: argparse.Namespace) -> list[str]:
    """`command`, once the weights are known to be there: errors as `check_weights`."""
    if not flag_given(args.flags, "--load-format", "dummy"):
        check_weights(folder)
    return command(folder, args)
