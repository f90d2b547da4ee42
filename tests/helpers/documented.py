"""What pages of the documentation show: fenced blocks, the files and commands in them, and the output they promise."""

from __future__ import annotations

import re
from typing import NamedTuple

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_FILE = re.compile(r"# (\w+\.py)\n")


class Command(NamedTuple):
    """What a reader types, and lines that its output holds. A line with ": error: " says that it ends with status 2."""

    text: str
    shown: list[str]

    @property
    def status(self) -> int:
        return 2 if any(": error: " in line for line in self.shown) else 0


def blocks(page: str) -> list[tuple[str, str]]:
    """Fenced blocks of a page: language and contents."""
    return _BLOCK.findall(page)


def file_name(code: str) -> str:
    """Of a Python block, whose first line names it."""
    found = _FILE.match(code)
    assert found is not None, f"the first line names no file: {code[:80]!r}"
    return found[1]


def commands(console: str) -> list[Command]:
    """What a console block has the reader type."""
    parts = [part.splitlines() for part in console.split("$ ")[1:]]
    return [Command(lines[0], lines[1:]) for lines in parts]
