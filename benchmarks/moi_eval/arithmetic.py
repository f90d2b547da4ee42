"""Arithmetic as chat models write it, in the notation that `moi_eval.countdown.expressions` takes."""

from __future__ import annotations

import re

from moi_eval.answers import narrow, parts
from moi_eval.latex import BOX, FONT, opened

LONGEST = 500
_TAG = re.compile(r"<(/?)answer>", re.IGNORECASE)
_SIGNS = str.maketrans(
    {
        **dict.fromkeys("×✕✖⨯∗⋅·•∙", "*"),  # noqa: RUF001
        **dict.fromkeys("÷∕⁄", "/"),  # noqa: RUF001
        **dict.fromkeys("[{【", "("),
        **dict.fromkeys("]}】", ")"),
    }
)
_COMMANDS = {
    **dict.fromkeys(("times", "cdot", "ast", "cdotp", "bullet"), "*"),
    **dict.fromkeys(("div", "slash"), "/"),
    **dict.fromkeys(("left", "right", "big", "Big", "bigl", "bigr", "displaystyle", "quad", "qquad"), " "),
}
_COMMAND = re.compile(r"\\([A-Za-z]+)")
_FRACTION = re.compile(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}|\\[dt]?frac\s*([0-9])\s*([0-9])")
_BLANK = re.compile(r"\\[,;:!>\s()\[\]]|[$`]|^\*\*|\*\*$")
_LABEL = re.compile(r"^[A-Za-z][A-Za-z ]*:")
_TIMES_X = re.compile(r"(?<=[0-9)\s])[xX](?=[0-9(\s])")
_TIMES = re.compile(r"(?<=\))\s*(?=[0-9(])|(?<=[0-9])\s*(?=\()")
_EQUALS = re.compile(r"=+|\\(?:eq|equiv)\b|≡")


def last_answer(text: str) -> str | None:
    """What stands in the last <answer>...</answer>: of what is said, or where there is none, of what is thought."""
    for part in parts(text):
        found, start = None, None
        for tag in _TAG.finditer(part):
            if tag[1] and start is not None:
                found = part[start : tag.start()]
            start = None if tag[1] else tag.end()
        if found is not None:
            return found
    return None


def arithmetic(answer: str) -> str:
    """The expression an answer states, in + - * / ( ) and numbers; text that is none comes back as no expression.

    "24 = ..." and "... = 24" are usual ways to state a result: the side that names most numbers counts. A product may
    go without its sign beside a bracket. Powers are not products: `2**3` stays what it is.
    """
    if len(answer) > LONGEST:
        return "too long"
    sides = _EQUALS.split(_plain(answer))
    side = max(sides, key=lambda each: len(re.findall(r"[0-9]+", each)))
    return " ".join(_TIMES.sub(" * ", _TIMES_X.sub("*", side)).split()).rstrip(".,;")


def _plain(text: str) -> str:
    text = _LABEL.sub("", _BLANK.sub(" ", narrow(text).strip()).strip())
    text = opened(text, ((FONT, r"\1"), (BOX, r"\1"), (_FRACTION, _fraction)))
    return _COMMAND.sub(lambda match: _COMMANDS.get(match[1], match[0]), text).translate(_SIGNS)


def _fraction(match: re.Match[str]) -> str:
    above, below = (match[1], match[2]) if match[1] is not None else (match[3], match[4])
    return f"(({above})/({below}))"
