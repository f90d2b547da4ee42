"""Majority votes against plain and mixing arms: the comparisons of a table against an enumeration of every flip."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from typing import Any

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moi_bench.report.eval_figures import against_tokens
from moi_bench.report.headline import gain
from moi_bench.report.results import Evaluation, Results
from moi_bench.report.tables import eval_table
from moi_eval.comparisons import adjust, compare
from moi_eval.journal import Key
from moi_eval.stats import detectable
from moi_eval.summary import summarise
from moi_eval.summary_text import render

ARMS: list[dict[str, Any]] = [{"label": "t", "plain": "t"}, {"label": "m", "plain": "t"}, {"label": "g", "plain": "t"}]
OTHER = {"label": "alone", "plain": "nowhere"}


def settings(problems: int, samples: int) -> dict[str, Any]:
    task = {"name": "made up", "n": problems}
    head = {"task": task, "model": {"name": "m"}, "engine": "e", "samples": samples, "max_new_tokens": 99}
    return {**head, "arms": [*ARMS, OTHER]}


def record(answer: str | None) -> dict[str, Any]:
    told = {"tokens": 4, "finish": "eos", "entropy": 0.1, "intervention": 0.0, "text": ""}
    return {"solved": answer == "1", "outcome": "", "answer": answer, **told}


def table(answers: dict[tuple[str, int], list[str | None]]) -> list[dict[str, Any]]:
    """Of all answers by arm and problem."""
    problems, samples = 1 + max(item for _, item in answers), len(answers["t", 0])
    found = {
        Key(arm, f"{item}", number): record(answer)
        for (arm, item), given in answers.items()
        for number, answer in enumerate(given)
    }
    return summarise(settings(problems, samples), found)


@st.composite
def drawn_answers(draw: st.DrawFn) -> dict[tuple[str, int], list[str | None]]:
    problems, samples = draw(st.integers(1, 5)), draw(st.integers(3, 7))
    some = st.lists(st.sampled_from(["1", "1", "2", "3", None]), min_size=samples, max_size=samples)
    return {(arm["label"], item): draw(some) for arm in [*ARMS, OTHER] for item in range(problems)}


def majority(answers: list[str | None]) -> bool:
    """By hand: of the answers that were given most often, the one that was given first."""
    given = [answer for answer in answers if answer is not None]
    most = max((given.count(answer) for answer in given), default=0)
    return next((answer for answer in given if given.count(answer) == most), None) == "1"


def by_hand(answers: dict[tuple[str, int], list[str | None]], size: int, arm: str) -> tuple[float, int, int, float]:
    """(difference, won, lost, p) of a vote against an arm, every assignment of signs to problems counted."""
    pairs = [
        [(majority(given[start : start + size]), answers[arm, item][start] == "1") for start in starts]
        for (name, item), given in answers.items()
        if name == "t"
        for starts in [[group * size for group in range(len(given) // size)]]
    ]
    moved = [sum(vote - answer for vote, answer in each) for each in pairs]
    totals = [sum(map(math.prod, zip(signs, moved, strict=True))) for signs in signs_of(len(moved))]
    p = sum(abs(total) >= abs(sum(moved)) for total in totals) / len(totals)
    flat = [pair for each in pairs for pair in each]
    return sum(moved) / len(flat), flat.count((True, False)), flat.count((False, True)), p


def signs_of(count: int) -> list[tuple[int, ...]]:
    return list(itertools.product((-1, 1), repeat=count))


@hypothesis.settings(deadline=None)  # the first imports scipy
@given(drawn_answers())
def test_votes_are_compared_with_every_arm_as_by_hand(answers: dict[tuple[str, int], list[str | None]]) -> None:
    rows = table(answers)
    votes = [row for row in rows if row.get("votes")]
    given = any(answer is not None for (arm, _), each in answers.items() if arm == "t" for answer in each)
    samples = len(answers["t", 0])
    assert [row["votes"] for row in votes] == [size for size in (3, 5) if given and size <= samples]
    for row in votes:
        found = {"t": row["paired"]} | {each["arm"]: each for each in row["against"]}
        assert list(found) == ["t", "m", "g"]  # nothing with the arm that is compared with another plain one
        for arm, pair in found.items():
            wanted = by_hand(answers, row["votes"], arm)
            assert (pair["difference"], pair["won"], pair["lost"], pair["p"]) == pytest.approx(wanted), arm


@hypothesis.settings(deadline=None)
@given(drawn_answers())
def test_holms_family_is_every_comparison_of_the_table(answers: dict[tuple[str, int], list[str | None]]) -> None:
    rows = table(answers)
    pairs = [row["paired"] for row in rows if row["paired"] is not None]
    pairs += [each for row in rows for each in row.get("against", ())]
    assert len(pairs) == 2 + 3 * sum("votes" in row for row in rows)
    for pair in pairs:  # the smallest level at which the step-down procedure rejects it
        smaller = [other["p"] for other in pairs if other["p"] <= pair["p"]]
        ordered = sorted(each["p"] for each in pairs)
        steps = [(len(pairs) - rank) * p for rank, p in enumerate(ordered[: len(smaller)])]
        assert pair["p_holm"] == pytest.approx(min(1, max(steps)))
    moved = [answers["m", item].count("1") - answers["t", item].count("1") for item in range(len(answers) // 4)]
    assert rows[1]["paired"]["detectable"] == detectable(moved, len(answers["t", 0]), len(pairs))


def test_the_test_of_a_vote_is_exact_where_vote_and_answer_are_as_good() -> None:
    """Answers that are drawn evenly from three: a vote of three is right in a third of cases, as one answer is. Of all
    tables of six problems no more than a share of `level` have a p of at most `level`.
    """
    outcomes = Counter((majority(list(three)), three[0] == "1") for three in itertools.product("123", repeat=3))
    assert sum(count for (vote, _), count in outcomes.items() if vote) == 9
    chances = dict[float, float]()
    for drawn in itertools.combinations_with_replacement(sorted(outcomes), 6):
        orders = math.factorial(6) / math.prod(map(math.factorial, Counter(drawn).values()))
        votes = {f"{item}": [vote] for item, (vote, _) in enumerate(drawn)}
        answers = {f"{item}": [answer] for item, (_, answer) in enumerate(drawn)}
        p = round(compare(votes, answers).found["p"], 9)
        chances[p] = chances.get(p, 0) + orders * math.prod(outcomes[pair] / 27 for pair in drawn)
    assert sum(chances.values()) == pytest.approx(1)
    assert len(chances) > 4
    for level in chances:
        assert sum(chance for p, chance in chances.items() if p <= level) <= level + 1e-9


def test_an_incomplete_arm_is_compared_with_nothing() -> None:
    answers = {(arm["label"], item): ["1", None, "2"] for arm in [*ARMS, OTHER] for item in range(3)}
    answers["m", 2] = ["1"]
    rows = table(answers)
    (vote,) = [row for row in rows if row.get("votes")]
    assert [each["arm"] for each in vote["against"]] == ["g"]
    assert vote["paired"]["p"] == 1
    adjust([])


def test_tables_and_reports_tell_of_votes() -> None:
    answers = {("t", item): ["2", "1", "1"] for item in range(8)}
    answers |= {(arm, item): ["1", "2", "1"] for arm in ("m", "g", "alone") for item in range(8)}
    answers["g", 0] = ["2", "2", "2"]
    rows, head = table(answers), settings(8, 3)
    text = render(head, rows, None)
    (line,) = [line for line in text.splitlines() if line.startswith("majority of 3: t  ")]
    assert "+100.0 [+26.1, +100.0] 8/0 0.00781 0.0391" in " ".join(line.split())  # 2 / 2^8, and five times that
    assert "majority of 3: t against m: +0.0 [-36.9, +36.9], 0/0, p 1, Holm 1" in text
    assert "majority of 3: t against g: +12.5 [" in text
    evaluation = Evaluation(head, {}, rows)
    assert [note for note in eval_table(evaluation).reasons if "against g: +12.5" in note]
    assert "majority of 3: t" in str(against_tokens(evaluation))
    assert "majority" not in str(gain(Results(evals=[evaluation])))
