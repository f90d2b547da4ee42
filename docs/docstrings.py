"""Griffe extension: what a docstring lists in columns ("name   what it is") becomes a definition list of Markdown."""

from __future__ import annotations

import re
from typing import Any

import griffe

_ENTRY = re.compile(r"(\S+(?: \S+)*) {2,}(\S.*)")
_INDEXED = re.compile(r"\w+\[\w+\]\[\w+\]")  # noise[row][step]: a link, to Markdown


class Columns(griffe.Extension):
    """Of every object of a package that is loaded."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite its docstring."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(text: str) -> str:
    """A docstring with its lists of columns as definition lists; what is indented stays as it stands."""
    return "\n\n".join(_paragraph(part) for part in text.split("\n\n"))


def _paragraph(text: str) -> str:
    lines = text.splitlines()
    if not lines or lines[0].startswith(" ") or _ENTRY.fullmatch(lines[0]) is None:
        return _formula(lines) if _is_formula(lines) else _INDEXED.sub(r"`\g<0>`", text)
    entries: list[tuple[str, list[str]]] = []
    for line in lines:
        found = _ENTRY.fullmatch(line)
        if found is not None:
            entries.append((found[1], [found[2]]))
        elif line.startswith(" "):
            entries[-1][1].append(line.strip())
        else:
            return text
    return "\n\n".join(f"`{name}`\n:   {_text(' '.join(words))}" for name, words in entries)


def _text(words: str) -> str:
    """What begins with ">" is no quotation."""
    return f"\\{words}" if words.startswith(">") else words


def _is_formula(lines: list[str]) -> bool:
    """Lines of mathematics, one equation each."""
    return bool(lines) and all(re.match(r"\w+(\[\w+\])? = ", line) for line in lines)


def _formula(lines: list[str]) -> str:
    return "\n".join(f"    {line}" for line in lines)
