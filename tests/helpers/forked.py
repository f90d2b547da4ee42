"""Programs of a host with the host's modules imported already: forked from one process, which runs `fork_server.py`."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

SERVER = Path(__file__).with_name("fork_server.py")


class Forked:
    """A running program, with as much of `subprocess.Popen` as the tests use. It leads a session of its own."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        pid = connection.recv(64)
        assert pid, "the process to fork from has ended"
        self.pid = int(pid)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        with contextlib.suppress(BlockingIOError):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """TimeoutError if it takes longer than `timeout` seconds."""
        if self.returncode is None:
            self._connection.settimeout(timeout)
            self.returncode = int(self._connection.recv(64))
            self._connection.close()
        return self.returncode


class ForkServer:
    """Starts programs of this Python, forked from a process with the environment `variables` that imports `modules`."""

    def __init__(self, python: Path | str, modules: Sequence[str], variables: dict[str, str]) -> None:
        self._python = str(python)
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen([self._python, str(SERVER), *modules], env=variables, stdin=theirs)

    def __enter__(self) -> ForkServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._control.close()
        self._process.wait()

    def start(
        self,
        arguments: Sequence[str],
        variables: dict[str, str],
        out: IO[Any],
        errors: IO[Any] | None = None,
        forked: bool = True,
    ) -> Forked | subprocess.Popen[bytes]:
        """`python -m MODULE ...`, `python -c CODE ...` or `python FILE ...` with this environment; from nothing if it
        is not `forked`. What it complains about goes into `out`, too, if there is no file for it.
        """
        errors = errors or out
        if not forked:
            command = [self._python, *arguments]
            return subprocess.Popen(command, env=variables, stdout=out, stderr=errors, start_new_session=True)
        asked = json.dumps({"arguments": list(arguments), "variables": variables, "folder": os.getcwd()})
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, open(os.devnull) as nothing:
            files = [theirs.fileno(), nothing.fileno(), out.fileno(), errors.fileno()]
            socket.send_fds(self._control, [asked.encode()], files)
        return Forked(ours)

    def run(
        self, arguments: Sequence[str], variables: dict[str, str], seconds: float = 400
    ) -> subprocess.CompletedProcess[str]:
        """A program to its end, with all that it started."""
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
            program = self.start(arguments, variables, out, errors)
            try:
                code = program.wait(seconds)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(program.pid, signal.SIGKILL)
                program.wait()
            for file in (out, errors):
                file.seek(0)
            return subprocess.CompletedProcess([self._python, *arguments], code, out.read(), errors.read())

    def printed(self, arguments: Sequence[str], variables: dict[str, str]) -> Any:
        """The JSON object that a script prints last; fails the test if the script fails."""
        done = self.run(arguments, variables)
        assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        # Another process of it may have the last word.
        return json.loads(next(line for line in reversed(done.stdout.splitlines()) if line.startswith("{")))
