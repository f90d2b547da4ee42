"""README and docs show the rows that are committed: filling their tables again changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from moi.cli import main
from moi_bench.report.markdown import filled
from moi_bench.report.page import is_page, page
from moi_bench.report.results import Results, read
from moi_eval.stats import holm

pytestmark = pytest.mark.slow  # reads a hundred thousand samples

ROOT = Path(__file__).parents[3]
RESULTS = ROOT / "benchmarks" / "results"
FILES = sorted(RESULTS.rglob("*.json*"))


@pytest.fixture(scope="module")
def results() -> Results:
    return read(FILES)


@pytest.mark.parametrize("name", ["README.md", "docs/benchmarks.md", "docs/sglang.md", "docs/results.md"])
def test_tables_are_those_of_the_committed_rows(name: str, results: Results) -> None:
    assert filled(ROOT / name, results) == (ROOT / name).read_text(encoding="utf-8"), "make tables"


@pytest.mark.parametrize("path", [file for file in FILES if file.suffix != ".gz"], ids=lambda path: path.name)
def test_every_committed_file_can_be_reported(path: Path, tmp_path: Path) -> None:
    assert main(["report", str(path), "--out", str(tmp_path / "page.html")]) == 0
    assert is_page(tmp_path / "page.html")


def test_all_of_them_fit_on_one_page(results: Results) -> None:
    text = page(results)
    assert "onnxruntime moi" in text, "rows of moi_bench.onnx_decode"


def test_pages_say_what_is_left_of_all_runs_of_moi_together(results: Results) -> None:
    """Tables adjust for their own comparisons alone."""
    own = [each for each in results.evals if each.settings["task"]["name"] == "countdown"]
    found = [arm["paired"]["p"] for each in own for arm in each.arms if arm["label"].startswith("moi ")]
    least = min(holm(found))
    assert len(found) == 13
    assert least > 0.05
    for name in ("README.md", "docs/results.md"):
        text = " ".join((ROOT / name).read_text(encoding="utf-8").split())
        assert "all thirteen runs of MoI" in text
        assert f"{least:.4f}" in text
