"""Exact values of arithmetic expressions: whole numbers, + - * /, brackets, the usual precedence, fractions throughout.

    expression = term { (+|-) term }
    term       = atom { (*|/) atom }
    atom       = number | ( expression )

Nothing is ever executed: a recursive descent over the words.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from fractions import Fraction

DEEPEST = 50
WORD = re.compile(r"\s*(?:(0|[1-9][0-9]{0,8})(?![0-9])|([()+\-*/]))")


class MalformedExpressionError(ValueError):
    """The text is not an expression; the message says what stands where it should not."""


@dataclass(frozen=True, slots=True)
class Value:
    """What an expression comes to, and the numbers it names from left to right."""

    exact: Fraction
    numbers: tuple[int, ...]


def evaluate(text: str) -> Value:
    """The exact value of `text`; MalformedExpressionError or ZeroDivisionError where there is none."""
    words = _words(text)
    numbers = tuple(int(word) for word in words if word.isdigit())
    remaining = deque(words)
    exact = _expression(remaining, 0)
    if remaining:
        raise MalformedExpressionError(f"{remaining[0]!r} follows a complete expression in {text!r}")
    return Value(exact, numbers)


def _words(text: str) -> list[str]:
    words, position, text = [], 0, text.rstrip()
    while position < len(text):
        match = WORD.match(text, position)
        if match is None:
            rest = text[position:].strip()
            raise MalformedExpressionError(f"{rest[:10]!r} is neither a number nor one of ( ) + - * /")
        words.append(match[1] or match[2])
        position = match.end()
    return words


def _expression(words: deque[str], depth: int) -> Fraction:
    total = _term(words, depth)
    while words and words[0] in "+-":
        operator, right = words.popleft(), _term(words, depth)
        total = total + right if operator == "+" else total - right
    return total


def _term(words: deque[str], depth: int) -> Fraction:
    product = _atom(words, depth)
    while words and words[0] in "*/":
        operator, right = words.popleft(), _atom(words, depth)
        product = product * right if operator == "*" else product / right
    return product


def _atom(words: deque[str], depth: int) -> Fraction:
    if not words:
        raise MalformedExpressionError("the expression ends where a number or ( should stand")
    word = words.popleft()
    if word.isdigit():
        return Fraction(int(word))
    if word != "(":
        raise MalformedExpressionError(f"{word!r} stands where a number or ( should stand")
    if depth == DEEPEST:
        raise MalformedExpressionError(f"brackets are nested deeper than {DEEPEST}")
    inside = _expression(words, depth + 1)
    if not words or words.popleft() != ")":
        raise MalformedExpressionError("a ( is not closed")
    return inside
