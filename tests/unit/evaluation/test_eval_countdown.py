"""`moi eval countdown` as a user runs it: tables, resumption after every kind of interruption, refusals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from moi.cli import main
from moi.policies.registry import BUILT_IN
from moi_engines import ENGINES
from moi_eval.arms import make_arms, parameter_grid, sample_seed
from moi_eval.countdown import Problem
from moi_eval.journal import Journal, load
from moi_eval.tasks.countdown import CountdownTask

RESULTS = Path(__file__).parents[3] / "benchmarks" / "results" / "laptop"
SMALL = ["--n", "6", "--samples", "2", "--batch", "5", "--policy", "token", "moi", "--seed", "3"]


def run(capsys: pytest.CaptureFixture[str], out: Path, *more: str) -> tuple[int, str, str]:
    status = main(["eval", "countdown", *SMALL, *more, "--out", str(out)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of an uninterrupted run."""
    out = tmp_path_factory.mktemp("eval") / "whole.jsonl"
    assert main(["eval", "countdown", *SMALL, "--out", str(out)]) == 0
    return out


def lines(path: Path) -> list[str]:
    """The samples of a file, whatever their order."""
    return sorted(path.read_text().splitlines()[1:])


def test_the_table_has_shares_intervals_and_pairs(capsys: pytest.CaptureFixture[str], whole: Path) -> None:
    status, out, _ = run(capsys, whole, "--json")
    report = json.loads(out)
    plain, mixed = report["arms"]
    assert status == 0
    assert [row["label"] for row in report["arms"]] == ["token T=1 top-p=1", "moi beta=1 T=1 top-p=1"]
    assert plain["done"] == mixed["done"] == plain["wanted"] == 12
    assert 0 <= plain["low"] <= plain["share"] <= plain["high"] <= 1
    assert plain["mean_intervention"] == 0 < mixed["mean_intervention"]
    assert plain["paired"] is None
    pair = mixed["paired"]
    assert pair["won"] - pair["lost"] == mixed["solved"] - plain["solved"]
    assert pair["low"] <= pair["difference"] <= pair["high"]
    assert 0 < pair["p"] <= pair["p_holm"] <= 1
    assert report["baseline"][0].startswith("random legal search")


def test_a_finished_run_is_not_decoded_again(
    capsys: pytest.CaptureFixture[str], whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moi_eval.command.load_engine", lambda *_, **__: pytest.fail("decoded again"))
    before = whole.read_bytes()
    assert run(capsys, whole)[0] == 0
    assert whole.read_bytes() == before


@pytest.mark.parametrize("kept", [1, 4, 9, 13, 20])
def test_a_cut_file_ends_in_the_same_samples_and_table(
    capsys: pytest.CaptureFixture[str], whole: Path, tmp_path: Path, kept: int
) -> None:
    expected = run(capsys, whole)[1]
    cut = tmp_path / "cut.jsonl"
    everything = whole.read_bytes().splitlines(keepends=True)
    cut.write_bytes(b"".join(everything[:kept]) + everything[kept][:30])
    status, out, err = run(capsys, cut)
    assert status == 0
    assert out == expected
    assert lines(cut) == lines(whole)
    assert "the last line was cut short" in err


def test_ctrl_c_says_what_is_safe_and_the_next_run_goes_on(
    capsys: pytest.CaptureFixture[str], whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run(capsys, whole)[1]
    append, out = Journal.append, tmp_path / "interrupted.jsonl"

    def interrupting(self: Journal, *args: Any) -> None:
        append(self, *args)
        if len(self.samples) % 7 == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(Journal, "append", interrupting)
    for _ in range(3):
        status, _, err = run(capsys, out)
        assert status == 130
        assert "samples are safe; the same command goes on from there" in err
    assert run(capsys, out)[1] == expected
    assert lines(out) == lines(whole)


@pytest.mark.slow
def test_a_killed_process_loses_no_finished_sample(
    capsys: pytest.CaptureFixture[str], whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "killed.jsonl"
    command = [sys.executable, "-m", "moi", "eval", "countdown", *SMALL, "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not (out.exists() and out.read_bytes().count(b"\n") > 3):
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    safe = set(out.read_text().rpartition("\n")[0].splitlines()[1:])
    assert run(capsys, out)[1] == run(capsys, whole)[1]
    assert safe <= set(lines(out))
    assert lines(out) == lines(whole)


def test_a_sweep_is_every_combination_once() -> None:
    arms = make_arms(["token", "moi", "direct"], {"beta": [0.5, 2.0]}, [0.6, 1.0], [0.95])
    assert len(arms) == 2 * (1 + 2 + 1)
    assert {arm.plain.label for arm in arms} == {"token T=0.6 top-p=0.95", "token T=1 top-p=0.95"}
    with pytest.raises(ValueError, match="beta=-1"):
        make_arms(["moi"], {"beta": [-1.0]}, [1.0], [1.0])
    with pytest.raises(ValueError, match="top_p=0"):
        make_arms(["moi"], {}, [1.0], [0])


def test_arms_are_those_of_the_results_that_are_committed() -> None:
    header = json.loads((RESULTS / "countdown.jsonl").read_text().splitlines()[0])["settings"]
    assert [arm.to_dict() for arm in make_arms(list(BUILT_IN), {}, [1.0], [1.0])] == header["arms"]


def test_parameters_make_a_grid_for_the_policies_that_declare_them() -> None:
    assert parameter_grid(["beta=0.5", "beta=2"], [4.0], ["token", "moi"]) == {"beta": [0.5, 2.0, 4.0]}
    with pytest.raises(ValueError, match="parameter 'beta' is not one of token, direct; their parameters: none"):
        parameter_grid([], [1.0], ["token", "direct"])
    with pytest.raises(ValueError, match="'beta' is not allowed; write it as name=number"):
        parameter_grid(["beta"], None, ["moi"])


def test_seeds_depend_on_problem_and_sample_alone() -> None:
    seeds = {sample_seed(seed, item, sample) for seed in (0, 1) for item in ("a", "b") for sample in range(3)}
    assert len(seeds) == 12
    assert sample_seed(0, "a", 0) == sample_seed(0, "a", 0) < 2**48


def test_countdown_4_and_english_prompts() -> None:
    task = CountdownTask(4, 3, 0, chat=True)
    item = task.items[0]
    problem: Problem = item.answer
    assert len(problem.numbers) == 4
    assert f"equals {problem.target}" in item.prompt
    easy = CountdownTask(3, 1, 0, chat=True)
    own = type(item)("x", "", Problem((3, 8, 1), 24))
    judged = [easy.judge(own, f"<think>hm</think> <answer>{text}</answer>") for text in ("3*8*1", "3 * 8 = 24", "9")]
    assert [verdict.outcome for verdict in judged] == ["solved", "wrong numbers", "wrong numbers"]
    assert easy.judge(own, "<answer>(3 * 8) / 1 = 24</answer>").solved
    assert easy.judge(own, "24").outcome == "no answer"


def test_a_chat_template_is_used_where_there_is_one(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, tiny_model: Any
) -> None:
    out, model = tmp_path / "chat.jsonl", str(tiny_model("qwen3"))
    argv = ["eval", "countdown", "--n", "1", "--policy", "token", "--model", model, "--max-new-tokens", "4"]
    assert main([*argv, "--out", str(out)]) == 0
    assert "no answer" in out.read_text()
    header = load(out).header
    assert header is not None
    assert header["settings"]["prompt"] == "chat"
    assert header["settings"]["model"]["name"].startswith("qwen3")
    capsys.readouterr()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--n", "0"], "--n=0 is not allowed; it must be an integer >= 1"),
        (["--n", "999999"], "n=999999 is not allowed; it must be in 0.."),
        (["--samples", "0"], "--samples=0 is not allowed"),
        (["--temperature", "-1"], "temperature=-1.0 is not allowed"),
        (["--sweep", "paper", "--beta", "3"], "--sweep paper and --beta do not go together"),
        (["--sweep", "paper", "--param", "beta=3"], "--sweep paper and --param beta do not go together"),
        (["--sweep", "paper", "--temperature", "1"], "--sweep paper and --temperature do not go together"),
        (["--sweep", "paper", "--top-p", "1"], "--sweep paper and --top-p do not go together"),
        (["--model", "nowhere"], "model folder nowhere does not exist"),
        (["--prompt", "chat"], "--prompt chat: the model's tokenizer has no chat template"),
        (["--data", "x.jsonl"], "countdown makes its own problems"),
    ],
)
def test_bad_input_is_one_line_and_leaves_no_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, flags: list[str], words: str
) -> None:
    out = tmp_path / "results.jsonl"
    assert main(["eval", "countdown", *flags, "--out", str(out)]) == 2
    assert words in capsys.readouterr().err
    assert not out.exists()


def test_a_model_that_does_not_fit_is_refused_before_it_is_loaded(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moi_eval.memory_check.free_bytes", lambda device: 1 << 20)
    assert main(["eval", "countdown", "--n", "1", "--device", "cpu", "--out", str(tmp_path / "r.jsonl")]) == 2
    assert "model countdown needs 0.0 GiB for its weights as float32, cpu has 0.0 GiB free" in capsys.readouterr().err


def test_what_was_begun_on_a_cpu_does_not_go_on_on_a_gpu(
    capsys: pytest.CaptureFixture[str], whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file says what "auto" became."""
    header = load(whole).header
    assert header is not None
    assert (header["settings"]["device"], header["settings"]["dtype"]) == ("cpu", "float32")
    assert run(capsys, whole, "--device", "cpu", "--dtype", "float32")[0] == 0
    assert "dtype='float32', now it is 'bfloat16'" in run(capsys, whole, "--dtype", "bfloat16")[2]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "H100")
    status, _, err = run(capsys, whole)
    assert (status, "was started with device='cpu', now it is 'cuda'" in err) == (2, True)


@pytest.mark.parametrize(
    ("engine", "given", "on_cpu", "on_gpu"),
    [
        ("torch", ("auto", "auto"), ("cpu", "float32"), ("cuda", "bfloat16")),
        ("torch", ("cuda:1", "float16"), ("cuda", "float16"), ("cuda", "float16")),
        ("torch", ("cpu", "auto"), ("cpu", "float32"), ("cpu", "float32")),
        ("sglang", ("auto", "auto"), ("cpu", "float32"), ("cuda", "auto")),
        ("vllm", ("auto", "auto"), ("cpu", "float32"), ("cuda", "auto")),
    ],
)
def test_engines_say_what_auto_means(
    monkeypatch: pytest.MonkeyPatch, engine: str, given: tuple[str, str], on_cpu: Any, on_gpu: Any
) -> None:
    placed = ENGINES[engine].placed
    assert placed is not None
    for gpu, wanted in ((False, on_cpu), (True, on_gpu)):
        monkeypatch.setattr(torch.cuda, "is_available", lambda gpu=gpu: gpu)
        assert placed(*given) == wanted


def test_changed_settings_do_not_mix_with_old_samples(capsys: pytest.CaptureFixture[str], whole: Path) -> None:
    status, _, err = run(capsys, whole, "--beta", "2")
    assert status == 2
    assert "now it is [token T=1 top-p=1; moi beta=2 T=1 top-p=1]; give the same settings to go on" in err
