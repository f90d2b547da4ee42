"""Running a program that a model wrote: a process with limits. No sandbox: it may read files and use the network."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

SECONDS = 10.0
MEMORY = 1 << 30
FILE_SIZE = 1 << 20
PASSED, FAILED, TOO_LONG = "passed", "tests failed", "too long"

# Limits are set by the process itself, before the program: fork with threads around is no place for Python code. The
# mark stands at the end of the output of a program that ran to its end: one that exits before its tests did not.
_LIMITS = """
import resource, sys
for what, most in ((resource.RLIMIT_AS, {memory}), (resource.RLIMIT_FSIZE, {file}), (resource.RLIMIT_CORE, 0),
                   (resource.RLIMIT_CPU, {seconds}), (resource.RLIMIT_NOFILE, 64)):
    resource.setrlimit(what, (most, most))
program = sys.stdin.read()
mark, _, program = program.partition("\\n")
exec(compile(program, "program", "exec"), {{"__name__": "__main__"}})
sys.__stdout__.write("\\n" + mark)
"""


def run(program: str, seconds: float = SECONDS) -> str:
    """PASSED if the program runs to its end, FAILED if it raises, exits or is killed, TOO_LONG after `seconds`.

    In an empty folder that is removed, without the environment, with at most 1 GiB of memory and files of 1 MiB.
    """
    mark = secrets.token_hex(16)
    limits = _LIMITS.format(memory=MEMORY, file=FILE_SIZE, seconds=int(seconds) + 1)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out")
        with out.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-I", "-c", limits],
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=subprocess.DEVNULL,
                cwd=folder,
                env={"OMP_NUM_THREADS": "1"},
                start_new_session=True,
            )
            finished = _wait(process, f"{mark}\n{program}".encode(errors="replace"), seconds)
        if not finished:
            return TOO_LONG
        return PASSED if process.returncode == 0 and out.read_bytes().endswith(mark.encode()) else FAILED


def _wait(process: subprocess.Popen[bytes], program: bytes, seconds: float) -> bool:
    """Whether it ended by itself; whatever it started is ended with it."""
    try:
        process.communicate(program, timeout=seconds)
        return True
    except subprocess.TimeoutExpired:
        return False
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
