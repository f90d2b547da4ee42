"""Generator: legal arithmetic, reachable targets, a split that does not leak, and the random-search baseline."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moi_eval.countdown import problems, rules, search, traces
from moi_eval.countdown.problems import COUNTDOWN_3, COUNTDOWN_4, Game, Problem
from moi_eval.countdown.verify import is_solution

games = st.sampled_from([COUNTDOWN_3, COUNTDOWN_4])
splits = st.sampled_from(problems.SPLITS)
rngs = st.randoms(use_true_random=False)
# the first draw fills the caches of attempts
relaxed = settings(deadline=None)


def test_prompt_is_numbers_target_colon():
    assert Problem((18, 7, 7), 67).prompt == "18 7 7 > 67 :"
    assert Problem.parse(" 18 7 7 > 67 :") == Problem((18, 7, 7), 67)


@pytest.mark.parametrize("prompt", ["", "18 7 7", "18 7 7 > 67", "18 x 7 > 67 :", "18 7 > -3 :", "18 7 7 67 :"])
def test_prompts_of_another_form_are_refused(prompt):
    with pytest.raises(ValueError, match="is not a Countdown problem"):
        Problem.parse(prompt)


@pytest.mark.parametrize(
    ("numbers", "target", "message"),
    [((1, 100), 5, "number=100"), ((1, 0), 5, "number=0"), ((1, 2, 3), 100, "target=100"), ((4,), 4, "numbers=1")],
)
def test_problems_out_of_range_are_refused(numbers, target, message):
    with pytest.raises(ValueError, match=message):
        Problem(numbers, target)


def test_games_and_splits_are_checked():
    with pytest.raises(ValueError, match=r"count=5 .* 2\.\.4"):
        Game(count=5, highest=10)
    with pytest.raises(ValueError, match="split='test'"):
        problems.sample(random.Random(0), "test")  # type: ignore[arg-type]


def test_steps_of_a_pair_by_hand():
    assert [str(s) for s in rules.legal_steps(2, 6)] == [
        "2 + 6 = 8",
        "2 * 6 = 12",
        "6 + 2 = 8",
        "6 - 2 = 4",
        "6 * 2 = 12",
        "6 / 2 = 3",
    ]
    assert [str(s) for s in rules.legal_steps(50, 50)] == ["50 / 50 = 1"]


def test_attempts_are_distinct_and_independent_of_order():
    found = rules.attempts((3, 3, 8))
    assert len(set(found)) == len(found)
    assert found == rules.attempts((8, 3, 3))


def test_expression_uses_the_latest_result_and_drops_outer_brackets():
    attempt = (rules.Step(7, "*", 7, 49), rules.Step(18, "+", 49, 67))
    assert rules.expression((18, 7, 7), attempt) == "18 + ( 7 * 7 )"
    assert rules.step_text(attempt) == "7 * 7 = 49 ; 18 + 49 = 67"
    brackets_at_both_ends = (rules.Step(1, "+", 2, 3), rules.Step(3, "+", 4, 7), rules.Step(3, "*", 7, 21))
    assert rules.expression((1, 2, 3, 4), brackets_at_both_ends).count("(") == 2


@relaxed
@given(games, splits, rngs)
def test_samples_are_reachable_and_stay_in_their_split(game, split, rng):
    problem = problems.sample(rng, split, game)
    assert problem.target in rules.attempts_by_value(problem.multiset)
    assert len(problem.numbers) == game.count
    assert max(problem.numbers) <= game.highest
    assert problems.is_held_out(problem.numbers) == (split == "held_out")


@pytest.mark.parametrize("game", [COUNTDOWN_3, COUNTDOWN_4])
def test_held_out_is_about_a_tenth_and_shares_nothing_with_train(game):
    train, held_out = (set(problems.multisets(split, game)) for split in problems.SPLITS)
    assert not train & held_out
    assert 0.08 < len(held_out) / len(train | held_out) < 0.12


def test_held_out_problems_are_distinct_reproducible_and_counted():
    first = problems.held_out(200, seed=1)
    assert first == problems.held_out(200, seed=1) != problems.held_out(200, seed=2)
    assert len({(p.multiset, p.target) for p in first}) == 200
    with pytest.raises(ValueError, match="n=1000000"):
        problems.held_out(1_000_000)


@relaxed
@given(games, rngs)
def test_every_line_of_a_trace_is_true_and_its_answer_verifies(game, rng):
    problem = problems.sample(rng, "train", game)
    text = traces.trace(rng, problem)
    assert is_solution(problem, text)
    before, _, _ = text.partition(" ok ! ")
    *failed, solved = [attempt.split(" ; ") for attempt in before.split(" no ")]
    assert all(_true(line) for line in [line for attempt in [*failed, solved] for line in attempt])
    assert len(failed) <= traces.Search().most
    assert all(attempt[-1].split()[-1] != str(problem.target) for attempt in failed)
    assert solved[-1].split()[-1] == str(problem.target)


def _true(line: str) -> bool:
    left, operator, right, equals, result = line.split()
    a, b, c = int(left), int(right), int(result)
    exact = {"+": a + b == c, "-": a - b == c, "*": a * b == c, "/": a == b * c}
    return equals == "=" and exact[operator] and 1 <= c <= rules.LARGEST


def test_a_trace_of_an_unreachable_target_is_refused():
    with pytest.raises(ValueError, match="target=99 cannot be reached"):
        traces.trace(random.Random(0), Problem((1, 1, 1), 99))


def test_baseline_counts_the_tokens_the_language_takes():
    attempt, answer = "7 * 7 = 49 ; 18 + 7 = 25 no", "! 18 + ( 7 * 7 ) <eos>"
    assert search.attempt_tokens(3) == len(attempt.split())
    assert search.answer_tokens(3) == len(answer.split())
    assert search.attempts_within(170, 3) == 13
    assert search.attempts_within(5, 3) == 0


@relaxed
@given(games, rngs, st.integers(0, 400))
def test_random_search_stays_in_its_budget_and_never_claims_wrongly(game, rng, budget):
    problem = problems.sample(rng, "held_out", game)
    text = search.random_search(rng, problem, budget)
    assert len(text.split()) + 1 <= max(budget, 1)
    assert is_solution(problem, text) == ("!" in text)


def test_expected_chance_is_what_random_search_reaches():
    rng, chosen = random.Random(0), problems.held_out(100)
    solved = sum(is_solution(p, search.random_search(rng, p, 170)) for p in chosen for _ in range(40)) / 4000
    assert search.mean_chance(chosen, 170) == pytest.approx(solved, abs=0.025)
    with pytest.raises(ValueError, match="problems is empty"):
        search.mean_chance([], 170)
