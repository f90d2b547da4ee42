"""AIME, GPQA and LiveCodeBench files: reading, judging, exporting, and what is refused."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from moi.cli import main
from moi_eval.tasks.aime import AIMETask
from moi_eval.tasks.gpqa import GPQATask
from moi_eval.tasks.livecodebench import LiveCodeBenchTask, extract_code


def write(path: Path, *records: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        (r"so \boxed{033}", "solved"),
        (r"\boxed{34}, no: \boxed{\text{33}}", "solved"),
        (r"\boxed{34}", "wrong value"),
        (r"\boxed{x+1}", "malformed"),
        ("it is 33", "no answer"),
    ],
)
def test_aime_is_an_exact_match_of_the_last_box(tmp_path: Path, text: str, outcome: str) -> None:
    task = AIMETask(write(tmp_path / "aime.jsonl", {"ID": "2024-I-1", "Problem": "?", "Answer": 33}), None, 0)
    assert task.items[0].id == "2024-I-1"
    assert task.judge(task.items[0], text).outcome == outcome


def gpqa(path: Path, seed: int = 0) -> GPQATask:
    record = {"Record ID": "r", "Question": "why", "Correct Answer": "good"}
    wrong = {f"Incorrect Answer {i}": f"bad {i}" for i in (1, 2, 3)}
    return GPQATask(write(path / "gpqa.jsonl", {**record, **wrong}), None, seed)


def test_gpqa_shuffles_its_choices_by_seed_and_reads_the_last_letter(tmp_path: Path) -> None:
    task = gpqa(tmp_path)
    item = task.items[0]
    assert f"({item.answer}) good" in item.prompt
    assert task.judge(item, f"Answer: A or B... **Answer: {item.answer}**").solved
    assert task.judge(item, rf"\boxed{{{item.answer}}}").solved
    assert task.judge(item, "who knows").outcome == "no answer"
    assert {gpqa(tmp_path, seed).items[0].answer for seed in range(20)} == set("ABCD")
    assert gpqa(tmp_path).items == task.items


def test_livecodebench_code_is_extracted_and_never_judged(tmp_path: Path) -> None:
    record = {"question_id": "q1", "question_content": "add", "starter_code": "def f():"}
    task = LiveCodeBenchTask(write(tmp_path / "lcb.jsonl", record), None, 0)
    verdict = task.judge(task.items[0], "```python\nold\n```\nbetter\n```python\nprint(1)\n```")
    assert verdict.solved is None
    assert "def f():" in task.items[0].prompt
    assert extract_code("```py\na\n```x\n```\nprint(2)\n```") == "print(2)"
    assert extract_code("no fence") == ""


def test_livecodebench_writes_what_the_official_harness_reads(
    tmp_path: Path, tiny_model: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write(tmp_path / "lcb.jsonl", *({"question_id": f"q{i}", "question_content": "x"} for i in range(2)))
    argv = ["--policy", "token", "moi", "--samples", "2", "--max-new-tokens", "3", "--data", str(data)]
    out = tmp_path / "r.jsonl"
    assert main(["eval", "livecodebench", *argv, "--model", str(tiny_model("qwen3")), "--out", str(out)]) == 0
    assert "not judged here" in capsys.readouterr().out
    written = sorted(tmp_path.glob("r.*.lcb.json"))
    assert [path.name for path in written] == ["r.moi-beta-1-t-1-top-p-1.lcb.json", "r.token-t-1-top-p-1.lcb.json"]
    entries = json.loads(written[0].read_text())
    assert [(entry["question_id"], len(entry["code_list"])) for entry in entries] == [("q0", 2), ("q1", 2)]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "holds no problem"),
        ('{"problem": "p", "answer": 1}\n{"problem": "p", "ans', "line 2 is not valid JSON"),
        ("[]\n", "line 1 is not a JSON object"),
        ('{"problem": "p"}\n', "line 1 has no 'answer'; it has: problem"),
        ('{"problem": "p", "answer": 1000}\n', "line 1: answer=1000 is not allowed; it must be in 0..999"),
        ('{"id": 1, "problem": "p", "answer": 1}\n' * 2, "holds the id '1' twice"),
    ],
)
def test_bad_files_are_refused_by_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, words: str
) -> None:
    data = tmp_path / "aime.jsonl"
    data.write_text(content)
    assert main(["eval", "aime", "--data", str(data), "--out", str(tmp_path / "out.jsonl")]) == 2
    assert words in capsys.readouterr().err


IN_THE_WILD = {
    "degrees": '{"question": "q", "answer": "204^\\\\circ"}',
    "float": '{"problem": "q", "answer": 204.0}',
    "float in text": '{"problem": "q", "answer": "204.0"}',
    "box": '{"problem": "q", "answer": "$\\\\boxed{204}$"}',
    "upper case": '{"PROBLEM": "q", "Answer": 204}',
    "no id twice": '{"id": null, "problem": "q", "answer": 204}\n{"id": null, "problem": "r", "answer": 204}',
    "line separator": '{"problem": "a\u2028b", "answer": 204}',
    "next line": '{"problem": "a\x85b\x0b\x0c\x1c", "answer": 204}',
    "byte order mark": '\ufeff{"problem": "q", "answer": 204}',
    "carriage return": '\r\n{"problem": "q", "answer": 204}\r\n\r\n',
    "the same twice": '{"problem": "q", "problem": "q", "answer": 204}',
}


@pytest.mark.parametrize("name", IN_THE_WILD)
def test_files_as_they_are(tmp_path: Path, name: str) -> None:
    data = tmp_path / "aime.jsonl"
    data.write_bytes(
        IN_THE_WILD[name].encode().replace(b"\x0b", b"\\u000b").replace(b"\x0c", b"").replace(b"\x1c", b"")
    )
    task = AIMETask(data, None, 0)
    assert [item.answer for item in task.items] == [204] * len(task.items)
    assert len({item.id for item in task.items}) == len(task.items) == 1 + (name == "no id twice")


BROKEN = {
    "half a surrogate": (
        b'{"problem": "x \\ud835 y", "answer": 2}',
        r"line 1: 'problem' holds \ud835, half a character",
    ),
    "half a surrogate id": (b'{"id": "\\udc00", "problem": "x", "answer": 2}', r"line 1: 'id' holds \udc00"),
    "NaN": (b'{"problem": "x", "answer": NaN}', "NaN is no number of JSON"),
    "infinity": (b'{"problem": "x", "answer": -Infinity}', "-Infinity is no number of JSON"),
    "large": (b'{"problem": "x", "answer": 1e999}', "answer=inf is not allowed"),
    "huge": (b'{"problem": "x", "answer": ' + b"9" * 5000 + b"}", "line 1 is not valid JSON"),
    "deep": (b'{"problem": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "line 1 is nested too deeply"),
    "two values": (b'{"problem": "x", "problem": "y", "answer": 2}', "the key problem stands twice"),
    "two cases": (b'{"problem": "x", "Problem": "y", "answer": 2}', "has 'Problem' twice"),
    "compressed": (gzip.compress(b"{}"), "is compressed; unpack it"),
    "Latin-1": (b'{}\n{"problem": "caf\xe9"}', "line 2 is not UTF-8 text"),
    "half": (b'{"problem": "x", "answer": 2.5}', "answer=2.5 is not allowed"),
    "several": (b'{"problem": "x", "answer": "4, 5"}', "answer=4, 5 is not allowed"),
    "true": (b'{"problem": "x", "answer": true}', "'answer'=True; it must be text or a number"),
    "list": (b'{"problem": ["x"], "answer": 2}', "'problem'=['x']; it must be text or a number"),
    "blank": (b'{"problem": " ", "answer": 2}', "has no 'problem' or 'question'"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    content, words = BROKEN[name]
    data = tmp_path / "aime.jsonl"
    data.write_bytes(content + b"\n")
    assert main(["eval", "aime", "--data", str(data), "--out", str(tmp_path / "out.jsonl")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert str(data) in line
    assert len(line) < 500
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize("name", ["", "missing.jsonl"])
def test_folders_and_missing_files_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert main(["eval", "aime", "--data", str(tmp_path / name), "--out", str(tmp_path / "out.jsonl")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(tmp_path / name) in line


def test_results_belong_to_the_contents_of_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(year: str, answer: int) -> int:
        (tmp_path / year).mkdir(exist_ok=True)
        data = write(tmp_path / year / "test.jsonl", {"problem": "1+1?", "answer": answer})
        out = ["--out", str(tmp_path / "r.jsonl"), "--policy", "token", "--max-new-tokens", "3"]
        return main(["eval", "aime", "--data", str(data), *out])

    assert run("2024", 2) == 0
    assert run("2024", 2) == 0
    capsys.readouterr()
    assert run("2025", 3) == 2
    assert "was started with task.sha256=" in capsys.readouterr().err


def test_a_run_that_decoded_nothing_pins_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out = write(tmp_path / "p.jsonl", {"problem": "1+1?", "answer": 2}), tmp_path / "r.jsonl"
    argv = ["eval", "aime", "--data", str(data), "--out", str(out), "--policy", "token"]
    assert main(argv) == 2
    assert "--max-new-tokens is 32768; the model has" in capsys.readouterr().err
    assert not out.exists()
    assert main([*argv, "--max-new-tokens", "3"]) == 0


def test_more_problems_than_there_are_and_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write(tmp_path / "aime.jsonl", {"problem": "p", "answer": 1})
    out = ["--out", str(tmp_path / "out.jsonl")]
    assert main(["eval", "aime", "--data", str(data), "--n", "2", *out]) == 2
    assert "n=2 is not allowed; it must be in 1..1" in capsys.readouterr().err
    assert main(["eval", "gpqa", *out]) == 2
    assert "gpqa needs --data FILE.jsonl" in capsys.readouterr().err
    assert main(["eval", "mmlu", *out]) == 2
    assert "task='mmlu' is unknown; allowed: countdown, aime" in capsys.readouterr().err
