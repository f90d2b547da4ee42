"""What pages of the documentation show: blocks, the files and commands in them, and the output they promise."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any, NamedTuple

DOCS = Path(__file__).parents[2] / "docs"
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


def indented(page: str, start: str) -> list[str]:
    """Lines of the indented blocks of a page of docs/ that begin like this, without their comments."""
    lines = re.findall(rf"^ {{4}}({re.escape(start)}.*)$", (DOCS / page).read_text(encoding="utf-8"), re.MULTILINE)
    assert lines, f"docs/{page} shows no {start!r}"
    return [re.split(r"\s+#", line)[0] for line in lines]


def server_flags(page: str, launch: str) -> list[str]:
    """Flags behind the model in the first command of a page that begins like this."""
    return shlex.split(indented(page, launch)[0].removeprefix(launch))[1:]


def chat(page: str, url: str, **fields: Any) -> Any:
    """The answer to a page's call of the openai client, its three dots filled in."""
    import openai

    (call,) = indented(page, "client.chat")
    filled = call.replace("model=..., messages=...", "model=model, messages=messages, **fields")
    messages = [{"role": "user", "content": "18 7 7 > 67 :"}]
    with openai.OpenAI(base_url=url, api_key="none") as client:
        model = client.models.list().data[0].id
        return eval(filled, {"client": client, "model": model, "messages": messages, "fields": fields})
