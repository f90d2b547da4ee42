"""Search traces: what the model learns to write after a prompt.

    7 * 7 = 49 ; 18 + 7 = 25 no 7 * 7 = 49 ; 18 + 49 = 67 ok ! 18 + ( 7 * 7 )

Failed attempts end in `no`, the one that succeeds in `ok`, and the answer follows `!`. How many attempts fail, which
ones and which solution ends the search are all random, so the model's distributions carry real uncertainty.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from moi_eval.countdown.problems import Problem
from moi_eval.countdown.rules import Attempt, attempts, attempts_by_value, expression, step_text, value

MISS, HIT, ANSWER = "no", "ok", "!"


@dataclass(frozen=True, slots=True)
class Search:
    """How a trace wanders before it succeeds.

    keep_failing  chance of one more failed attempt, 0 <= p < 1
    most          the largest number of failed attempts
    nearness      scale of exp(-|value - target| / nearness), the weight of a failed attempt; in units of the target
    """

    keep_failing: float = 0.6
    most: int = 12
    nearness: float = 15.0


def trace(rng: random.Random, problem: Problem, search: Search = Search()) -> str:
    """A random trace that solves `problem`, without `<eos>`; ValueError where nothing reaches the target."""
    solutions = attempts_by_value(problem.multiset).get(problem.target)
    if not solutions:
        raise ValueError(f"target={problem.target} cannot be reached from the numbers {problem.numbers}")
    failed = "".join(f"{step_text(attempt)} {MISS} " for attempt in _failures(rng, problem, search))
    solution = rng.choice(solutions)
    return f"{failed}{step_text(solution)} {HIT} {ANSWER} {expression(problem.numbers, solution)}"


def _failures(rng: random.Random, problem: Problem, search: Search) -> list[Attempt]:
    """Different attempts that miss the target, near misses first in probability."""
    wanted = 0
    while wanted < search.most and rng.random() < search.keep_failing:
        wanted += 1
    misses = [a for a in attempts(problem.numbers) if value(a) != problem.target]
    if not wanted or not misses:
        return []
    weights = [math.exp(-abs(value(a) - problem.target) / search.nearness) for a in misses]
    return list(dict.fromkeys(rng.choices(misses, weights, k=wanted)))
