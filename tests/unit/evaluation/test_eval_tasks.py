"""Tasks that other packages bring through the entry points `moi.tasks`: one file, no file of this project."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from installed_package import install_package
from moi_eval.tasks import Item, Task, task_named, task_names
from moi_eval.tasks.files import FileTask

SUMS = '''
from moi_eval.tasks import Item, Task, TaskOptions, Verdict


class SumsTask(Task):
    """Sums of two numbers."""

    name = "sums"
    max_new_tokens = 4

    @classmethod
    def from_options(cls, options: TaskOptions) -> "SumsTask":
        numbers = range(1, 4 if options.n is None else 1 + options.n)
        return cls([Item(str(n), f"{n} {n + 1} 3 > {2 * n + 4} :", 2 * n + 4) for n in numbers], options.seed)

    def judge(self, item: Item, text: str) -> Verdict:
        right = str(item.answer) in text.split()
        return Verdict(right, "solved" if right else "wrong value")

    def baseline(self, max_new_tokens: int) -> "tuple[str, float]":
        return "saying every number", 1.0
'''


def moi(*argv: str, path: Path) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONPATH": str(path), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-m", "moi", *argv]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=400)


@pytest.mark.slow
def test_a_task_is_one_file(tmp_path: Path) -> None:
    installed, out = install_package(tmp_path, "sums", "sums_task:SumsTask", SUMS, "moi.tasks"), tmp_path / "r.jsonl"
    done = moi("eval", "sums", "--n", "2", "--samples", "2", "--out", str(out), "--json", path=installed)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert {key: report["settings"]["task"][key] for key in ("name", "n", "seed")} == {
        "name": "sums",
        "n": 2,
        "seed": 0,
    }
    assert report["settings"]["max_new_tokens"] == 4
    assert [arm["done"] for arm in report["arms"]] == [4, 4, 4]
    assert report["baseline"] == ["saying every number", 1.0]
    page = tmp_path / "page.html"
    assert moi("report", str(out), "--out", str(page), path=tmp_path / "nowhere").returncode == 0  # without the package
    assert "sums: 2 problems, 2 samples each" in page.read_text()


@pytest.mark.parametrize(
    ("name", "target", "source", "reason"),
    [
        ("bad", "bad_task:T", "1 / 0", "bad_task:T of bad cannot be loaded: ZeroDivisionError"),
        ("bad", "bad_task:T", "", "bad_task:T of bad cannot be loaded: AttributeError"),
        ("bad", "bad_task:T", "T = 3", "of bad must be a moi_eval.tasks.Task class named 'bad', got 3"),
        ("bad", "bad_task:SumsTask", SUMS, "must be a moi_eval.tasks.Task class named 'bad', got"),
        ("aime", "bad_task:SumsTask", SUMS, "there is a task 'aime' already"),
    ],
)
@pytest.mark.slow
def test_a_broken_entry_point_is_one_line_that_names_it(
    tmp_path: Path, name: str, target: str, source: str, reason: str
) -> None:
    package = install_package(tmp_path, name, target, source, "moi.tasks")
    done = moi("eval", name, "--out", str(tmp_path / "r.jsonl"), path=package)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert line.startswith(f"moi eval: error: task entry point {name} = {target}")
    assert reason in line


def test_every_registered_task_has_its_name() -> None:
    assert task_names()[:4] == ["countdown", "aime", "gpqa", "livecodebench"]
    assert [task_named(name).name for name in task_names()] == task_names()
    with pytest.raises(ValueError, match="task='mmlu' is unknown; allowed: countdown, aime, gpqa, livecodebench"):
        task_named("mmlu")


def test_an_unfinished_task_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="abstract"):
        Task([Item("a", "b", 1)], 0)  # type: ignore[abstract]
    with pytest.raises(TypeError, match="abstract"):
        FileTask(tmp_path / "f.jsonl", None, 0)  # type: ignore[abstract]


def test_names_of_0_1_are_those_of_today() -> None:
    from moi_bench.eval import files, jsonl, tasks
    from moi_eval.jsonl import records

    assert [files.AIMETask, files.GPQATask, files.LiveCodeBenchTask] == [task_named(name) for name in task_names()[1:4]]
    assert (tasks.Item, jsonl.records) == (Item, records)
