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
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

START_S, STOP_S = 900, 30
_ON_CPU = ("--device", "cpu", "--attention-backend", "torch_native", "--disable-cuda-graph", "--dtype", "float32")


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
    """Starts on a free port when entered; RuntimeError with the end of its log if it does not come up."""

    def __init__(self, model: Path, flags: list[str], log: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._log = log
        here = [] if torch.cuda.is_available() else [*_ON_CPU, "--max-total-tokens", "8192"]
        start = [sys.executable, "-m", "moi", "serve", "--model", str(model), "--port", str(port), "--"]
        self._command = [*start, *here, "--skip-server-warmup", "--log-level", "warning", *flags]

    def __enter__(self) -> Server:
        env = os.environ if torch.cuda.is_available() else {**os.environ, "SGLANG_USE_CPU_ENGINE": "1"}
        with self._log.open("wb") as out:
            self._process = subprocess.Popen(
                self._command, stdout=out, stderr=subprocess.STDOUT, env=env, start_new_session=True
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
