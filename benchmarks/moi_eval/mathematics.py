"""math-verify in a process of its own: LaTeX goes in, an integer or null comes out."""

from __future__ import annotations

import threading
from importlib.util import find_spec
from typing import Any

from moi_eval.worker import Worker, serve

SECONDS = 5.0
_LARGEST = 10**15
_lock = threading.Lock()
_worker: Worker | None = None


def require() -> None:
    """ImportError that names the extra unless math-verify is installed."""
    if find_spec("math_verify") is None:
        raise ImportError("math-verify is not installed; pip install 'mixture-of-inputs[eval]'")


def integer(latex: str, seconds: float = SECONDS) -> int | None:
    """The integer that a formula comes to; None if it is none, several, or takes longer than `seconds`.

    Raises ImportError without math-verify, RuntimeError for one that does not work.
    """
    require()
    global _worker
    with _lock:
        if _worker is None:
            _worker = _started()
    found: int | None = _worker.ask(latex, seconds)
    return found


def _started() -> Worker:
    worker = Worker("moi_eval.mathematics", "1")
    try:
        found = worker.start()
    except RuntimeError:
        found = None
    if found != 1:
        worker.stop()
        raise RuntimeError(
            "math-verify does not start, or does not read 1; pip install 'mixture-of-inputs[eval]' again"
        )
    return worker


def main() -> None:
    """Answer questions from standard input until it ends."""
    from math_verify import LatexExtractionConfig, parse

    config = LatexExtractionConfig(boxed_match_priority=0)

    def answer(latex: str) -> int | None:
        try:
            found = parse(f"\\boxed{{{latex}}}", [config], fallback_mode="no_fallback", parsing_timeout=None)
            value = _value(found[0]) if found else None
        except Exception:  # whatever a model's text makes of a parser: it is no integer
            return None
        return value if value is not None and abs(value) <= _LARGEST else None

    serve(answer)


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
