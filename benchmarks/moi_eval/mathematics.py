"""math-verify in a process of its own: a line of JSON with LaTeX goes in, a line with an integer or null comes out."""

from __future__ import annotations

import atexit
import json
import re
import select
import subprocess
import sys
import threading
from importlib.util import find_spec
from typing import Any

SECONDS = 5.0
_START_SECONDS = 120.0  # imports on a busy machine
_MEMORY = 4 << 30
_LARGEST = 10**15
_lock = threading.Lock()
_process: subprocess.Popen[bytes] | None = None


def require() -> None:
    """ImportError that names the extra unless math-verify is installed."""
    if find_spec("math_verify") is None:
        raise ImportError("math-verify is not installed; pip install 'mixture-of-inputs[eval]'")


def integer(latex: str, seconds: float = SECONDS) -> int | None:
    """The integer that a formula comes to; None if it is none, several, or takes longer than `seconds`."""
    require()
    global _process
    with _lock:
        if _process is None or _process.poll() is not None:
            _process = _start()
        try:
            answer = _ask(_process, json.dumps(latex), seconds)
        except (OSError, EOFError):  # it took too long, or more memory than it may
            stop()
            return None
    return int(answer) if re.fullmatch(rb"-?[0-9]{1,16}", answer) else None


def stop() -> None:
    """End the process; the next question starts another."""
    global _process
    if _process is not None:
        _process.kill()
        _process.wait()
        for pipe in (_process.stdin, _process.stdout):
            if pipe is not None:
                pipe.close()
    _process = None


def _start() -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", __name__],
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for the caller
    )
    atexit.register(stop)
    if _ask(process, '"1"', _START_SECONDS) != b"1":
        raise RuntimeError("math-verify does not read 1; pip install 'mixture-of-inputs[eval]' again")
    return process


def _ask(process: subprocess.Popen[bytes], line: str, seconds: float) -> bytes:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(line.encode() + b"\n")
    ready, _, _ = select.select([process.stdout], [], [], seconds)
    answer = process.stdout.readline() if ready else b""
    if not answer.endswith(b"\n"):
        raise EOFError
    return answer.strip()


def main() -> None:
    """Answer questions from standard input until it ends."""
    import resource

    from math_verify import LatexExtractionConfig, parse

    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    config = LatexExtractionConfig(boxed_match_priority=0)
    for line in sys.stdin:
        value = None
        try:
            latex = f"\\boxed{{{json.loads(line)}}}"
            found = parse(latex, [config], fallback_mode="no_fallback", parsing_timeout=None)
            value = _value(found[0]) if found else None
        except Exception:  # whatever a model's text makes of a parser: it is no integer
            value = None
        sys.stdout.write(f"{'null' if value is None else value}\n")
        sys.stdout.flush()


def _value(found: Any) -> int | None:
    """A sympy object as an integer: of an equation its right side, or the left if that is the number."""
    import sympy

    if isinstance(found, str):
        return None
    if isinstance(found, sympy.Eq):
        sides = [side for side in (found.rhs, found.lhs) if side.is_number]
        return _value(sides[0]) if sides else None
    if isinstance(found, sympy.FiniteSet):
        return _value(next(iter(found))) if len(found) == 1 else None
    if isinstance(found, sympy.Symbol):
        return int(found.name) if found.name.isascii() and found.name.isdigit() else None
    if not getattr(found, "is_number", False) or not abs(found.evalf(20)) <= _LARGEST:
        return None
    exact = sympy.simplify(sympy.nsimplify(found, rational=True))
    return int(exact) if exact.is_Integer else None


if __name__ == "__main__":
    main()
