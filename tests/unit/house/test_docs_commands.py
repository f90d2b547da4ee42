"""Commands of README and documentation, run or not, are understood: their flags, choices, targets and extras exist."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from moi.cli import COMMANDS, main, parser

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli", reason="Python 3.10 has no tomllib")

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
OWN = "extending.md"  # whose commands name what its examples add; it has a test of its own
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# What stands alone in a line of a block: a command, behind variables, before a comment.
_LINE = re.compile(
    rf"^(?: {{4}})?(?:[A-Z_]+=\S+ )*((?:moi (?:{'|'.join(COMMANDS)})|make|python -m moi_[\w.]+)(?: .*)?)$", re.MULTILINE
)
_RUN = re.compile(r"^```(?:console|python)\n.*?^```$", re.DOTALL | re.MULTILINE)  # by test_docs_examples.py
_INLINE = re.compile(r"`(moi(?: [^`\n]+)?)`")


class Parsed(Exception):  # noqa: N818 - no error
    """The arguments were understood."""


def typed(page: Path) -> Iterator[str]:
    """The commands of a page's blocks."""
    text = re.sub(r" *\\\n *", " ", _RUN.sub("", page.read_text(encoding="utf-8")))
    for found in _LINE.finditer(text):
        yield re.split(r"\s+#|\s+[&|]", found[1])[0].strip()


TYPED = sorted({command for page in PAGES if page.name != OWN for command in typed(page)})
INLINE = sorted({found[1] for page in PAGES for found in _INLINE.finditer(page.read_text(encoding="utf-8"))})


@pytest.mark.parametrize("command", TYPED)
def test_a_command_is_understood(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program, *words = shlex.split(command)
    if program == "make":
        if "-C" in words:
            assert (ROOT / words[words.index("-C") + 1] / "Makefile").is_file()
            return
        targets = re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert {word for word in words if "=" not in word} <= set(targets)
        return
    if program == "moi" and words[:1] != ["bench"]:
        parser(words[:1]).parse_args(words)
        return
    parse = argparse.ArgumentParser.parse_known_args

    def parsed(self: argparse.ArgumentParser, *given: Any) -> NoReturn:
        _, unknown = parse(self, *given)
        assert not unknown, unknown
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_known_args", parsed)
    if program == "moi":
        run = main
    else:
        _, module, *words = words
        name = (
            f"{module}.__main__"
            if (ROOT / "benchmarks" / module.replace(".", "/") / "__main__.py").exists()
            else module
        )
        run = importlib.import_module(name).main
    with pytest.raises(Parsed):
        run(words)


@pytest.mark.parametrize("command", INLINE)
def test_a_command_that_is_mentioned_has_these_flags(command: str) -> None:
    words = re.findall(r"[^\s\[\]|]+", command)[1:]
    name = next((word for word in words if not word.startswith("-")), None)
    assert name is None or name in COMMANDS, command
    if name is None or name == "bench":
        return
    subcommands = next(each for each in parser([name])._actions if isinstance(each, argparse._SubParsersAction))
    flags = subcommands.choices[name]._option_string_actions
    given = words[: words.index("--")] if "--" in words else words
    assert {word.split("=")[0] for word in given if word.startswith("--")} <= set(flags)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_extras_exist(page: Path) -> None:
    named = re.findall(r"mixture-of-inputs\[([\w,-]+)\]", page.read_text(encoding="utf-8"))
    assert {extra for each in named for extra in each.split(",")} <= set(PROJECT["optional-dependencies"])
