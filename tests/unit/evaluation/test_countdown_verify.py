"""Verifier: exact values, the usual precedence, and a reason for everything that is not a solution."""

import operator
import random
from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from moi_eval.countdown import problems, traces
from moi_eval.countdown.expressions import DEEPEST, MalformedExpressionError, evaluate
from moi_eval.countdown.problems import COUNTDOWN_3, COUNTDOWN_4, Problem
from moi_eval.countdown.verify import diagnose, is_solution

PROBLEM = Problem((18, 7, 7), 67)
OPERATIONS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}

leaves = st.integers(0, 99).map(lambda n: (str(n), Fraction(n), (n,)))
# the first draw fills the caches of attempts
relaxed = settings(deadline=None)


def _join(parts):
    (left, a, used), symbol, (right, b, more) = parts
    assume(symbol != "/" or b != 0)
    return f"( {left} {symbol} {right} )", OPERATIONS[symbol](a, b), used + more


operators = st.sampled_from("+-*/")
bracketed = st.recursive(leaves, lambda inner: st.tuples(inner, operators, inner).map(_join), max_leaves=8)


@relaxed
@given(bracketed)
def test_bracketed_expressions_have_their_exact_value_and_numbers(case):
    text, exact, used = case
    assert evaluate(text) == evaluate(text.replace(" ", ""))
    assert (evaluate(text).exact, evaluate(text).numbers) == (exact, used)


@relaxed
@given(st.integers(0, 99), st.integers(0, 99), st.integers(1, 99))
def test_precedence_and_left_association(a, b, c):
    assert evaluate(f"{a} + {b} * {c}").exact == a + b * c
    assert evaluate(f"{a} * {b} - {c}").exact == a * b - c
    assert evaluate(f"{a} - {b} - {c}").exact == a - b - c
    assert evaluate(f"{a} / {c} / {c}").exact == Fraction(a, c * c)
    assert evaluate(f"{a} - {b} / {c}").exact == a - Fraction(b, c)
    assert evaluate(f"( {a} + {b} ) * {c}").exact == (a + b) * c


def test_fractions_are_exact():
    assert is_solution(Problem((8, 3, 8, 3), 24), "! 8 / ( 3 - 8 / 3 )")


@relaxed
@given(st.sampled_from([COUNTDOWN_3, COUNTDOWN_4]), st.randoms(use_true_random=False), st.data())
def test_generated_answers_verify_and_perturbed_ones_do_not(game, rng, data):
    problem = problems.sample(rng, "train", game)
    text = traces.trace(rng, problem)
    assert is_solution(problem, text)
    assert is_solution(problem, text + " <eos> ! 1")
    search, answer = text.split(" ! ")
    words = answer.split()
    numbers = [i for i, word in enumerate(words) if word.isdigit()]
    spoilt = data.draw(st.sampled_from(numbers))
    words[spoilt] = data.draw(st.sampled_from([str(n) for n in range(100) if str(n) != words[spoilt]]))
    changed = diagnose(problem, f"{search} ! {' '.join(words)}")
    assert changed.outcome in ("wrong numbers", "division by zero")
    assert changed.reason
    other = Problem(problem.numbers, problem.target % 99 + 1)
    assert diagnose(other, text).outcome == "wrong value"
    assert not is_solution(problem, search)


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("7 * 7 = 49 ; 18 + 49 = 67 ok ! 18 + ( 7 * 7 )", "solved"),
        ("! 1 + 1 ! 18 + 7 * 7", "solved"),
        ("!18+7*7", "solved"),
        ("! ( ( 18 ) + 7 * 7 )", "solved"),
        ("", "no answer"),
        ("18 + 7 * 7", "no answer"),
        ("<eos> ! 18 + 7 * 7", "no answer"),
        ("! 18 + 7 * 7 ! ", "malformed"),
        ("! 18 + 7 * 7 = 67", "malformed"),
        ("! 18 + 7 *", "malformed"),
        ("! 18 + 7 7", "malformed"),
        ("! ( 18 + 7 * 7", "malformed"),
        ("! 18 + 7 * 7 )", "malformed"),
        ("! 18 + 7 ** 7", "malformed"),
        ("! - 18 + 7 * 7", "malformed"),
        ("! 018 + 7 * 7", "malformed"),
        ("! 18 + 7 * \u0667", "malformed"),
        ("! 18 + 7 * 7.0", "malformed"),
        ("! __import__('os')", "malformed"),
        ("! 18 / ( 7 - 7 )", "division by zero"),
        ("! 18 + 7 * 7 + 7 - 7", "wrong numbers"),
        ("! 60 + 7", "wrong numbers"),
        ("! 67", "wrong numbers"),
        ("! 18 * 7 + 7", "wrong value"),
        ("! 18 / 7 / 7", "wrong value"),
    ],
)
def test_outcomes_by_hand(text, outcome):
    found = diagnose(PROBLEM, text)
    assert found.outcome == outcome
    assert bool(found.reason) == (outcome != "solved")


@relaxed
@given(st.text() | st.text("0123456789+-*/() !", max_size=60))
def test_any_text_is_judged_without_raising(text):
    assert diagnose(PROBLEM, f"! {text}").outcome
    assert diagnose(PROBLEM, text).outcome


@pytest.mark.parametrize("text", ["(" * 10_000, "9" * 10_000, "1" + "+1" * 10_000, "1" + "*9" * 10_000 + "?"])
def test_hostile_lengths_are_judged_without_raising(text):
    assert diagnose(PROBLEM, f"! {text}").outcome in ("malformed", "wrong numbers")


def test_brackets_are_allowed_to_a_depth():
    nested = "(" * DEEPEST + "1" + ")" * DEEPEST
    assert evaluate(nested).exact == 1
    with pytest.raises(MalformedExpressionError, match=f"deeper than {DEEPEST}"):
        evaluate(f"({nested})")


def test_random_answers_agree_with_an_independent_value():
    rng = random.Random(0)
    for _ in range(300):
        a, b, c = rng.choices(range(1, 21), k=3)
        first, second = rng.choices(list(OPERATIONS), k=2)
        exact = OPERATIONS[second](OPERATIONS[first](Fraction(a), b), c)
        if exact.denominator == 1 and 1 <= exact <= 99:
            assert is_solution(Problem((a, b, c), int(exact)), f"! ( {a} {first} {b} ) {second} {c}")
