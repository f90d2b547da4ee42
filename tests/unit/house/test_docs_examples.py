"""Pages of the documentation: what they have the reader type and run does what they show. Needs no network.

A fenced `console` or `python` block is run, in the order of the page and in one folder; `sh` says what it needs that a
test does not have. docs/extending.md has a test of its own.
"""

from __future__ import annotations

import runpy
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from documented import Command, blocks, commands, file_name
from moi.cli import main

DOCS = Path(__file__).parents[3] / "docs"
PAGES = {page.relative_to(DOCS).as_posix(): page.read_text(encoding="utf-8") for page in sorted(DOCS.rglob("*.md"))}
RUN = [
    name for name, text in PAGES.items() if name != "extending.md" and {"console", "python"} & set(dict(blocks(text)))
]


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Commands set torch's threads."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.parametrize("name", RUN)
def test_what_a_page_shows_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for kind, code in blocks(PAGES[name]):
        if kind == "python":
            (tmp_path / file_name(code)).write_text(code, encoding="utf-8")
            runpy.run_path(file_name(code), run_name="__main__")
            assert capsys.readouterr().out, f"{file_name(code)} prints nothing"
        elif kind == "console":
            for command in commands(code):
                _run(command, capsys)


def _run(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    program, *words = shlex.split(command.text)
    assert program == "moi", command.text
    status = main(words)
    said = "".join(capsys.readouterr())
    assert status == command.status, f"{command.text}\n{said}"
    for line in command.shown:
        assert line in said, f"{command.text}: {line!r} is not in\n{said}"


def test_pages_that_a_reader_begins_with_are_run() -> None:
    assert {"index.md", "policies.md", "evaluate.md", "troubleshooting.md"} <= set(RUN)


@pytest.mark.parametrize("name", PAGES)
def test_what_is_not_run_says_what_it_needs(name: str) -> None:
    for kind, code in blocks(PAGES[name]):
        assert kind in ("console", "python", "sh", "toml"), kind
        assert kind != "sh" or code.startswith("# needs: "), code
