"""Majority votes, pass@k, what could have been found, bins of entropy, repetition, longer limits."""

from __future__ import annotations

import itertools
import json
import math
import random
import statistics
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moi.cli import main
from moi_bench.report.eval_figures import against_entropy, against_tokens
from moi_bench.report.results import Evaluation
from moi_eval.arms import longer_arms, make_arms
from moi_eval.entropy_bins import by_entropy
from moi_eval.journal import Key, load
from moi_eval.stats import detectable, pass_at
from moi_eval.summary import summarise
from moi_eval.summary_text import power_line, render
from moi_eval.texts import repeated
from moi_eval.votes import vote_rows, winner

ARMS: list[dict[str, Any]] = [{"label": "t", "plain": "t"}, {"label": "m", "plain": "t"}]


def record(solved: bool, answer: str | None = None, tokens: int = 4, **more: Any) -> dict[str, Any]:
    made = {"solved": solved, "outcome": "", "tokens": tokens, "finish": "eos", "entropy": 0.1, "intervention": 0.0}
    return {**made, "text": "", "answer": answer, **more}


def settings(problems: int, samples: int) -> dict[str, Any]:
    task = {"name": "made up", "n": problems}
    return {"task": task, "model": {"name": "m"}, "engine": "e", "arms": ARMS, "samples": samples, "max_new_tokens": 99}


def test_most_answers_win_and_the_first_of_a_tie() -> None:
    group = [record(False, "1"), record(True, "2"), record(True, "2"), record(False, None), record(False, None)]
    assert winner(group) is group[1]
    assert winner(group[:2]) is group[0]
    assert winner([record(False), record(False)]) is None


def test_a_vote_costs_all_its_samples_and_each_group_is_one() -> None:
    right, wrong = record(True, "7", tokens=10), record(False, "8", tokens=20)
    problems = {"a": [right, wrong, right, wrong, wrong, right], "b": [record(False)] * 6}
    (three, five) = vote_rows(ARMS[0], problems)
    assert [row["label"] for row in (three, five)] == ["majority of 3: t", "majority of 5: t"]
    assert (three["solved"], three["wanted"]) == (1, 4)  # of a: 7 7 8, then 8 8 7
    assert three["mean_tokens"] == pytest.approx((40 + 50 + 12 + 12) / 4)
    assert (five["solved"], five["wanted"]) == (0, 2)
    assert three["low"] < three["share"] < three["high"]
    assert not vote_rows(ARMS[0], {"a": [record(True)] * 9})  # nothing to vote on
    assert not vote_rows(ARMS[0], {"a": [right] * 2})


@hypothesis.settings(deadline=None)  # the first imports scipy
@given(st.lists(st.integers(0, 6), min_size=1, max_size=8), st.integers(1, 6))
def test_pass_at_k_counts_every_choice_of_k_samples(solved: list[int], k: int) -> None:
    def chance(count: int) -> float:
        samples = [True] * count + [False] * (6 - count)
        return statistics.fmean(any(chosen) for chosen in itertools.combinations(samples, k))

    assert pass_at(solved, 6, k) == pytest.approx(statistics.fmean(map(chance, solved)), abs=1e-12)


def test_pass_at_k_needs_k_samples() -> None:
    with pytest.raises(ValueError, match=r"k=3 is not allowed; it must be in 1..2"):
        pass_at([1], 2, 3)


def test_what_could_be_found_is_found_in_four_runs_of_five() -> None:
    """Simulated: problems whose difference is as large as `detectable` says, tested as the table's interval is."""
    drawn, n, found, runs = random.Random(), 300, 0, 2000
    spread = [1] * 40 + [-1] * 40 + [0] * 220
    reach = detectable(spread, 1, 1)
    assert reach is not None
    up = 0.5 * (80 / 300 + reach)
    for _ in range(runs):
        values = drawn.choices((1, -1, 0), (up, 80 / 300 - up, 220 / 300), k=n)
        mean, deviation = statistics.fmean(values), statistics.stdev(values)
        found += abs(mean) > 1.96 * deviation / math.sqrt(n)
    assert 0.75 < found / runs < 0.87  # the spread shrinks a little where the mean is not 0
    assert detectable(spread, 1, 5) == pytest.approx(reach * (2.5758 + 0.8416) / (1.96 + 0.8416), rel=1e-3)
    assert detectable([0, 0], 1, 1) is None
    assert detectable([1], 1, 1) is None


def test_bins_hold_as_many_problems_from_low_to_high_entropy() -> None:
    drawn = random.Random()
    entropies = [drawn.random() for _ in range(100)]
    plain = {str(i): [record(False, entropy=value)] * 2 for i, value in enumerate(entropies)}
    mine = {
        str(i): [record(value > 0.5, entropy=value), record(False, entropy=value)] for i, value in enumerate(entropies)
    }
    bins = by_entropy(mine, plain, 2)
    assert [each["n"] for each in bins] == [20] * 5
    assert all(a["entropy_high"] <= b["entropy_low"] for a, b in itertools.pairwise(bins))
    for each in bins:
        inside = [value > 0.5 for value in entropies if each["entropy_low"] <= value <= each["entropy_high"]]
        assert each["difference"] == pytest.approx(sum(inside) / 40)
        assert each["of"] == "both"
    unknown = {item: [{**first, "entropy": None}] for item, (first, _) in plain.items()}
    ones = {item: [{**first, "entropy": entropies[int(item)]}] for item, (first, _) in mine.items()}
    assert {each["of"] for each in by_entropy(ones, unknown, 1)} == {"arm"}
    assert not by_entropy(unknown, unknown, 1)
    assert not by_entropy({i: mine[i] for i in map(str, range(39))}, {i: plain[i] for i in map(str, range(39))}, 2)


def test_bins_of_two_arms_that_are_the_same_show_no_gain() -> None:
    """Though texts of a high entropy fail more often."""
    drawn = random.Random()

    def text() -> dict[str, Any]:
        entropy = drawn.random()
        return record(drawn.random() > entropy, entropy=entropy)

    plain, mine = ({str(i): [text(), text()] for i in range(2000)} for _ in range(2))
    for each in by_entropy(mine, plain, 2):
        error = (each["high"] - each["low"]) / (2 * 1.96)
        assert abs(each["difference"]) < 5 * error
    unknown = {item: [{**each, "entropy": None} for each in texts] for item, texts in plain.items()}
    lowest, *_, highest = by_entropy(mine, unknown, 2)
    assert lowest["low"] > 0 > highest["high"], "binned by one arm's texts they do"


@pytest.mark.parametrize(
    ("text", "share"), [("", 0), ("a b c", 0), ("a b c d", 0), ("a b c d a b c d", 0.2), ("a " * 7, 0.75)]
)
def test_repetition_is_of_4_grams_of_words(text: str, share: float) -> None:
    assert repeated(text) == pytest.approx(share)


def made_up(problems: int = 60, samples: int = 4) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    drawn, found = random.Random(), {}
    for arm, item, sample in itertools.product("tm", range(problems), range(samples)):
        right = drawn.random() < 0.5
        entropy = drawn.random()
        found[Key(arm, str(item), sample)] = record(right, str(int(right)), finish="length", entropy=entropy)
    head = settings(problems, samples)
    return head, summarise(head, found)


def test_the_table_tells_all_of_it() -> None:
    head, rows = made_up()
    plain, mixed, vote = rows
    assert vote["label"] == "majority of 3: t"
    assert vote["mean_tokens"] == 3 * plain["mean_tokens"] == 12
    assert plain["cut"] == 1
    assert plain["pass_at"][1] == pytest.approx(plain["share"])
    assert plain["pass_at"][1] < plain["pass_at"][2] < plain["pass_at"][4] <= 1
    assert mixed["paired"]["detectable"] > 0
    assert len(mixed["paired"]["by_entropy"]) == 3
    text = render(head, rows, ("chance", 0.5))
    assert power_line(rows) in text
    assert f"{100 * mixed['paired']['detectable']:.1f}" in power_line(rows)
    assert "pass@k of t: 1: " in text
    assert "100.0%" in text
    json.dumps(rows)


def test_a_table_without_comparisons_or_movement_says_so() -> None:
    assert power_line([{"paired": None}]) == ""
    assert "unknown" in power_line([{"paired": {"detectable": None}}])


def test_figures_have_a_mark_for_each_arm() -> None:
    head, rows = made_up()
    evaluation = Evaluation(head, {}, rows)
    tokens, entropy = against_tokens(evaluation), against_entropy(evaluation)
    assert tokens is not None
    assert entropy is not None
    assert tokens.count('class="key') == 3
    assert entropy.count('class="key') == 1
    assert "majority of 3: t" in tokens
    assert "by its own texts" not in entropy
    head, rows = made_up(10)
    assert against_entropy(Evaluation(head, {}, rows)) is None


def test_longer_limits_are_arms_beside_the_plain_one(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "r.jsonl"
    argv = ["eval", "countdown", "--n", "3", "--policy", "token", "moi", "--max-new-tokens", "6", "--longer", "2", "4"]
    for _ in range(2):  # and goes on
        assert main([*argv, "--out", str(out), "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
    labels = [arm["label"] for arm in report["arms"]]
    assert labels[2:] == ["token T=1 top-p=1 budget x2", "token T=1 top-p=1 budget x4"]
    assert [arm["mean_tokens"] for arm in report["arms"]] == [6, 6, 12, 24]
    assert all(arm["paired"] is not None for arm in report["arms"][1:])
    texts = {key: each["text"] for key, each in load(out).samples.items()}
    for key, text in texts.items():
        if key.arm == labels[3]:  # the same noise
            assert text.startswith(texts[key._replace(arm=labels[0])])


def test_longer_limits_need_a_plain_arm() -> None:
    with pytest.raises(ValueError, match="--longer 2 is not allowed; it needs policy token"):
        longer_arms(make_arms(["moi"], {}, [1.0], [1.0]), [2])
    with pytest.raises(ValueError, match="--longer 1 is not allowed"):
        longer_arms(make_arms(["token"], {}, [1.0], [1.0]), [1])
