"""What the fuzz tests share: commands called in this process, and what every end of a command must look like."""

from __future__ import annotations

import contextlib
import io
import random
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from moi import cli

Call = Callable[[Sequence[str]], "End"]


class End(NamedTuple):
    """How a command ended: its exit status, and what it wrote."""

    status: int
    out: str
    err: str


class ReachedError(Exception):
    """Stands where a command's work would begin: its arguments were accepted."""


@pytest.fixture
def reached() -> Callable[..., Any]:
    """Put in place of a command's work."""

    def work(*args: Any, **kwargs: Any) -> Any:
        raise ReachedError

    return work


@pytest.fixture
def dice(base_seed: int, request: pytest.FixtureRequest) -> random.Random:
    """Random numbers of this test in this run; the seed of the run stands at its top."""
    return random.Random(f"{base_seed}/{request.node.name}")


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """call(["generate", ...]) runs `moi` in a folder of its own and fails the test unless it ends cleanly."""
    monkeypatch.chdir(tmp_path)

    def run(argv: Sequence[str]) -> End:
        out, err = _stream("strict"), _stream("backslashreplace")  # as an interpreter opens its own
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                status = cli.main(argv)
            except ReachedError:
                status = 0
            except SystemExit as stop:  # argparse
                status = stop.code if isinstance(stop.code, int) else 2
            except BaseException:
                pytest.fail(f"moi {list(argv)!r} ends in a traceback:\n{traceback.format_exc()}")
        end = End(status, _text(out), _text(err))
        problem = _problem(end)
        assert problem is None, f"moi {list(argv)!r} {problem}; standard error:\n{end.err}"
        return end

    return run


def _stream(errors: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors=errors, newline="")


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    written = stream.buffer
    assert isinstance(written, io.BytesIO)
    return written.getvalue().decode()


def _problem(end: End) -> str | None:
    """What is wrong with the end of a command, or None: bad input has status 2 and one line that says what."""
    if "Traceback" in end.err or "Traceback" in end.out:
        return "prints a traceback"
    if end.status not in (0, 1, 2):
        return f"ends with status {end.status}"
    if end.status == 2:
        lines = end.err.rstrip("\n").split("\n")
        if "error: " not in lines[-1]:
            return "does not end in an error line"
        others = [line for line in lines[:-1] if not line.startswith(("usage: ", " ", "moi export: "))]
        if others:
            return f"says more than its error: {others[0]!r}"
    return None
