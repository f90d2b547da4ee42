"""A process of its own for code that may take for ever or too much memory: JSON goes in by the line, JSON comes out."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import subprocess
import sys
import threading
from typing import Any

START_S = 120.0  # imports on a busy machine
MEMORY = 4 << 30


class Worker:
    """Runs `python -m module`, which answers every line that it reads with one; started when it is first asked.

    module  calls `serve`
    setup   its first line; a process that is started anew gets it again

    Sets of strings have the same order in each process. Thread-safe.
    """

    def __init__(self, module: str, setup: Any) -> None:
        self._module, self._setup = module, setup
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Any:
        """The answer to `setup`; RuntimeError if there is none."""
        with self._lock:
            return self._start()

    def ask(self, question: Any, seconds: float) -> Any:
        """The answer, or None if it takes longer than `seconds`, or the process ends over it."""
        with self._lock:
            if self._process is None or self._process.poll() is not None:  # somebody ended it: the question is good
                self._start()
            try:
                return self._exchange(question, seconds)
            except (OSError, EOFError):
                self._stop()
                return None

    def stop(self) -> None:
        """End the process; the next question starts another."""
        with self._lock:
            self._stop()

    def _start(self) -> Any:
        self._stop()
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", self._module],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the caller
            env={**os.environ, "PYTHONHASHSEED": "0"},
        )
        atexit.register(self.stop)
        try:
            return self._exchange(self._setup, START_S)
        except (OSError, EOFError):
            self._stop()
            raise RuntimeError(f"the process of {self._module} did not start") from None

    def _exchange(self, question: Any, seconds: float) -> Any:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(question).encode() + b"\n")
        answer = b""
        while not answer.endswith(b"\n"):
            ready, _, _ = select.select([process.stdout], [], [], seconds)
            piece = os.read(process.stdout.fileno(), 1 << 16) if ready else b""
            if not piece:
                raise EOFError
            answer += piece
        return json.loads(answer)

    def _stop(self) -> None:
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()
        self._process = None


def serve(answer: Any) -> None:
    """In the process: answer(question) for each line of standard input; what it prints goes nowhere."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        out.write(json.dumps(answer(json.loads(line))) + "\n")
        out.flush()
