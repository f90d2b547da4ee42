"""`moi serve`: SGLang's server with MoI on, and a client call to paste once it is up."""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from moi import PRESETS
from moi.config import parse_assignments
from moi_engines.checkpoint import load_config
from moi_engines.commands.model_arguments import add_model_arguments, model_folder
from moi_engines.commands.policy_arguments import add_policy_arguments
from moi_engines.precision import native_bfloat16
from moi_engines.weights import check_weights

_COUNTDOWN = "18 7 7 > 67 :"  # what the embedded model knows
_MIXING = ("preset", "policy", "beta", "top_k", "until")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_arguments(parser)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=30000)
    group = parser.add_argument_group("mixture of inputs, of requests that say nothing")
    group.add_argument("--preset", choices=list(PRESETS))
    add_policy_arguments(group)
    group.add_argument("--mix-top-k", type=int, dest="top_k", metavar="K", help="candidates in the mixture")
    group.add_argument("--until", help='"think_end" or a token id: mix up to there only')
    parser.add_argument("sglang", nargs="*", metavar="-- SGLANG FLAGS", help="passed on to sglang.launch_server")


def run(args: argparse.Namespace) -> int:
    """Runs until the server ends or the user interrupts; returns its exit status."""
    folder, _ = load_config(model_folder(args), trust_remote_code=bool(args.trust_remote_code))
    if not _given(args.sglang, "--load-format", "dummy"):
        check_weights(folder)
    server = subprocess.Popen(command(folder, args))
    previous = signal.signal(signal.SIGTERM, lambda *_: server.terminate())
    try:
        if _wait_until_ready(server, args.host, args.port):
            prompt = _COUNTDOWN if args.model is None else "The sky is blue because"
            call = client_call(args.host, args.port, served_name(folder, args), prompt)
            sys.stdout.write(f"\nReady. Try:\n\n{call}\n\n")
            sys.stdout.flush()
        return server.wait()
    finally:
        signal.signal(signal.SIGTERM, previous)
        if server.poll() is None:
            server.terminate()
            server.wait()


def command(folder: Path, args: argparse.Namespace) -> list[str]:
    """The command line of SGLang's server."""
    server = ["--model-path", str(folder), "--host", args.host, "--port", str(args.port), *_decided(folder, args)]
    server.append("--enable-moi")
    for name in _MIXING:
        value = getattr(args, name)
        if value is not None:
            server += [f"--moi-{name.replace('_', '-')}", str(value)]
    parse_assignments(args.param)  # before a server is started with it
    server += [part for text in args.param for part in ("--moi-param", text)]
    return [sys.executable, "-m", "sglang.launch_server", *server, *args.sglang]


def _decided(folder: Path, args: argparse.Namespace) -> list[str]:
    """Flags that follow from the model and this machine, unless SGLang's own say otherwise."""
    flags = ["--trust-remote-code"] if args.trust_remote_code else []
    name = served_name(folder, args)
    if name != str(folder) and not _given(args.sglang, "--served-model-name"):
        flags += ["--served-model-name", name]
    if not _given(args.sglang, "--dtype") and _on_cpu(args.sglang) and not native_bfloat16():
        flags += ["--dtype", "float32"]
    return flags


def served_name(folder: Path, args: argparse.Namespace) -> str:
    """What clients call the model: a folder by its path, all else as it was given and not by the cache it ended in."""
    return str(folder) if args.model is None or Path(args.model).is_dir() else str(args.model)


def _given(flags: list[str], name: str, value: str | None = None) -> bool:
    """Whether SGLang's flags set `name`, to `value` if that is asked."""
    split = [part for flag in flags for part in (flag.split("=", 1) if flag.startswith("--") else [flag])]
    found = [split[i + 1 : i + 2] for i, flag in enumerate(split) if flag == name]
    return bool(found) and (value is None or found[-1] == [value])


def _on_cpu(flags: list[str]) -> bool:
    """Whether SGLang will run on the CPU with these flags."""
    if _given(flags, "--device"):
        return _given(flags, "--device", "cpu")
    return os.environ.get("SGLANG_USE_CPU_ENGINE") == "1" or not torch.accelerator.is_available()


def client_call(host: str, port: int, model: str | Path, prompt: str = _COUNTDOWN) -> str:
    """A command that asks the server for a completion with its own beta."""
    body: dict[str, Any] = {
        "model": str(model),
        "prompt": prompt,
        "max_tokens": 64,
        "temperature": 0.6,
        "custom_params": {"moi": {"beta": 0.5}},
    }
    url = f"http://{host}:{port}/v1/completions"
    return f"curl -s {url} -H 'Content-Type: application/json' -d {shlex.quote(json.dumps(body))}"


def _wait_until_ready(server: subprocess.Popen[bytes], host: str, port: int) -> bool:
    while server.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1" if host == "0.0.0.0" else host, port, timeout=5)
        try:
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return True
        except OSError:  # nobody listens yet
            pass
        finally:
            connection.close()
        time.sleep(0.5)
    return False
