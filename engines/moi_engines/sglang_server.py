"""The command line of SGLang's server with this project's plugin on."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import torch

from moi_engines.commands.model_arguments import flag_given, served_name
from moi_engines.commands.policy_arguments import parameters_of
from moi_engines.precision import native_bfloat16
from moi_engines.weights import check_weights

_MIXING = ("preset", "policy", "beta", "top_k", "until")


def command(folder: Path, args: argparse.Namespace) -> list[str]:
    """The command line of SGLang's server for the arguments of `moi serve`."""
    server = ["--model-path", str(folder), "--host", args.host, "--port", str(args.port), *_decided(folder, args)]
    server.append("--enable-moi")
    for name in _MIXING:
        value = getattr(args, name)
        if value is not None:
            server += [f"--moi-{name.replace('_', '-')}", str(value)]
    parameters_of(args)  # checked before a server is started with it
    server += [part for text in args.param for part in ("--moi-param", text)]
    return [sys.executable, "-m", "sglang.launch_server", *server, *args.flags]


def server(folder: Path, args: argparse.Namespace) -> list[str]:
    """`command`, once the weights are known to be there: errors as `check_weights`."""
    if not flag_given(args.flags, "--load-format", "dummy"):
        check_weights(folder)
    return command(folder, args)


def _decided(folder: Path, args: argparse.Namespace) -> list[str]:
    """Flags that follow from the model and this machine, unless SGLang's own say otherwise."""
    flags = ["--trust-remote-code"] if args.trust_remote_code else []
    name = served_name(folder, args)
    if name != str(folder) and not flag_given(args.flags, "--served-model-name"):
        flags += ["--served-model-name", name]
    if not flag_given(args.flags, "--dtype") and _on_cpu(args.flags) and not native_bfloat16():
        flags += ["--dtype", "float32"]
    return flags


def _on_cpu(flags: list[str]) -> bool:
    """Whether SGLang will run on the CPU with these flags."""
    if flag_given(flags, "--device"):
        return flag_given(flags, "--device", "cpu")
    return os.environ.get("SGLANG_USE_CPU_ENGINE") == "1" or not torch.accelerator.is_available()
