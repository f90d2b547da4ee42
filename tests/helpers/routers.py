"""Real routers in front of SGLang servers: sglang-router, and its successor smg."""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest

from moi_bench.server import free_port
from programs import Program


def make_router(package: str, servers: Sequence[str], log: Path) -> Program:
    """A router of `package`, "sglang_router" or "smg", not started yet; it takes the servers at these addresses in
    turns. Skips where it is not installed.
    """
    if find_spec(package) is None:
        pytest.skip(f"needs {package}: pip install --no-deps -r tests/hosts/sglang/requirements.txt")

    def command(port: int) -> list[str]:
        start = [sys.executable, "-m", f"{package}.launch_router", "--host", "127.0.0.1", "--port", f"{port}"]
        return [*start, "--policy", "round_robin", "--prometheus-port", f"{free_port()}", "--worker-urls", *servers]

    return Program(command, log, _knows_its_servers)


def _knows_its_servers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=5) as answer:
            return bool(json.load(answer)["data"])
    except (OSError, ValueError, KeyError):
        return False
