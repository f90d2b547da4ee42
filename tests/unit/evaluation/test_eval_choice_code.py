"""Multiple choice of every layout, and HumanEval's layout with programs that pass, fail, hang, eat and cheat."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from moi.cli import main
from moi_eval import run_code
from moi_eval.tasks import TaskOptions, make_task
from moi_eval.tasks.multiple_choice import MultipleChoiceTask


def write(path: Path, *records: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


MMLU = {"question": "why", "choices": ["x", "y", "z"]}
ARC = {"question": "why", "choices": {"text": ["x", "y", "z"], "label": ["1", "2", "3"]}}


@pytest.mark.parametrize(
    ("record", "letter"),
    [
        ({**MMLU, "answer": 2}, "C"),
        ({**MMLU, "answer": "b"}, "B"),
        ({**ARC, "answerKey": "2"}, "B"),
        ({**ARC, "answerKey": "1"}, "A"),
        ({"Question": "why", "Choices": {"Text": ["x", "y", "z"], "LABEL": ["1", "2", 3]}, "ANSWER": 3}, "C"),
        ({**MMLU, "choices": {"text": ["x", "y", "z"], "label": None}, "answer": 1}, "B"),
    ],
)
def test_choices_are_lettered_and_the_last_letter_counts(tmp_path: Path, record: dict[str, Any], letter: str) -> None:
    task = MultipleChoiceTask(write(tmp_path / "mc.jsonl", record), None, 0)
    item = task.items[0]
    assert "(A) x\n(B) y\n(C) z" in item.prompt
    assert task.judge(item, f"B? no... Answer: {letter}").solved
    assert task.judge(item, f"Answer: {'AB'[letter == 'A']}").outcome == "wrong choice"
    assert task.judge(item, "Answer: D").outcome == "no answer"
    assert task.baseline(1) == ("one choice at random", pytest.approx(1 / 3))


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({**MMLU, "answer": 3}, "line 1 has answer=3; allowed: A, B, C, or a number from 0"),
        ({**MMLU, "answer": None}, "line 1 has answer=None"),
        ({**ARC, "answerKey": "A"}, "line 1 has answerkey='A'; allowed: 1, 2, 3"),
        ({**MMLU, "choices": ["x"], "answer": 0}, "it must be a list of 2 to 10 texts"),
        ({**ARC, "choices": {"text": ["x", "y"], "label": ["1", "1"]}}, "every choice needs its own"),
        (
            {"question": "why", "choices": {"text": ["x", "y"], "label": ["A", "A", "B"]}, "answer": "B"},
            "has label=['A', 'A', 'B']; every choice needs its own",
        ),
        ({**MMLU, "choices": ["x", None], "answer": 0}, "has 'choices'=None; it must be text or a number"),
        ({**MMLU, "choices": ["x", ["y"]], "answer": 0}, "has 'choices'=['y']; it must be text or a number"),
        ({**MMLU, "choices": ["x", "\ud835"], "answer": 0}, "'choices' holds \\ud835, half a character, at 0"),
        ({**ARC, "choices": {"text": ["x", "y"], "label": ["1", None]}}, "has 'label'=None; it must be text"),
        ({**ARC, "choices": {"text": ["x", "y"], "Text": ["x", "z"]}}, "has 'Text' twice"),
    ],
)
def test_bad_choices_name_file_and_line(tmp_path: Path, record: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=r"mc\.jsonl line 1") as caught:
        MultipleChoiceTask(write(tmp_path / "mc.jsonl", record), None, 0)
    assert reason in str(caught.value)


PROBLEM = {
    "task_id": "T/0",
    "prompt": 'from math import floor\n\ndef half(x):\n    """Half of x, rounded down."""\n',
    "entry_point": "half",
    "test": "def check(candidate):\n    assert candidate(5) == 2\n    assert candidate(-1) == -1\n",
}


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ("    return floor(x / 2)", "solved"),
        ("    return x // 2\n\nprint(half(3)))\nhalf = None", "solved"),  # what follows the function is not it
        ("    return int(x / 2)", "tests failed"),
        ("    return (", "tests failed"),
        ("    import os\n    os._exit(0)", "tests failed"),
        ("    raise SystemExit(0)", "tests failed"),
        ("    return len('x' * 10**10) and x // 2", "tests failed"),
        ("    open('f', 'w').write('x' * 10**8)\n    return x // 2", "tests failed"),
        ("    while True: pass", "too long"),
        ("    import time, subprocess\n    subprocess.run(['sleep', '60'])", "too long"),
        ("", "no code"),
    ],
)
def test_a_program_passes_its_tests_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, outcome: str
) -> None:
    if outcome == "too long":
        monkeypatch.setattr(run_code.run, "__defaults__", (0.5,))
    options = TaskOptions(write(tmp_path / "he.jsonl", PROBLEM), run_code=True)
    task = make_task("humaneval", options)
    assert task.items[0].prompt == PROBLEM["prompt"]
    assert task.judge(task.items[0], body).outcome == outcome


def test_of_a_chat_the_last_block_counts(tmp_path: Path) -> None:
    task = make_task("humaneval", TaskOptions(write(tmp_path / "he.jsonl", PROBLEM), chat=True, run_code=True))
    (item,) = task.items
    said = "```python\nhalf = 1\n```\nbetter:\n```python\ndef half(x):\n    return floor(x / 2)\n```\n"
    assert task.judge(item, said).solved
    assert task.judge(item, "return x // 2").outcome == "no code"


def test_a_program_sees_no_environment_and_leaves_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SECRET", "x")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    program = "import os\nassert 'SECRET' not in os.environ\nopen('mine', 'w').write('x')\nassert os.listdir('.')"
    assert run_code.run(program) == run_code.PASSED
    assert not list(tmp_path.iterdir())


def test_nothing_is_run_unless_the_user_says_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    data = str(write(tmp_path / "he.jsonl", PROBLEM))
    assert main(["eval", "humaneval", "--data", data, "--out", str(tmp_path / "r.jsonl")]) == 2
    assert "say --run-code where that is acceptable" in capsys.readouterr().err
    bad = write(tmp_path / "bad.jsonl", {**PROBLEM, "entry_point": "f(); import os"})
    with pytest.raises(ValueError, match=r"bad.jsonl line 1 has entry_point='f\(\); import os'; it must be a name"):
        make_task("humaneval", TaskOptions(bad, run_code=True))
