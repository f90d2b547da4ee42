"""`moi demo`: the main job, end to end, on the embedded model."""

import json

import pytest

from moi.cli import main


def test_scores_come_from_checked_answers(capsys):
    assert main(["demo", "--problems", "48", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    scores = {row["policy"]: row for row in report["scores"]}
    assert list(scores) == ["token", "moi", "direct"]
    # Plain decoding beats random legal search of the same length by more than the interval.
    assert scores["token"]["low"] > report["random_search"]
    assert scores["token"]["mean_intervention"] == 0
    assert 0 < scores["moi"]["mean_intervention"] < 0.5
    assert all(0 <= row["low"] <= row["solved"] / 48 <= row["high"] <= 1 for row in scores.values())


def test_people_see_plain_beside_moi_and_a_table(capsys):
    assert main(["demo", "--problems", "4", "--show", "1"]) == 0
    out = capsys.readouterr().out
    assert "token (plain)" in out
    assert "random search" in out
    assert "not how much MoI helps" in " ".join(out.split())


def test_other_policies_are_scored_when_asked_for(capsys):
    assert main(["demo", "--problems", "3", "--show", "1", "--policy", "token", "gumbel", "multiplex"]) == 0
    out = capsys.readouterr().out
    assert "gumbel (tau 0.5" in out
    assert "multiplex" in out


@pytest.mark.parametrize("flags", [["--problems", "0"], ["--show", "-1"]])
def test_nonsense_is_refused(flags, capsys):
    assert main(["demo", *flags]) == 2
    assert "is not allowed; it must be an integer >= 1" in capsys.readouterr().err
