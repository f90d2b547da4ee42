"""The day of a GPU with a plan of cheap steps: whatever becomes of one, the rest is right and on file."""

from __future__ import annotations

import importlib.metadata
import json
import os
import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from moi_bench.gpu import __main__ as command
from moi_bench.gpu import day, environment, process
from moi_bench.gpu.environment import Place
from moi_bench.gpu.jobs import jobs
from moi_bench.gpu.step import Step, Way

# What a step is told to do; the last argument is the file of its results.
_CHILD = """
import json, os, signal, subprocess, sys, time
what, file = sys.argv[1], sys.argv[-1]
with open(file + ".runs", "a") as runs:
    runs.write("x")
rows = json.dumps([{"kind": "parity", "status": "ok"}])
if what == "good":
    open(file, "w").write(rows)
elif what == "half":
    open(file, "w").write(rows[:-3])
elif what == "fail":
    print("the kernel broke"); print(); sys.exit(3)
elif what == "crash":
    os.kill(os.getpid(), signal.SIGKILL)
elif what in ("interrupt", "terminate"):
    open(file, "w").write(rows)
    os.kill(os.getppid(), signal.SIGINT if what == "interrupt" else signal.SIGTERM)
    signal.pause()
elif what == "hang":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    alive = open(sys.argv[2], "w")  # nobody holds it open once all are dead
    print("hanging", flush=True)
    subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], pass_fds=[alive.fileno()])
    signal.pause()
"""


@pytest.fixture
def step(tmp_path: Path) -> Callable[..., Step]:
    """step("name", "good") -> a step that does so."""
    script = tmp_path / "child.py"
    script.write_text(_CHILD)

    def make(name: str, *what: str, needs: tuple[str, ...] = (), seconds: int = 60, each: str = "") -> Step:
        way = Way(f"{script} {' '.join(what)} $out/$name.json", "$name.json", needs)
        return Step(name, f"is {what[0]}", way, way, seconds, each)

    return make


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, dict[str, Any]]]:
    """go(steps, *flags) -> exit status and records by name."""
    monkeypatch.setattr(process, "GRACE_S", 0.2)
    monkeypatch.setattr(day, "LEAST_S", 0.05)

    def run(steps: list[Step], *flags: str) -> tuple[int, dict[str, Any]]:
        monkeypatch.setattr(command, "STEPS", steps)
        status = command.main(["--rehearse", "--out", str(tmp_path / "out"), *flags])
        return status, {each["name"]: each for each in summary(tmp_path / "out")["steps"]}

    return run


def summary(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "summary.json").read_text())
    return found


def runs(out: Path, name: str) -> int:
    file = out / f"{name}.json.runs"
    return len(file.read_text()) if file.exists() else 0


def test_a_step_that_fails_hangs_crashes_or_lacks_something_leaves_the_rest_right(
    step: Any, go: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(fifo := tmp_path / "alive")
    alive = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    steps = [
        step("first", "good"),
        step("failing", "fail"),
        step("crashing", "crash"),
        step("hanging", "hang", str(fifo), seconds=1),
        step("lying", "nothing"),
        step("halved", "half"),
        step("lacking", "good", needs=("json", "no_such_module")),
        step("last", "good"),
    ]
    status, found = go(steps)
    assert status == 1
    assert {name: (each["status"], each["reason"]) for name, each in found.items()} == {
        "first": ("ok", None),
        "failing": ("failed", "ended with status 3: the kernel broke"),
        "crashing": ("failed", "ended by SIGKILL: it said nothing"),
        "hanging": ("failed", "not finished after 1 s"),
        "lying": ("failed", "ended well, but lying.json is missing or not whole"),
        "halved": ("failed", "ended well, but halved.json is missing or not whole"),
        "lacking": ("skipped", "not installed: no_such_module"),
        "last": ("ok", None),
    }
    assert found["last"]["figures"] == "1 right, 0 wrong"
    assert found["last"]["file"] == "last.json"
    assert (tmp_path / "out" / found["hanging"]["log"]).read_text() == "hanging\n"
    ready, _, _ = select.select([alive], [], [], 20)
    assert ready, "what the step that hung had started is gone"
    assert os.read(alive, 1) == b""
    os.close(alive)
    shown = capsys.readouterr().out
    for text in (shown, (tmp_path / "out" / "summary.md").read_text()):
        assert all(word in text for word in (*found, "the kernel broke", "1 right, 0 wrong"))


def test_an_error_of_its_own_is_not_the_end_of_the_day(step: Any, go: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = process.run

    def broken(command: list[str], *rest: Any) -> int | None:
        if "first.json" in command[-1]:
            raise OSError("too many open files")
        return run(command, *rest)

    monkeypatch.setattr(process, "run", broken)
    status, found = go([step("first", "good"), step("last", "good")])
    assert status == 1
    assert (found["first"]["status"], found["first"]["reason"]) == ("failed", "OSError: too many open files")
    assert found["last"]["status"] == "ok"


def test_the_same_command_again_repeats_what_did_not_finish(step: Any, go: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    go([step("first", "good"), step("failing", "fail"), step("other", "good")])
    status, found = go([step("first", "good"), step("failing", "good"), step("other", "good", "changed")])
    assert status == 0
    assert {each["status"] for each in found.values()} == {"ok"}
    assert [runs(out, name) for name in ("first", "failing", "other")] == [1, 2, 2]
    go([step("first", "good"), step("failing", "good")], "--again")
    assert [runs(out, name) for name in ("first", "failing", "other")] == [2, 3, 2]


@pytest.mark.parametrize("how", ["interrupt", "terminate"])
def test_ending_the_run_ends_its_step_and_shows_what_there_is(
    how: str, step: Any, go: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = [step("first", "good"), step("second", how), step("third", "good")]
    status, found = go(steps)
    assert status == 130
    assert {name: each["status"] for name, each in found.items()} == {
        "first": "ok",
        "second": "interrupted",
        "third": "not run",
    }
    assert found["second"]["figures"] == "1 right, 0 wrong", "what it had measured"
    assert "third   not run" in capsys.readouterr().out
    status, found = go([step("first", "good"), step("second", "good"), step("third", "good")])
    assert status == 0
    assert [runs(tmp_path / "out", name) for name in found] == [1, 2, 1]


def test_the_budget_ends_the_step_that_runs_and_skips_the_rest(step: Any, go: Any, tmp_path: Path) -> None:
    os.mkfifo(fifo := tmp_path / "alive")
    alive = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    status, found = go([step("long", "hang", str(fifo)), step("late", "good")], "--minutes", "0.02")
    os.close(alive)
    assert status == 0, "no step is to blame"
    assert (found["long"]["status"], found["long"]["reason"]) == ("cut", "the budget was over")
    assert found["long"]["limit_s"] <= 1.2
    assert (found["late"]["status"], found["late"]["reason"]) == ("skipped", "nothing was left of the budget")


def test_results_of_an_earlier_run_are_not_a_failed_steps(step: Any, go: Any) -> None:
    go([step("first", "good")])
    _, found = go([step("first", "fail")], "--again")
    assert found["first"]["status"] == "failed"
    assert found["first"]["figures"] is None


def test_a_step_for_each_model_shares_what_is_left(step: Any, tmp_path: Path) -> None:
    models = [tmp_path / "a" / "small", tmp_path / "b" / "small", tmp_path / "large"]
    made = [
        *jobs([step("first", "good"), step("eval", "good", "$model", each="model")], Place(tmp_path, models=models))
    ]
    assert [job.name for job in made] == ["first", "eval-small", "eval-small-2", "eval-large"]
    assert f"{models[1]} {tmp_path}/eval-small-2.json" in made[2].command
    (alone,) = jobs([step("eval", "good", each="model")], Place(tmp_path))
    assert (alone.name, alone.reason) == ("eval", "no --models")


def test_other_models_into_the_same_folder_leave_what_is_there(step: Any, go: Any, tmp_path: Path) -> None:
    shared = step("first", "good")
    assert (
        go([shared, step("eval-a", "good"), step("eval-b", "fail"), step("eval", "good", needs=("nothing.such",))])[0]
        == 1
    )
    before = summary(tmp_path / "out")["steps"]
    status, found = go([shared, step("eval-c", "good")])
    assert (status, [*found]) == (0, ["first", "eval-c", "eval-a", "eval-b"])  # what never ran is not kept
    assert [found["eval-a"], found["eval-b"]] == before[1:3]
    assert "| eval-a | ok |" in (tmp_path / "out" / "summary.md").read_text()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--out", str(tmp_path / "out")]) == 2
    said = "moi_bench.gpu: needs a CUDA GPU that torch can see; --rehearse runs the plan on a CPU\n"
    assert capsys.readouterr().err == said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--minutes", "0"], "--minutes=0 is not allowed; it must be a number > 0"),
        (["--minutes", "nan"], "--minutes=nan is not allowed; it must be a number > 0"),
        (["--site", "nowhere"], "--site nowhere is no folder"),
        (["--models", ".", "nowhere"], "--models nowhere is no folder"),
        (["--step", "first", "nope"], "--step=nope is unknown; allowed: first"),
    ],
)
def test_bad_input_is_one_line(
    flags: list[str],
    message: str,
    step: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(command, "STEPS", [step("first", "good")])
    assert command.main(["--rehearse", "--out", str(tmp_path / "out"), *flags]) == 2
    assert capsys.readouterr().err == f"moi_bench.gpu: {message}\n"
    assert not (tmp_path / "out").exists()


def test_a_rehearsal_and_measurements_do_not_share_a_folder(
    step: Any, go: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    go([step("first", "good")])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert command.main(["--out", str(tmp_path / "out")]) == 2
    assert "holds what was rehearsed; give another folder" in capsys.readouterr().err
    (tmp_path / "out" / "summary.json").write_text('{"mine": 1}')
    assert command.main(["--rehearse", "--out", str(tmp_path / "out")]) == 2
    assert "exists and is not the summary of moi_bench.gpu" in capsys.readouterr().err


def test_a_step_finds_the_checkout_the_site_and_the_plugins_entry_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the package is not installed; hosts load plugins by entry points alone."""
    monkeypatch.setattr(environment, "_installed", lambda paths: False)
    monkeypatch.setenv("PYTHONPATH", "before")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    (tmp_path / "site").mkdir()
    place = Place(tmp_path / "out", site=tmp_path / "site")
    found = environment.variables(place, Way("", "", environment={"NEW": "1", "PATH": None}))
    root = environment.ROOT
    points = tmp_path / "out" / "entry_points"
    assert found["PYTHONPATH"].split(os.pathsep) == [
        *(str(root / shelf) for shelf in environment.SHELVES),
        *(str(points), str(tmp_path / "site"), os.path.abspath("before")),
    ]
    assert (found["NEW"], found["HF_HUB_OFFLINE"], found["SGLANG_USE_SGL_FA3_KERNEL"]) == ("1", "0", "1")
    assert "PATH" not in found
    (metadata,) = importlib.metadata.distributions(path=[str(points)])
    assert metadata.metadata["Name"] == "mixture-of-inputs"
    ours = {(each.group, each.name, each.value) for each in metadata.entry_points}
    project = importlib.metadata.distribution("mixture-of-inputs").entry_points
    hosts = {(each.group, each.name, each.value) for each in project if each.group in environment.ENTRY_POINTS}
    assert ours == hosts
    assert len(ours) == 2


def test_torch_and_triton_are_enough_for_the_kernels() -> None:
    """What the command and its first steps import, besides what torch and Triton do."""
    code = (
        "import sys, torch\ntry:\n    import triton, numpy\nexcept ImportError:\n    pass\nbefore = set(sys.modules)\n"
        "import moi_bench.gpu.__main__, moi_bench.kernels_gpu, moi_bench.tensorrt_gpu\n"
        "new = {name.split('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)\n"
        "print(sorted(name for name in new if not name.startswith('moi')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
