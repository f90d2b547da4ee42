"""Mathematics in the layouts of GSM8K and MATH: answers of files, answers of models, names for votes."""

from __future__ import annotations

import importlib.util
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moi.cli import main
from moi_eval.formulas import Formulas
from moi_eval.journal import load
from moi_eval.tasks.math import MathTask

pytestmark = pytest.mark.skipif(importlib.util.find_spec("math_verify") is None, reason="math-verify not installed")

WORD_PROBLEM = {
    "question": "A shelf holds 12 jars, and each jar 101 beans. How many beans are there?",
    "answer": "Each of 12 jars holds 101 beans.\n12*101=<<12*101=1212>>1212\n#### 1,212",
}
COMPETITION = {
    "problem": r"What is $\frac{1}{2} + \frac{1}{4}$?",
    "solution": r"It is $\frac{2}{4} + \frac{1}{4} = \boxed{\frac{3}{4}}$.",
    "answer": r"\frac{3}{4}",
    "subject": "Prealgebra",
    "level": 1,
    "unique_id": "test/prealgebra/1.json",
}
SOLUTION_ALONE = {
    "problem": "Sides of 3 and 4?",
    "solution": r"\boxed{9}, no: $\fbox{\sqrt{9+16}}$",
    "type": "Geometry",
}


def write(path: Path, *records: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.fixture(scope="module")
def formulas() -> Iterator[Formulas]:
    found = Formulas()
    yield found
    found.stop()


@pytest.mark.parametrize(
    ("record", "name", "answer"),
    [
        (WORD_PROBLEM, "1", "1,212"),
        (COMPETITION, "test/prealgebra/1.json", r"\frac{3}{4}"),
        (SOLUTION_ALONE, "1", r"\sqrt{9+16}"),
        ({"Question": "q", "ANSWER": 18.5, "ID": 7}, "7", "18.5"),
        ({"problem": "q", "answer": r"so $\boxed{x+1}$"}, "1", "x+1"),
    ],
)
def test_rows_as_they_are(tmp_path: Path, record: dict[str, Any], name: str, answer: str) -> None:
    (item,) = MathTask(write(tmp_path / "f.jsonl", record), None, 0).items
    assert (item.id, item.answer) == (name, answer)
    assert item.prompt.endswith(r"put your final answer within \boxed{}.")


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"question": "q", "answer": "so 3\n####  "}, "'so 3\\\\n####  ' ends in no answer; allowed: #### 18 or"),
        ({"problem": "q", "solution": "it is 9"}, "'it is 9' ends in no answer"),
        ({"problem": "q"}, "has no 'answer' or 'solution'; it has: problem"),
        ({"answer": "3"}, "has no 'problem' or 'question'"),
        ({"problem": "q", "answer": [3]}, r"has 'answer'=\[3\]; it must be text or a number"),
    ],
)
def test_a_row_without_an_answer_is_named(tmp_path: Path, record: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=rf"f.jsonl line 2:? {words}"):
        MathTask(write(tmp_path / "f.jsonl", WORD_PROBLEM, record), None, 0)


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        (r"so \boxed{1212}", "solved"),
        (r"\boxed{1,212 \text{ beans}}", "solved"),
        ("<answer> $1212$ </answer>", "solved"),
        (r"<answer>\boxed{1212.00}</answer>", "solved"),
        (r"<think>\boxed{3}</think>\boxed{12 \cdot 101}", "solved"),
        (r"\boxed{1212} or rather \boxed{1213}", "wrong value"),
        (r"\boxed{1,212, 5}", "wrong value"),
        (r"\boxed{1212 5}", "malformed"),
        (rf"\boxed{{{'1' * 501}}}", "malformed"),
        ("1212", "no answer"),
    ],
)
def test_the_last_box_or_answer_counts(tmp_path: Path, text: str, outcome: str) -> None:
    task = MathTask(write(tmp_path / "f.jsonl", WORD_PROBLEM), None, 0)
    verdict = task.judge(task.items[0], text)
    assert (verdict.outcome, verdict.solved) == (outcome, outcome == "solved")
    assert (verdict.answer == "1212") == (outcome == "solved")


SAME = [
    (r"\frac{3}{4}", r"\frac34", "3/4", "0.75", r"x = \dfrac{3}{4}"),
    (r"11\sqrt2", r"11\sqrt{2}", r"\sqrt{242}"),
    (r"\text{Evelyn}", "Evelyn", "evelyn."),
    (r"\text{(C)}", "C", "(C)"),
    ("p - q", "-q+p"),
    (r"\left( 3, \frac{\pi}{2} \right)", r"(3,\pi/2)"),
    (r"x \in [-2,7]", "[-2, 7]"),
    (r"(-\infty, 2) \cup (3, \infty)", r"(3,\infty)\cup(-\infty,2)"),
    (r"\begin{pmatrix} -2 \\ 1 \end{pmatrix}", r"\begin{bmatrix}-2\\1\end{bmatrix}"),
    ("3, 5, 7", r"\{7, 5, 3\}"),
    (r"1 \pm \sqrt{2}", r"1+\sqrt2, 1-\sqrt2"),
    (r"3\frac{1}{2}", "3.5", "3 1/2", r"\frac{7}{2}"),
    ("6 - 5i", "-5i+6"),
    (r"\frac{1}{x+1}", r"\frac{x-1}{x^2-1}"),
    ("(x+1)^2", "x^2+2x+1"),
    (r"\$18.90", "18.9", r"18.90 \text{ dollars}", "18.9 dollars"),
    (r"145^\circ", "145", r"145 \text{ degrees}"),
    ("10^{20}", "1" + "0" * 20),
]
DIFFERENT = [
    ("12", "12.5"),
    ("(2,3)", "(3,2)"),
    ("[2,3)", "(2,3)"),
    ("x=2, y=3", "x=3, y=2"),
    ("10^{20}", "10^{20}+1"),
    (r"\text{cat}", "act"),
    (r"\text{even}", r"\text{odd}"),
    (r"2\sqrt{3}", "3.46"),
    ("0.00001", "0.00002"),
    ("7", r"\{7, 8\}"),
    ("-1", "1"),
]


@pytest.mark.parametrize("notations", SAME, ids=lambda each: each[0])
def test_what_is_the_same_has_one_name_right_or_wrong(formulas: Formulas, notations: tuple[str, ...]) -> None:
    for right, found in itertools.product(notations, repeat=2):
        assert (formulas.compare(right, found) or (None,))[0] is True, (right, found)
    names = {formulas.compare("777", found) for found in notations}
    assert len(names) == 1, names
    assert next(iter(names))[0] is False  # type: ignore[index]


@pytest.mark.parametrize(("right", "found"), [pair for each in DIFFERENT for pair in (each, each[::-1])])
def test_what_differs_differs(formulas: Formulas, right: str, found: str) -> None:
    compared, itself = formulas.compare(right, found), formulas.compare(right, right)
    assert compared is not None
    assert itself is not None
    assert not compared[0]
    assert compared[1] != itself[1]


def test_what_nobody_can_compute_is_malformed_in_time_and_the_next_is_read(
    formulas: Formulas, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moi_eval.formulas.SECONDS", 0.5)
    for text in (r"9^{9^{9^9}}", "(10^{10})!"):
        assert formulas.compare("3", text) is None
    monkeypatch.undo()
    assert formulas.compare("0.5", r"\frac12") == (True, "0.5")


@settings(max_examples=60, deadline=None)
@given(text=st.text(r"0123456789xyi+-*/^_=(){}[]\, .fracsqtpi", max_size=40))
def test_any_box_gets_a_verdict(formulas: Formulas, text: str) -> None:
    compared = formulas.compare(r"\frac{3}{4}", text)
    assert compared is None or (compared[0] in (True, False) and compared[1])


def test_an_evaluation_votes_over_answers_that_are_the_same(
    capsys: pytest.CaptureFixture[str], serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openai")
    written = iter([r"\boxed{0.75}", r"\boxed{\frac{1}{2}}", r"<answer>3/4</answer>"] * 2 + [r"\boxed{2}"] * 3)
    server = serve()
    monkeypatch.setattr(server, "_shaped", _writing(server, written))
    data = write(tmp_path / "f.jsonl", *(COMPETITION | {"unique_id": f"{i}"} for i in range(2)))
    out = tmp_path / "r.jsonl"
    argv = ["eval", "math", "--data", str(data), "--samples", "3", "--policy", "token", "--concurrency", "1"]
    assert main([*argv, "--max-new-tokens", "9", "--server", server.url, "--out", str(out), "--json"]) == 0
    plain, vote = json.loads(capsys.readouterr().out)["arms"]
    assert {each["answer"] for each in load(out).samples.values()} == {"0.75", "0.5"}
    assert (plain["solved"], vote["solved"], vote["wanted"]) == (4, 2, 2)


def _writing(server: Any, written: Iterator[str]) -> Any:
    """The texts in turn, once the servers were looked at."""
    shaped, probes = server._shaped, iter(range(1))

    def other(path: str, text: str, *told: Any) -> Any:
        return shaped(path, text if next(probes, None) is not None else next(written), *told)

    return other
