"""The baseline a model must beat: random legal search that writes the same language in the same number of tokens.

It draws attempts uniformly, with replacement, does their arithmetic without error, and recognises a hit:
    P(solved) = 1 - (1 - p)^m,   p = share of attempts that reach the target,   m = attempts that fit
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from moi_eval.countdown.problems import Problem
from moi_eval.countdown.rules import attempts, attempts_by_value, expression, step_text, value
from moi_eval.countdown.traces import ANSWER, HIT, MISS


def attempt_tokens(count: int) -> int:
    """Tokens of one attempt over `count` numbers: `7 * 7 = 49 ; 18 + 7 = 25 no` is 12."""
    steps = count - 1
    return 5 * steps + (steps - 1) + 1


def answer_tokens(count: int) -> int:
    """Tokens of an answer over `count` numbers, from `!` to `<eos>`: `! 18 + ( 7 * 7 ) <eos>` is 9."""
    brackets = 2 * (count - 2)
    return 1 + count + (count - 1) + brackets + 1


def attempts_within(token_budget: int, count: int) -> int:
    """m: the attempts that fit a token budget and leave room for the answer."""
    return max(0, token_budget - answer_tokens(count)) // attempt_tokens(count)


def hit_rate(problem: Problem) -> float:
    """p: the share of all legal attempts that reach the target."""
    hits = attempts_by_value(problem.multiset).get(problem.target, ())
    return len(hits) / max(1, len(attempts(problem.numbers)))


def chance(problem: Problem, token_budget: int) -> float:
    """P(solved) for one problem."""
    return 1 - (1 - hit_rate(problem)) ** attempts_within(token_budget, len(problem.numbers))


def mean_chance(problems: Sequence[Problem], token_budget: int) -> float:
    """The share of problems that random search is expected to solve; ValueError where there are none."""
    if not problems:
        raise ValueError("problems is empty; the baseline needs at least one")
    return sum(chance(problem, token_budget) for problem in problems) / len(problems)


def random_search(rng: random.Random, problem: Problem, token_budget: int) -> str:
    """One such search, written out as the model would; without an answer where it found none."""
    choices, lines = attempts(problem.numbers), list[str]()
    for _ in range(attempts_within(token_budget, len(problem.numbers))):
        attempt = rng.choice(choices)
        if value(attempt) == problem.target:
            answer = expression(problem.numbers, attempt)
            return " ".join([*lines, step_text(attempt), HIT, ANSWER, answer])
        lines.append(f"{step_text(attempt)} {MISS}")
    return " ".join(lines)
