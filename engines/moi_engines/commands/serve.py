"""`moi serve`: an engine's server with MoI on, and a client call to paste once it is up."""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from moi import PRESETS
from moi_engines import ENGINES
from moi_engines.checkpoint import load_config
from moi_engines.commands.model_arguments import add_model_arguments, model_folder, refuse_flag, served_name
from moi_engines.commands.policy_arguments import add_policy_arguments

_COUNTDOWN = "18 7 7 > 67 :"  # what the embedded model knows
_POLL_S = 0.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of `moi serve`."""
    add_model_arguments(parser)
    servers = ENGINES.serving()
    parser.add_argument("--engine", choices=servers, default=servers[0], help=f"default: {servers[0]}")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=30000)
    group = parser.add_argument_group("mixture of inputs, of requests that say nothing")
    group.add_argument("--preset", choices=list(PRESETS))
    add_policy_arguments(group)
    group.add_argument("--mix-top-k", type=int, dest="top_k", metavar="K", help="candidates in the mixture")
    group.add_argument("--until", help='"think_end" or a token id: mix up to there only')
    parser.add_argument("flags", nargs="*", metavar="-- FLAGS", help="passed on to the engine's server")


def run(args: argparse.Namespace) -> int:
    """Runs until the server ends or the user interrupts; returns its exit status. ValueError for what cannot be."""
    for name in ("host", "port"):
        refuse_flag(args.flags, f"--{name}", f"give --{name} before the --")
    address = _address(args.host, args.port)
    folder, _ = load_config(model_folder(args), trust_remote_code=bool(args.trust_remote_code))
    _check_free(*address)
    server = subprocess.Popen(command(folder, args))
    previous = signal.signal(signal.SIGTERM, lambda *_: server.terminate())
    try:
        if _wait_until_ready(server, *address):
            prompt = _COUNTDOWN if args.model is None else "The sky is blue because"
            asked = ENGINES[args.engine].request
            call = client_call(args.host, args.port, served_name(folder, args), asked, prompt)
            sys.stdout.write(f"\nReady. Try:\n\n{call}\n\n")
            sys.stdout.flush()
        return server.wait()
    finally:
        signal.signal(signal.SIGTERM, previous)
        if server.poll() is None:
            server.terminate()
            server.wait()


def command(folder: Path, args: argparse.Namespace) -> list[str]:
    """The command line of the engine's server."""
    spec = ENGINES[args.engine]
    assert spec.server is not None, "the parser offers engines with a server alone"
    return spec.server(folder, args)


def client_call(host: str, port: int, model: str | Path, request: Mapping[str, Any], prompt: str = _COUNTDOWN) -> str:
    """A command that asks the server for a completion with its own beta, as `EngineSpec.request` says it."""
    body: dict[str, Any] = {
        "model": str(model),
        "prompt": prompt,
        "max_tokens": 64,
        "temperature": 0.6,
        **request,
    }
    url = f"http://{host}:{port}/v1/completions"
    return f"curl -s {url} -H 'Content-Type: application/json' -d {shlex.quote(json.dumps(body))}"


def _address(host: str, port: int) -> tuple[str, int]:
    """Where a client on this machine finds the server."""
    if not 0 < port < 2**16:
        raise ValueError(f"--port {port} is not allowed; it must be in 1..65535")
    return "127.0.0.1" if host == "0.0.0.0" else host, port


def _check_free(host: str, port: int) -> None:
    """ValueError where another program listens: it could answer in the place of the server that cannot."""
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=5):
        raise ValueError(f"--port {port} is taken: another program listens there")


def _wait_until_ready(server: subprocess.Popen[bytes], host: str, port: int) -> bool:
    """Whether it is, once that is known: False where it ended instead."""
    while server.poll() is None:
        if _healthy(host, port):
            return server.poll() is None  # else another program took the port first, and answers
        time.sleep(_POLL_S)
    return False


def _healthy(host: str, port: int) -> bool:
    """False where nobody listens yet, or one who does not speak HTTP."""
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
