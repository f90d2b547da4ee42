"""The arithmetic of Countdown: legal steps, every attempt over some numbers, and the expression an attempt stands for.

An attempt uses every number once, one pair at a time. Each result is a whole number in 1..99, so that it is one token.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import combinations
from typing import TypeAlias

LARGEST = 99
OPERATORS = ("+", "-", "*", "/")


@dataclass(frozen=True, slots=True)
class Step:
    """One line of arithmetic, such as `7 * 7 = 49`."""

    left: int
    operator: str
    right: int
    result: int

    def __str__(self) -> str:
        return f"{self.left} {self.operator} {self.right} = {self.result}"


Numbers: TypeAlias = tuple[int, ...]
Attempt: TypeAlias = tuple[Step, ...]


def value(attempt: Attempt) -> int:
    """What an attempt comes to."""
    return attempt[-1].result


def step_text(attempt: Attempt) -> str:
    """The lines of an attempt: `7 * 7 = 49 ; 18 + 49 = 67`."""
    return " ; ".join(map(str, attempt))


@cache
def legal_steps(a: int, b: int) -> tuple[Step, ...]:
    """Every legal step from two numbers, in both orders; results are whole and in 1..99."""
    orders = [(a, b)] if a == b else [(a, b), (b, a)]
    return tuple(step for left, right in orders for step in _steps_in_order(left, right))


def _steps_in_order(left: int, right: int) -> list[Step]:
    results = {"+": left + right, "-": left - right, "*": left * right}
    if left % right == 0:
        results["/"] = left // right
    return [Step(left, operator, right, r) for operator, r in results.items() if 1 <= r <= LARGEST]


def attempts(numbers: Numbers) -> tuple[Attempt, ...]:
    """Every distinct attempt over a multiset of positive numbers, whatever it comes to, in a fixed order."""
    return _attempts(tuple(sorted(numbers)))


@lru_cache(maxsize=4096)
def _attempts(numbers: Numbers) -> tuple[Attempt, ...]:
    if len(numbers) == 1:
        return ((),)
    found: list[Attempt] = []
    for a, b in sorted(set(combinations(numbers, 2))):
        rest = list(numbers)
        rest.remove(a)
        rest.remove(b)
        for step in legal_steps(a, b):
            found.extend((step, *more) for more in _attempts(tuple(sorted([*rest, step.result]))))
    return tuple(found)


@lru_cache(maxsize=4096)
def attempts_by_value(numbers: Numbers) -> dict[int, tuple[Attempt, ...]]:
    """The attempts over `numbers` (sorted), grouped by what they come to, in rising order."""
    groups: dict[int, list[Attempt]] = {}
    for attempt in attempts(numbers):
        groups.setdefault(value(attempt), []).append(attempt)
    return {result: tuple(groups[result]) for result in sorted(groups)}


def expression(numbers: Numbers, attempt: Attempt) -> str:
    """An attempt as one expression over the numbers given: `18 + ( 7 * 7 )`."""
    parts = [(number, str(number)) for number in numbers]
    for step in attempt:
        left, right = _take(parts, step.left), _take(parts, step.right)
        parts.append((step.result, f"( {left} {step.operator} {right} )"))
    return parts[-1][1].removeprefix("( ").removesuffix(" )")


def _take(parts: list[tuple[int, str]], wanted: int) -> str:
    """Remove a part of this value and return its text; the latest result goes before a given number."""
    index = max(i for i, (number, _) in enumerate(parts) if number == wanted)
    return parts.pop(index)[1]


def check_range(name: str, number: int, low: int, high: int) -> None:
    """ValueError that names the thing, its value and the range, unless low <= number <= high."""
    if not low <= number <= high:
        raise ValueError(f"{name}={number} is not allowed; it must be in {low}..{high}")
