"""The op benchmark, end to end on the CPU with a tiny case."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from moi.cli import main
from moi_bench import kernels_gpu, op
from moi_bench.timer import summarise

TINY = op.OpCase(2, 300, width=16)

# torch.compile may warn on machines where it finds something to tune; that is no concern of the benchmark.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)  # a compiler takes longer than the test
    monkeypatch.setattr(op, "SUITES", {"laptop": (TINY,)})
    parser = argparse.ArgumentParser()
    op.add_arguments(parser)
    out = tmp_path / "rows.json"
    args = parser.parse_args(["--suite", "laptop", "--repeats", "3", "--out", str(out), "--json"])
    assert op.run(args) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(out.read_text())
    found: list[dict[str, Any]] = json.loads(out.read_text())
    return found


@pytest.mark.skipif(torch.cuda.is_available(), reason="names what a CPU cannot run")
def test_every_implementation_has_a_row_with_its_time_or_its_reason(rows: list[dict[str, Any]]) -> None:
    assert [row["implementation"] for row in rows] == ["eager", "torch.compile", "numba", "triton", "flashinfer"]
    for row in rows:
        assert row["schema"] == 1
        assert {"torch", "numba", "triton", "moi", "python"} <= set(row["versions"])
        assert {"device", "commit", "command", "launches", "floor_us"} <= set(row)
        assert row["case"] == {"name": TINY.name, **vars(TINY)}
        if row["status"] == "ok":
            assert row["p10_us"] <= row["median_us"] <= row["p90_us"]
            assert row["ratio_to_floor"] == pytest.approx(row["median_us"] / row["floor_us"])
        else:
            assert row["reason"]
            assert row["median_us"] is None
    assert [row["status"] for row in rows] == ["ok", "ok", "ok", "unavailable", "unavailable"]
    assert rows[0]["ratio_to_eager"] == 1


def test_a_wrong_implementation_is_a_visible_row_and_fails_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(function: Any, **_: Any) -> Any:
        def step(*args: Any) -> Any:
            mixture, x = function(*args)
            return mixture._replace(ids=mixture.ids + 1), x

        return step

    monkeypatch.setattr(torch, "compile", wrong)
    rows = list(op.measure_cases((TINY,), torch.device("cpu"), 2))
    assert [row["status"] for row in rows][:2] == ["ok", "wrong"]
    assert rows[1]["reason"].startswith("candidates differ")


def test_the_table_shows_times_and_reasons(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    monkeypatch.setattr(op, "SUITES", {"laptop": (TINY,)})
    assert op.run(argparse.Namespace(suite="laptop", out=None, json=False, only=None, repeats=2)) == 0
    shown = capsys.readouterr().out
    assert "eager" in shown
    assert TINY.name in shown
    if not torch.cuda.is_available():
        assert "NVIDIA" in shown


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_the_command_for_kernels_says_what_it_lacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert kernels_gpu.main(["--out", str(tmp_path)]) == 2
    assert "needs a CUDA GPU" in capsys.readouterr().err


def test_suites_cover_the_shapes_of_serving() -> None:
    assert {case.rows for case in op.H100} == {1, 8, 32, 64, 128, 256}
    assert {case.vocab for case in op.H100} == {32_000, 151_936, 262_144}
    assert {case.dtype for case in op.H100} == {"float32", "bfloat16", "float16"}


@pytest.mark.parametrize("suite", [op.LAPTOP, op.H100])
def test_suites_vary_rows_vocabulary_and_candidates_alone(suite: tuple[op.OpCase, ...]) -> None:
    """Each axis has three points that differ in nothing else: what the report draws scaling from."""
    shapes = [{**vars(case), "top_k": case.config.top_k} for case in suite]
    for axis in ("rows", "vocab", "top_k"):
        rest = [tuple(sorted({**shape, axis: 0}.items())) for shape in shapes]
        assert max(map(rest.count, rest)) >= 3, axis


def test_a_case_may_have_candidates_of_its_own() -> None:
    case = op.OpCase(2, 300, width=16, top_k=5)
    assert case.name == "B=2 V=300 float32 official K=5"
    assert op.OpCase(2, 300, top_k=20).name == "B=2 V=300 float32 official"
    device = torch.device("cpu")
    inputs, weights = op._inputs(case, device)
    mixed, _ = next(op._steps(case, device))[2](inputs[0], weights)
    assert mixed.ids.shape == (2, 6)
    assert op._floor_bytes(case, weights) == 2 * 300 * 4 + 2 * (6 + 1) * 16 * 4


def test_summary_is_median_and_deciles() -> None:
    assert summarise([float(n) for n in range(11)]) == (5.0, 1.0, 9.0)


def test_what_is_measured_is_written_after_each_row(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def breaking(*_: Any) -> Iterator[dict[str, Any]]:
        yield {"first": 1}
        raise RuntimeError("out of memory")

    monkeypatch.setattr(op, "measure_cases", breaking)
    out = tmp_path / "no" / "such" / "folder.json"
    assert main(["bench", "op", "--suite", "laptop", "--out", str(out)]) == 2
    assert json.loads(out.read_text()) == [{"first": 1}]


@pytest.mark.parametrize("part", ["op", "engines", "serve"])
def test_a_name_that_cannot_be_written_is_refused_before_anything_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, part: str
) -> None:
    for target in ("op.measure_cases", "engines.measure", "serve.measure"):
        monkeypatch.setattr(f"moi_bench.{target}", lambda *_: pytest.fail("measured"))
    (tmp_path / "file").write_text("")
    for out, words in ((tmp_path, "is a folder; give the name of a file"), (tmp_path / "file" / "x.json", "file")):
        assert main(["bench", part, "--out", str(out)]) == 2
        assert words in capsys.readouterr().err


def test_repeats_are_at_least_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "op", "--repeats", "0"]) == 2
    assert "--repeats=0 is not allowed; it must be an integer >= 1" in capsys.readouterr().err


def test_only_names_implementations() -> None:
    rows = list(op.measure_cases((TINY,), torch.device("cpu"), 2, ["eager"]))
    assert [row["implementation"] for row in rows] == ["eager"]
    with pytest.raises(ValueError, match=r"only='cuda' is unknown; allowed: eager, torch\.compile, numba, triton, fl"):
        list(op.measure_cases((TINY,), torch.device("cpu"), 2, ["cuda"]))
