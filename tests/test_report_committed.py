"""README and docs show the rows that are committed: filling their tables again changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from moi_bench.report.markdown import fill
from moi_bench.report.results import read

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
FILES = [*sorted((RESULTS / "laptop").glob("*.json*")), RESULTS / "sglang_decode.json"]


@pytest.mark.parametrize("name", ["README.md", "docs/benchmarks.md", "docs/sglang.md"])
def test_tables_are_those_of_the_committed_rows(name: str, tmp_path: Path) -> None:
    copy, text = tmp_path / "copy.md", (ROOT / name).read_text(encoding="utf-8")
    copy.write_text(text, encoding="utf-8")
    fill(copy, read(FILES))
    assert copy.read_text(encoding="utf-8") == text, "make tables"
