"""LaTeX that stands around what a model means: fonts and other wrappers, opened from the inside out."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeAlias

_FONTS = (
    "text textbf textit textrm textsf texttt mathbf mathrm mathit mathsf mathtt mathbb boldsymbol bm bf mbox hbox emph "
    "underline"
)
FONT = re.compile(rf"\\(?:{'|'.join(_FONTS.split())})\s*\{{([^{{}}]*)\}}")
BOX = re.compile(r"\\(?:boxed|fbox)\s*\{([^{}]*)\}")
_DEEPEST = 20

Rule: TypeAlias = tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]


def opened(text: str, rules: Sequence[Rule] = ((FONT, r"\1"),)) -> str:
    """`text` after the rules were applied until they change nothing: a rule opens the innermost wrapper.

    Wrappers within more than 20 others stay closed, so that a text of any length takes linear time.
    """
    for _ in range(_DEEPEST):
        bare = text
        for pattern, replacement in rules:
            bare = pattern.sub(replacement, bare)
        if (bare := bare.strip()) == text:
            break
        text = bare
    return text
