"""The plan of the day of a GPU: its commands are commands, its results are read, and it is rehearsed end to end."""

from __future__ import annotations

import argparse
import importlib
import json
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch

import moi.cli
import moi_eval.command
from moi_bench.gpu import __main__ as command
from moi_bench.gpu import environment, figures
from moi_bench.gpu.environment import Place
from moi_bench.gpu.jobs import Job, jobs
from moi_bench.gpu.plan import STEPS

REAL = [*jobs(STEPS, Place(Path("day"), models=[Path("some model")]))]


class Parsed(Exception):  # noqa: N818 - no error
    """The arguments were understood."""


@pytest.mark.parametrize("job", REAL, ids=lambda job: job.name)
def test_the_real_commands_are_understood(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as their arguments: without a GPU, a slip would be found on the day only."""
    flag, module, *arguments = shlex.split(job.way.command)
    assert flag == "-m"
    if module == "pytest":
        files = [Path(each) for each in arguments if each.endswith(".py")]
        assert files
        assert all(file.is_file() for file in files)
        return
    parse = argparse.ArgumentParser.parse_args

    def parsed(self: argparse.ArgumentParser, *given: Any) -> NoReturn:
        parse(self, *given)
        raise Parsed

    def run(args: object) -> NoReturn:
        raise Parsed

    if module == "moi":
        monkeypatch.setattr(moi_eval.command, "run", run)
        main = moi.cli.main
    else:
        monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parsed)
        main = importlib.import_module(module).main
    with pytest.raises(Parsed):
        main(arguments)


def test_every_step_is_rehearsed_and_has_a_limit(tmp_path: Path) -> None:
    names = [step.name for step in STEPS]
    assert len(set(names)) == len(names)
    for step in STEPS:
        assert step.seconds > 0
        for way in (step.real, step.rehearsal):
            found = {} if isinstance(way, str) else environment.variables(Place(tmp_path), way)
            assert all(isinstance(value, str) for value in found.values())
        if isinstance(step.rehearsal, str):
            assert not isinstance(STEPS[names.index(step.rehearsal)].rehearsal, str)


def test_the_documentation_has_the_steps() -> None:
    page = environment.ROOT / "docs" / "benchmarks.md"
    rows = [line.split("|")[1].strip(" `") for line in page.read_text().splitlines() if line.startswith("| `")]
    start = rows.index(STEPS[0].name)
    assert rows[start : start + len(STEPS)] == [step.name for step in STEPS]


ROW = {"status": "ok", "reason": None}
OP = {**ROW, "kind": "op", "implementation": "eager", "median_us": 8.0, "ratio_to_floor": 4.0, "ratio_to_eager": 1.0}
DECODE = {"what": "decode throughput", "shape": "tiny", "batch": 8, "ratio": 0.98, "ratio_p10": 0.97, "ratio_p90": 0.99}
XML = "<testsuites><testsuite>{}</testsuite></testsuites>"
TEST, SKIPPED, BAD = (
    "<testcase/>",
    '<testcase><skipped message="needs X"/></testcase>',
    "<testcase><failure/></testcase>",
)
SAMPLE = {"arm": "moi", "solved": True}
LINES = {**SAMPLE, "text": "a\u2028b\u0085c"}


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("a.json", [{**ROW, "kind": "parity"}, {"status": "wrong", "kind": "parity"}], "1 right, 1 wrong"),
        (
            "a.json",
            [
                OP,
                {**OP, "implementation": "triton", "ratio_to_eager": 0.25, "ratio_to_floor": 1.0},
                {**OP, "implementation": "flashinfer", "median_us": None, "reason": "none here"},
            ],
            "eager: 4.00 x the floor (1 cases); triton: 4.00 x eager's speed, 1.00 x the floor (1 cases); "
            "flashinfer: none here",
        ),
        ("a.json", [{"what": "host", "piece": "embed", "batch": 8, "median_us": 9.6}], "embed B=8: 10 us"),
        ("a.json", [{"what": "host"}, DECODE], "tiny B=8: 0.980 (0.970 to 0.990)"),
        ("a.json", [{**DECODE, "kind": "vllm"}], "tiny B=8: 0.980 (0.970 to 0.990)"),
        (
            "a.json",
            {"compared": 5, "timings": [{"reference_us": 6, "moi_mix_embed_x1_us": 4, "moi_mix_embed_x4_us": 3}]},
            "5 comparisons right, 2.00 x the reference's speed",
        ),
        ("a.xml", XML.format(TEST * 3 + SKIPPED + BAD), "3 passed, 1 failed, 1 skipped"),
        (
            "a.jsonl",
            "\n".join(map(json.dumps, ({"kind": "moi-eval"}, SAMPLE, {**SAMPLE, "solved": False}))) + '\n{"arm": "m',
            "moi: 1 of 2 solved",
        ),
        ("a.jsonl", f"{{}}\n{json.dumps(LINES, ensure_ascii=False)}\n", "moi: 1 of 1 solved"),
    ],
)
def test_results_are_told_in_a_line(tmp_path: Path, name: str, content: Any, line: str) -> None:
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    assert figures.read(path) == line


def test_a_step_whose_tests_were_all_skipped_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    for content, reason in ((SKIPPED * 2, "needs X"), (SKIPPED + TEST, None), ("", "no test was selected")):
        path.write_text(XML.format(content))
        assert figures.skipped(path) == reason


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rehearsal")


SERVED = "sglang"  # two more starts of a server


@pytest.mark.slow
@pytest.mark.parametrize("part", ["all but throughput", "the rest"])
def test_the_rehearsal_leaves_the_result_of_every_step(
    part: str, rehearsal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In two parts; the second goes on where the first ended."""
    first = part != "the rest"
    steps = ["--step", *(step.name for step in STEPS if step.name != SERVED)] if first else []
    assert command.main(["--rehearse", "--out", str(rehearsal), *steps]) == 0, capsys.readouterr().out
    shown = capsys.readouterr().out
    found = {each["name"]: each for each in json.loads((rehearsal / "summary.json").read_text())["steps"]}
    for job in jobs(STEPS, Place(rehearsal, rehearse=True)):
        record = found[job.name]
        if first and job.name == SERVED:
            assert record["status"] == "not run"
        elif job.reason is not None:
            assert (record["status"], record["reason"]) == ("skipped", job.reason)
        else:
            assert record["status"] == "ok", record
            assert record["figures"] == figures.read(rehearsal / job.way.file)
            assert (rehearsal / record["log"]).is_file()
            assert record["real_command"].startswith("python -m ")
            assert (f"stands for: {record['real_command']}" in shown) == (first or job.name == SERVED)
    if find_spec("sglang") is not None and not torch.cuda.is_available() and sys.version_info >= (3, 11):
        assert found["sglang-parity"]["figures"] == "1 passed"
        assert first or found[SERVED]["figures"].startswith("tiny B=2: ")
