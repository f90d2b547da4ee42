"""Every row of the table of conflicts refuses real argument lines, as the real SGLang parses and resolves them."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from moi_sglang.compatibility import conflicting
from moi_sglang.compatibility_table import CONFLICTS, VARIABLES

DOCS = Path(__file__).parents[3] / "docs" / "sglang.md"
REASONS = {conflict.flag: conflict.reason for conflict in (*CONFLICTS, *VARIABLES)}


@pytest.fixture(scope="module")
def child(run_child: Any, qwen2: Path) -> Any:
    return run_child("conflicts_child.py", qwen2)


def test_each_row_refuses_its_lines_by_name_and_clean_lines_are_taken(child: Any) -> None:
    for row, line, told in child["lines"]:
        if row:
            assert f"{row} does not go with --enable-moi: {REASONS[row]}" in told, (line, told)
        else:
            assert told == [], line


def test_no_row_is_without_a_line(child: Any) -> None:
    assert {row for row, _, _ in child["lines"]} == {"", *REASONS}


@pytest.mark.parametrize("gone", CONFLICTS, ids=lambda conflict: conflict.flag)
def test_a_field_that_is_gone_stops_the_start(gone: Any) -> None:
    args = SimpleNamespace(**{conflict.field: None for conflict in CONFLICTS})
    assert list(conflicting(CONFLICTS, args)) == []
    delattr(args, gone.field)
    assert list(conflicting(CONFLICTS, args)) == [f"{gone.flag} cannot be checked: this SGLang has no {gone.field!r}"]


def test_a_variable_that_is_gone_stops_the_start(child: Any) -> None:
    names = [variable.flag for variable in VARIABLES]
    assert child["gone"] == [f"{name} cannot be checked: this SGLang has no {name!r}" for name in names]


def test_the_documentation_has_the_same_table() -> None:
    rows = re.findall(r"^\| `(--[\w-]+|SGLANG_\w+)` \| (.+) \|$", DOCS.read_text(), re.MULTILINE)
    table = {flag: reason for flag, reason in rows if flag in REASONS}
    assert table == REASONS
