"""Does a generated text solve its problem? Only the answer after the last `!` counts, and its value is exact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from moi_eval.countdown.expressions import MalformedExpressionError, evaluate
from moi_eval.countdown.problems import Problem
from moi_eval.countdown.tokenizer import EOS
from moi_eval.countdown.traces import ANSWER

Outcome: TypeAlias = Literal["solved", "no answer", "malformed", "division by zero", "wrong numbers", "wrong value"]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What became of an answer, and why in words (empty where it is solved)."""

    outcome: Outcome
    reason: str = ""


def is_solution(problem: Problem, text: str) -> bool:
    """Whether the answer in `text` uses every number of the problem exactly once and comes to the target."""
    return diagnose(problem, text).outcome == "solved"


def diagnose(problem: Problem, text: str) -> Diagnosis:
    """Judge the answer in a generated text; never raises. Anything from `<eos>` on is ignored."""
    _, mark, answer = text.partition(EOS)[0].rpartition(ANSWER)
    if not mark:
        return Diagnosis("no answer", f"no {ANSWER!r} in the text")
    try:
        value = evaluate(answer)
    except MalformedExpressionError as error:
        return Diagnosis("malformed", str(error))
    except ZeroDivisionError:
        return Diagnosis("division by zero", f"{answer.strip()!r} divides by zero")
    if sorted(value.numbers) != sorted(problem.numbers):
        return Diagnosis("wrong numbers", f"uses {value.numbers}, given {problem.numbers}")
    if value.exact != problem.target:
        return Diagnosis("wrong value", f"{answer.strip()} = {value.exact}, target {problem.target}")
    return Diagnosis("solved")
