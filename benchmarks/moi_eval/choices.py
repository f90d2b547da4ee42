"""Which of the lettered choices a text ends on."""

from __future__ import annotations

import re
from dataclasses import dataclass

from moi_eval.answers import boxes, narrow, parts
from moi_eval.latex import opened

SEVERAL = "several"
_NOISE = re.compile(
    r"[*`$#]|\\[()\[\],;!]|\\(?:left|right|displaystyle|quad)\b|(?<!\w)_+|_+(?!\w)|<\|[^<>|\n]{1,40}\|>|</s>"
)
_BLANKS = re.compile(r"[^\S\n]+")
_LINES = re.compile(r"\s*\n\s*")
_OPEN, _CLOSE = r"[(\[{<\"']{0,3}", r"[)\]}>\"']"
_NOUN = r"(?:answer|choice|option|solution)"
# What may stand between "answer" and its letter: "to the question", "(one letter)", "is therefore", ":".
_ABOUT = (
    r"(?: (?:to|for|of) [^\n.:]{1,60}?)?(?: ?\([^()\n]{1,40}\))?"
    r"(?: (?:I [a-z]+|here|therefore|thus|then|choice|letter))?"
)
_IS = (
    r"(?:,? ?(?:is|was|must be|should be|would be|will be|can only be|has to be|=|→|⇒|->|-|:)"
    r"(?: (?:therefore|thus|then|hence|clearly|likely|probably|most likely|definitely|indeed))?[ ,]{0,2}:?)"
)
_NAME = r"(?:(?:the )?(?:(?:correct|right|best|final) )?(?:answer|choice|option|letter)[ :]{0,2})?"
_SAID = re.compile(
    rf"\b{_NOUN}{_ABOUT}{_IS}\s?{_NAME}(?P<open>{_OPEN})(?P<letter>[A-Za-z])(?![A-Za-z0-9])", re.IGNORECASE
)
_BRACKETED = re.compile(rf"\b{_NOUN} ?(?P<open>[(\[])(?P<letter>[A-Za-z])(?=[)\]])", re.IGNORECASE)
_CHOSEN = re.compile(
    rf"\b(?:choose|pick|select|go with|chose|selected) {_NAME}(?P<open>{_OPEN})(?P<letter>[A-Z])(?![A-Za-z0-9])"
)
_JUDGED = re.compile(
    rf"(?<![A-Za-z])(?P<open>{_OPEN})(?P<letter>[A-Z]){_CLOSE}? (?:is|must be) (?:the )?(?:correct|right|best)\b"
)
_ALONE = re.compile(
    rf"(?:(?:so|thus|hence|therefore),? )?(?:(?:option|choice|answer) )?"
    rf"(?P<open>{_OPEN})(?P<letter>[A-Z])(?:{_CLOSE}[.:]?|[.:])?",
    re.IGNORECASE,
)
_LISTED = re.compile(
    rf"(?:(?:option|choice|answer|final answer)s?[ :]{{0,2}})?"
    rf"(?P<open>{_OPEN})(?P<letter>[A-Z])(?:{_CLOSE}|[.:,)]|$| [-:])",
    re.IGNORECASE,
)
_MORE = re.compile(
    rf"{_CLOSE}? ?(?:,? ?(?:or|and|/|&|,) ?)+(?:(?:option|choice) )?{_OPEN}([A-Z])(?![A-Za-z0-9']| (?:is|was)\b)"
)
_AFTER = re.compile(rf"{_CLOSE}|[.,;:!?]|$|\n| [-(\[:]")
# Words that follow "A" as a letter; after an article stands the noun.
_GOES_ON = re.compile(r" (?:because|since|as|is|due|for|with|based|which|given|and|or|but|while|by|from|not)\b")


@dataclass(frozen=True)
class _Found:
    start: int
    letter: str


def choice(text: str, letters: str = "ABCD") -> str | None:
    """The letter that a text ends on, of `letters`; SEVERAL if it ends on more than one; None without an answer.

    The last statement or box of what is said counts ("The answer is (B)", "**Answer**: B", \\boxed{\\text{B}}). Without
    one, "B is correct", or a last line that is a letter. Of what is thought boxes count alone: thoughts weigh.
    """
    said, thought = parts(narrow(text))
    plain = _plain(said)
    found = [*_stated(plain, letters), *_boxed(plain, letters)]
    if not found:
        found = _weaker(plain, letters) or _last_line(plain, letters) or _boxed(_plain(thought), letters)
    return max(found, key=lambda each: each.start).letter if found else None


def _plain(text: str) -> str:
    """A text without fonts, dollars and emphasis; blanks are single."""
    return _LINES.sub("\n", _BLANKS.sub(" ", _NOISE.sub("", opened(text)))).strip()


def _stated(text: str, letters: str) -> list[_Found]:
    return [*_matches(_SAID, text, letters), *_matches(_BRACKETED, text, letters)]


def _weaker(text: str, letters: str) -> list[_Found]:
    return [*_matches(_CHOSEN, text, letters), *_matches(_JUDGED, text, letters)]


def _matches(pattern: re.Pattern[str], text: str, letters: str) -> list[_Found]:
    found = []
    for match in pattern.finditer(text):
        letter = match["letter"].upper()
        if letter in letters and _is_letter(match, text):
            more = _MORE.match(text, match.end())
            several = more is not None and more[1] in letters and more[1] != letter
            found.append(_Found(match.start("letter"), SEVERAL if several else letter))
    return found


def _is_letter(match: re.Match[str], text: str) -> bool:
    """Whether a letter names a choice: it is no article, and no part of a formula or a word such as C-H."""
    if _AFTER.match(text, match.end()):
        return True
    if text[match.end()] != " " or match["letter"].islower():
        return False
    return match["letter"] not in "AI" or bool(match["open"]) or bool(_GOES_ON.match(text, match.end()))


def _boxed(text: str, letters: str) -> list[_Found]:
    found = []
    for box in boxes(text):
        content = box.content.strip()
        named = [
            letter for letter in re.findall(r"(?<![A-Za-z0-9])([A-Z])(?![A-Za-z0-9'])", content) if letter in letters
        ]
        if match := _ALONE.fullmatch(content) or _LISTED.match(content):
            letter = match["letter"].upper()
            if letter in letters:
                several = re.fullmatch(r"[^A-Za-z]*(?:[A-Z](?:[^A-Za-z]|and|or)*){2,}", content) and len(set(named)) > 1
                found.append(_Found(box.start, SEVERAL if several else letter))
    return found


def _last_line(text: str, letters: str) -> list[_Found]:
    line = text.rpartition("\n")[2]
    match = _ALONE.fullmatch(line) or re.match(r"(?P<open>[(\[]?)(?P<letter>[A-Z])[)\].:] ?", line)
    return [_Found(0, match["letter"].upper())] if match and match["letter"].upper() in letters else []
