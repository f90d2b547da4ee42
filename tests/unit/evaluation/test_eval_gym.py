"""rg:NAME: problems of the real reasoning-gym, made and judged in a process of their own."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fake_server import FakeServer
from moi.cli import main
from moi_eval.tasks import TaskOptions, make_task
from moi_eval.tasks.reasoning_gym import ReasoningGymTask
from moi_eval.worker import Worker

pytest.importorskip("reasoning_gym", reason="needs the extra gym")


@pytest.fixture(scope="module")
def sums() -> Iterator[ReasoningGymTask]:
    task = make_task("rg:chain_sum", TaskOptions(n=4, seed=7, config={"min_terms": 2, "max_terms": 2}))
    assert isinstance(task, ReasoningGymTask)
    yield task
    task._worker.stop()


def test_problems_follow_from_seed_and_settings(sums: ReasoningGymTask) -> None:
    again, other = (ReasoningGymTask("chain_sum", 4, seed, {"min_terms": 2, "max_terms": 2}) for seed in (7, 8))
    for task in (again, other):
        task._worker.stop()
    assert [item.id for item in sums.items] == [f"chain_sum/{index}" for index in range(4)]
    assert sums.items == again.items
    assert sums.settings == again.settings
    assert sums.settings["questions"] != other.settings["questions"]
    assert sums.settings["name"] == "rg:chain_sum"
    assert all("<answer>" in item.prompt for item in sums.items)


def test_generators_that_hash_strings_make_the_same_problems_in_each_process() -> None:
    tasks = [ReasoningGymTask("word_ladder", 3, 3, {}) for _ in range(2)]
    for task in tasks:
        task._worker.stop()
    assert tasks[0].items == tasks[1].items


def test_the_generators_verifier_judges(sums: ReasoningGymTask) -> None:
    for item in sums.items:
        right = item.answer[1]
        assert sums.judge(item, f"<think><answer>1</answer></think> so <answer> {right} </answer>").solved
        assert sums.judge(item, f"<answer>{right}5</answer>").outcome == "wrong value"
        assert (
            sums.judge(item, f"<answer>{right}5</answer> <think><answer>{right}</answer></think>").answer == f"{right}5"
        )
        assert sums.judge(item, f"so \\(\\boxed{{{right}}}\\)").solved
        assert sums.judge(item, f"<think><answer>{right}5</answer></think> \\boxed{{{right}}}").solved
        assert sums.judge(item, f"\\boxed{{{right}}} <answer>{right}5</answer>").answer == f"{right}5"
        assert sums.judge(item, f"it is {right}").outcome == "no answer"


def test_a_verdict_that_takes_for_ever_is_wrong_and_the_next_is_judged(
    sums: ReasoningGymTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    item, text = sums.items[0], f"<answer>{sums.items[0].answer[1]}</answer>"
    monkeypatch.setattr("moi_eval.tasks.reasoning_gym.SECONDS", 0.1)
    process = sums._worker._process
    assert process is not None
    os.kill(process.pid, signal.SIGSTOP)
    assert sums.judge(item, text).outcome == "not judged in time"
    monkeypatch.undo()
    assert sums.judge(item, text).solved


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["rg:nothing"], "rg:nothing is unknown; allowed: "),
        (["rg"], "rg needs the name of a generator"),
        (
            ["rg:chain_sum", "--task-config", "terms=3"],
            "--task-config terms is none of rg:chain_sum; allowed: min_terms",
        ),
        (["rg:chain_sum", "--task-config", "min_terms=9"], "rg:chain_sum does not take min_terms=9"),
        (["rg:chain_sum", "--task-config", "min_terms"], "write each key once, as key=value"),
        (["rg:chain_sum", "--task-config", "size=9"], "--task-config size=9 is not allowed; use --n and --seed"),
        (["rg:chain_sum", "--task-config", "seed=9"], "--task-config seed=9 is not allowed; use --n and --seed"),
        (["rg:chain_sum", "--data", "x"], "reasoning-gym makes its own problems"),
        (["countdown:four"], "countdown:four is unknown: countdown has no variants"),
        (["countdown", "--task-config", "a=1"], "--task-config is not for countdown"),
        (["countdown", "--run-code"], "--run-code is not for countdown"),
    ],
)
def test_bad_input_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, words: list[str], reason: str
) -> None:
    assert main(["eval", *words, "--out", str(tmp_path / "r.jsonl")]) == 2
    assert reason in capsys.readouterr().err


def test_an_evaluation_of_it(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("openai")
    server, config = FakeServer(), ["--task-config", "max_digits=1", "--task-config", "allow_negation=true"]
    argv = ["eval", "rg:chain_sum", "--n", "3", *config, "--server", server.url, "--max-new-tokens", "9", "--json"]
    try:
        assert main([*argv, "--policy", "token", "moi", "--out", str(tmp_path / "r.jsonl")]) == 0
    finally:
        server.stop()
    report = json.loads(capsys.readouterr().out)
    assert report["settings"]["task"]["config"] == {"max_digits": 1, "allow_negation": True}
    assert [arm["done"] for arm in report["arms"]] == [3, 3]
    assert all(arm["share"] is not None for arm in report["arms"])


def test_a_process_that_does_not_start_is_an_error() -> None:
    worker: Any = Worker("moi_eval.no_such_module", {})
    with pytest.raises(RuntimeError, match=r"the process of moi_eval.no_such_module did not start"):
        worker.start()
