"""A `moi serve` of one's own for the time of a benchmark."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

START_S, STOP_S = 900, 30


@dataclass(frozen=True)
class Launch:
    """How a benchmark starts the server of an engine, and what differs on a machine without a GPU.

    flags      on any machine
    on_cpu     flags there
    variables  of the environment there
    fields     of a model that is made for the benchmark: what the kernels there ask for
    """

    flags: tuple[str, ...] = ()
    on_cpu: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)


LAUNCHES = {
    "sglang": Launch(
        flags=("--skip-server-warmup", "--log-level", "warning"),
        on_cpu=(
            *("--device", "cpu", "--attention-backend", "torch_native", "--disable-cuda-graph"),
            *("--dtype", "float32", "--max-total-tokens", "8192"),
        ),
        variables={"SGLANG_USE_CPU_ENGINE": "1"},
    ),
    "vllm": Launch(
        flags=("--uvicorn-log-level", "warning"),
        on_cpu=("--enforce-eager", "--dtype", "float32", "--kv-cache-memory-bytes", str(1 << 28)),
        fields={"head_dim": 32},
    ),
}


def free_port() -> int:
    """A port of this machine for a process that binds it later. Below those that the system hands out meanwhile to
    whoever asks for any; RuntimeError if there is none.
    """
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no free port between 20000 and 32000")


class Server:
    """Starts an engine's server on a free port when entered, in this Python's environment; RuntimeError with the end of
    its log if it does not come up. `flags` win over those of `LAUNCHES`.
    """

    def __init__(self, engine: str, model: Path, flags: list[str], log: Path) -> None:
        port, launch, cpu = free_port(), LAUNCHES.get(engine, Launch()), not torch.cuda.is_available()
        self.url = f"http://127.0.0.1:{port}"
        self._log = log
        start = [sys.executable, "-m", "moi", "serve", "--engine", engine, "--model", str(model), "--port", str(port)]
        self._command = [*start, "--", *launch.flags, *(launch.on_cpu if cpu else ()), *flags]
        self._env = {**os.environ, **(launch.variables if cpu else {})}

    def __enter__(self) -> Server:
        with self._log.open("wb") as out:
            self._process = subprocess.Popen(
                self._command, stdout=out, stderr=subprocess.STDOUT, env=self._env, start_new_session=True
            )
        deadline = time.monotonic() + START_S
        while not self._healthy():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._stop()
                tail = " ".join(self._log.read_text(errors="replace").split())[-300:]
                raise RuntimeError(f"the server did not start: {tail}")
            time.sleep(0.3)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _stop(self) -> None:
        """End the processes of this server: the group that it leads."""
        if self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def post(url: str, body: dict[str, Any], timeout: float = 120) -> Any:
    """The answer to a JSON request within `timeout` seconds; RuntimeError with what the server says otherwise."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"{url} answered {error.code}: {error.read().decode(errors='replace')[:300]}") from None
