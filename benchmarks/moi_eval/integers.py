"""The integer that a boxed answer stands for: plain notations here, everything else by math-verify.

math-verify runs in a process of its own: it may compute 9^(9^9), and its own limit on time is a signal, which
works in the main thread alone. A process can be stopped from any thread, and its memory is limited.
"""

from __future__ import annotations

import re

from moi_eval import mathematics
from moi_eval.answers import narrow
from moi_eval.latex import BOX, FONT, opened

LONGEST = 200
_COLOUR = re.compile(r"\\textcolor\s*\{\w+\}\s*\{([^{}]*)\}")
_GROUP = re.compile(r"^\{([^{}]*)\}$")
_WRAPPERS = tuple((pattern, r"\1") for pattern in (FONT, BOX, _COLOUR, _GROUP))
_NOISE = re.compile(
    r"\\(?:left|right|displaystyle|textstyle|bf|rm|it|big|Big|qquad|quad|approx|[()\[\];:!> ]|color\s*\{\w+\})|[$*`]|~"
)
_UNIT = re.compile(r"(?:\^\s*\{?\s*(?:\\circ|°)\s*\}?|°|\\degrees?|\\?%)\s*$")
_NAMED = re.compile(r"^(?:\\?[A-Za-z]+(?:_(?:\{\w+\}|\w))?|[a-zA-Z](?:\s*\+\s*[a-zA-Z])+)\s*=\s*|^[A-Za-z ]+:\s*")
_SEVERAL = re.compile(r"[,;]|\\\\|\b(?:and|or)\b")
_GROUPS = re.compile(r"(?<![0-9])[0-9]{1,3}(?:(?:,|\{,\}|\\,|[ ])(?=[0-9]{3}(?![0-9]))[0-9]{3})+(?![0-9])")
WHOLE = re.compile(r"([+-]?)\s*([0-9]{1,15})(?:\.0*)?\.?")
_SEPARATE = re.compile(r"[0-9.](?:\s+|_)[0-9.]")


def integer(text: str) -> int | None:
    """The integer that `text`, a box's content or an answer of a file, comes to; None if it is anything else.

    Several values, such as `4, 5`, are none. ImportError where math-verify is needed and missing.
    """
    if len(text) > LONGEST:
        return None
    bare = plain(text)
    if match := WHOLE.fullmatch(bare):
        return int(match[1] + match[2])
    if "=" in bare and not _SEVERAL.search(bare) and (match := WHOLE.fullmatch(bare.rpartition("=")[2].strip())):
        return int(match[1] + match[2])
    if _SEPARATE.search(bare) or not re.search(r"[0-9]", bare):  # math-verify adds numbers that stand side by side
        return None
    return mathematics.integer(text if "\\text" in text or not _UNIT.search(text) else bare)


def plain(text: str) -> str:
    """A number without what is written around it: fonts, dollars, degrees, separators of thousands, a name and =."""
    text = opened(narrow(text).strip(), _WRAPPERS)
    text = text.replace("\\!", "").replace("{,}", ",")
    text = _GROUPS.sub(lambda match: re.sub(r"[^0-9]", "", match[0]), text)
    text = _NOISE.sub(" ", text.replace("\\,", " ")).strip()
    text = _UNIT.sub("", _NAMED.sub("", text, count=1)).strip()
    return text[1:-1].strip() if re.fullmatch(r"[(\[]\s*[+-]?[0-9]+\s*[)\]]", text) else text
