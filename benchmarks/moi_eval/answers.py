"""Where a text states its answers: boxes, and what is thinking and what is said."""

from __future__ import annotations

import re
from dataclasses import dataclass

_MARK = re.compile(r"<(/?)think(?:ing)?>", re.IGNORECASE)
_BRACE = re.compile(r"\\[\\{}]|\\(?:boxed|fbox)\s*(?:\{|(?=[0-9]))|[{}]")
_DIGITS = re.compile(r"[0-9]+")
# What stands for an ASCII character: full-width forms, blanks, dashes, quotes. NFKC would turn a square into a digit.
_ASCII: dict[int, str | int | None] = {
    **{code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)},
    **dict.fromkeys([0xA0, 0x2009, 0x202F, 0x3000], " "),
    **dict.fromkeys([*range(0x2010, 0x2016), 0x2212, 0xFE63], "-"),
    **dict.fromkeys([0x2018, 0x2019], "'"),
    **dict.fromkeys([0x201C, 0x201D], '"'),
}


@dataclass(frozen=True)
class Box:
    """What a box holds, and where it begins in its text."""

    start: int
    content: str


def parts(text: str) -> tuple[str, str]:
    """(what is said, what is thought); a block that is not closed is thought to its end.

    A first </think> without its <think> closes a block that the prompt opened.
    """
    said, thought = list[str](), list[str]()
    marks = list(_MARK.finditer(text))
    thinking, start = bool(marks) and bool(marks[0][1]), 0
    for mark in marks:
        (thought if thinking else said).append(text[start : mark.start()])
        thinking, start = not mark[1], mark.end()
    (thought if thinking else said).append(text[start:])
    return "\n".join(said), "\n".join(thought)


def last_box(text: str) -> str | None:
    """What the last box of a text holds: of what is said, or where nothing is boxed there, of what is thought."""
    for part in parts(text):
        found = boxes(part)
        if found:
            return found[-1].content
    return None


def boxes(text: str) -> list[Box]:
    """All \\boxed{...} and \\fbox{...} that are closed and not empty, braces nested at will, by where they begin.

    `\\boxed 42`, without braces, is read as a writer means it. One pass: text of any length takes linear time.
    """
    found, opened = list[Box](), list[tuple[int, int] | None]()
    for match in _BRACE.finditer(text):
        word = match[0]
        if word == "}":
            box = opened.pop() if opened else None
            if box is not None and text[box[1] : match.start()].strip():
                found.append(Box(box[0], text[box[1] : match.start()]))
        elif word == "{":
            opened.append(None)
        elif word.endswith("{") and len(word) > 2:
            opened.append((match.start(), match.end()))
        elif len(word) > 2 and (digits := _DIGITS.match(text, match.end())):
            found.append(Box(match.start(), digits[0]))
    return sorted(found, key=lambda box: box.start)


def narrow(text: str) -> str:
    """A text with full-width forms, blanks, dashes and quotes as ASCII."""
    return text.translate(_ASCII)
