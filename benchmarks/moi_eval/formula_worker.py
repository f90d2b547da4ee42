"""math-verify in a process of its own: a pair of formulas goes in, whether they are the same and a name comes out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from moi_eval.worker import serve

_DIGITS = 10


def answer(pair: list[str] | None) -> list[Any] | None:
    """[whether they are the same, the name of the second] of [right, found]; null for what cannot be read."""
    from math_verify import verify

    if pair is None:  # the first line, once the imports are done
        return None
    try:
        right, found = map(_parse, pair)
        if not found:
            return None
        own, name = (_name(each[0]) if each else None for each in (right, found))
        same = own == name or bool(verify(right, found, timeout_seconds=None))
        return [same, own if same and own is not None else name]
    except Exception:  # whatever a model's text makes of a parser: it is no answer
        return None


def _parse(latex: str) -> list[Any]:
    from math_verify import LatexExtractionConfig, parse

    config = LatexExtractionConfig(boxed_match_priority=0)
    found: list[Any] = parse(f"\\boxed{{{latex}}}", [config], fallback_mode="no_fallback", parsing_timeout=None)
    return found


def _name(found: Any) -> str:
    """The same for formulas that are the same: numbers to ten digits, expressions expanded, sets in order."""
    import sympy

    if isinstance(found, sympy.Eq):
        return _equation(found.lhs, found.rhs)
    if isinstance(found, sympy.FiniteSet):
        if len(found) == 1:
            return _name(next(iter(found)))
        return f"{{{', '.join(sorted(map(_member, found)))}}}"
    if isinstance(found, sympy.Interval):
        left, right = "(" if found.left_open else "[", ")" if found.right_open else "]"
        return f"{left}{_name(found.start)}, {_name(found.end)}{right}"
    if isinstance(found, sympy.Tuple):
        return f"({_names(found)})"
    if isinstance(found, sympy.MatrixBase):
        return f"[{'; '.join(_names(found.row(index)) for index in range(found.rows))}]"
    if isinstance(found, sympy.Expr):
        return _number(found) if found.is_number else str(sympy.cancel(sympy.expand(found.doit())))
    return str(found)


def _member(found: Any) -> str:
    """x = 2, y = 3 is not x = 3, y = 2."""
    import sympy

    return f"{_name(found.lhs)} = {_name(found.rhs)}" if isinstance(found, sympy.Eq) else _name(found)


def _names(found: Iterable[Any]) -> str:
    return ", ".join(map(_name, found))


def _equation(left: Any, right: Any) -> str:
    """Of x = 5 the 5, as of 5; of an interval that x is in, the interval."""
    import sympy

    if isinstance(left, sympy.Symbol) and left not in right.free_symbols:
        return _name(right)
    if isinstance(left, sympy.Expr) and isinstance(right, sympy.Expr):
        return f"{_name(left - right)} = 0"
    return f"{_name(left)} = {_name(right)}"


def _number(found: Any) -> str:
    import sympy

    found = sympy.simplify(found.doit())  # 10 (1/100) comes unevaluated
    value = sympy.N(found, 20)
    if value.has(sympy.oo, sympy.nan, sympy.zoo) or found.is_Integer:
        return str(found)
    parts = [format(float(part), f".{_DIGITS}g") for part in value.as_real_imag()]
    return parts[0] if float(parts[1]) == 0 else f"{parts[0]} + {parts[1]} i"


if __name__ == "__main__":
    serve(answer)
