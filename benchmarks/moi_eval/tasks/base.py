"""What an evaluation asks and how an answer is judged."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Item:
    """One problem: a name that is unique in its task, the text a model reads, and whatever judges the answer."""

    id: str
    prompt: str
    answer: Any


@dataclass(frozen=True)
class Verdict:
    """solved is None where this project does not judge; outcome says in a word what became of the answer."""

    solved: bool | None
    outcome: str


# Raised when judging changes: samples that were judged otherwise are not counted together.
JUDGING = 2


def questions(items: Sequence[Item]) -> dict[str, Any]:
    """What a results file says of the problems themselves: the digest of names, prompts and answers, and who judges."""
    digest = hashlib.sha256()
    for item in items:
        digest.update(repr((item.id, item.prompt, str(item.answer))).encode())
    return {"questions": digest.hexdigest()[:16], "judging": JUDGING}


class Task(Protocol):
    """A set of problems.

    settings        what identifies it in the header of a results file
    max_new_tokens  the limit used unless the user gives one
    baseline        the share of problems a trivial method solves, and its name, where there is one
    """

    items: list[Item]
    settings: dict[str, Any]
    max_new_tokens: int

    def judge(self, item: Item, text: str) -> Verdict: ...

    def baseline(self, max_new_tokens: int) -> tuple[str, float] | None: ...
