"""Whether two answers of mathematics are the same, and a name that answers which are the same share.

Integers and words are read here, everything else by math-verify in a process of its own: it may compute 9^(9^9).
"""

from __future__ import annotations

import re

from moi_eval.answers import narrow
from moi_eval.integers import WHOLE, plain
from moi_eval.latex import FONT
from moi_eval.worker import Worker

LONGEST = 500
SECONDS = 5.0
_WORDS = re.compile(r"[(\[]?\s*([A-Za-z][A-Za-z .'-]+?)\s*[)\]]?\.?")
_SURE = 4  # letters that are no product without a font around them
_MIXED = re.compile(r"([0-9]+)\s+([0-9]+)\s*/\s*([0-9]+)")
_SHORT_FRACTION = re.compile(r"\\[dt]?frac\s*[0-9]\s*[0-9]")
_SEPARATE = re.compile(r"[0-9.]\s+[0-9.]")  # math-verify adds numbers that stand side by side
_COUNTED = re.compile(r"([+-]?[0-9]+(?:[./][0-9]+)?)\s+[A-Za-z][A-Za-z .]{2,}")


class Formulas:
    """Compares; its process starts with the first question that needs it. Thread-safe."""

    def __init__(self) -> None:
        self._worker = Worker("moi_eval.formula_worker", None)

    def compare(self, right: str, found: str) -> tuple[bool, str] | None:
        """Whether `found` is the answer `right`, and its name: the same for answers that are the same. None for what
        is no answer: nothing that can be read, or that takes longer than five seconds.
        """
        if len(found) > LONGEST:
            return None
        own, name = _integer(right), _integer(found)
        if own is not None and name is not None:
            return own == name, name
        if (word := _word(found)) and (_is_word(right) or _is_word(found)):
            return _word(right) == word, word
        if _SEPARATE.search(_SHORT_FRACTION.sub("", plain(_readable(found)))):
            return None
        answer = self._worker.ask([_readable(right), _readable(found)], SECONDS)
        if answer is None:
            return None
        same, name = answer
        return bool(same), str(name)

    def stop(self) -> None:
        """End the process; the next question starts another."""
        self._worker.stop()


def _integer(text: str) -> str | None:
    """An integer's name, if it is written as one; "12 apples" is."""
    bare = _counted(plain(_undollared(text)))
    match = WHOLE.fullmatch(bare)
    return str(int(match[1] + match[2])) if match else None


def _is_word(text: str) -> bool:
    """Whether it is text and no product of letters."""
    word = _word(text)
    return word is not None and (len(word) >= _SURE or bool(FONT.search(text)))


def _word(text: str) -> str | None:
    match = _WORDS.fullmatch(plain(text))
    return re.sub(r"[ .'-]", "", match[1]).lower() if match else None


def _readable(text: str) -> str:
    """As math-verify reads it best: a number that counts something without what it counts, 3 1/2 as LaTeX has it."""
    text = _MIXED.sub(r"\1\\frac{\2}{\3}", _undollared(text))
    bare = _counted(plain(text))
    return bare if bare != plain(text) else text


def _counted(text: str) -> str:
    match = _COUNTED.fullmatch(text)
    return match[1] if match else text


def _undollared(text: str) -> str:
    return narrow(text).replace("\\$", "").strip()
