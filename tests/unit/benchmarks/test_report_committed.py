"""README and docs show the rows that are committed: filling their tables again changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from moi.cli import main
from moi_bench.report.markdown import filled
from moi_bench.report.page import is_page, page
from moi_bench.report.results import Results, read

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
