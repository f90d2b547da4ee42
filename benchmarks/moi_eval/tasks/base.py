"""What an evaluation asks and how an answer is judged."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from moi_eval.journal import Key


@dataclass(frozen=True)
class Item:
    """One problem: a name that is unique in its task, the text a model reads, and whatever judges the answer."""

    id: str
    prompt: str
    answer: Any


@dataclass(frozen=True)
class Verdict:
    """solved is None where this project does not judge; outcome says in a word what became of the answer.

    answer  what a majority vote counts: the same for texts that answer alike; None for no answer, and where a task has
            none that could be alike, such as programs
    """

    solved: bool | None
    outcome: str
    answer: str | None = None


# Raised when judging changes: samples that were judged otherwise are not counted together.
JUDGING = 2


def questions(items: Sequence[Item]) -> dict[str, Any]:
    """What a results file says of the problems themselves: the digest of names, prompts and answers, and who judges."""
    digest = hashlib.sha256()
    for item in items:
        digest.update(repr((item.id, item.prompt, str(item.answer))).encode())
    return {"questions": digest.hexdigest()[:16], "judging": JUDGING}


@dataclass(frozen=True)
class TaskOptions:
    """What `moi eval` hands a task.

    data     the file of problems that the user brings, or None
    n        how many problems, or None for the task's own number
    seed     of problems, and of whatever a task shuffles
    chat     whether prompts go through a chat template
    numbers  of Countdown: 3 or 4
    variant  what stands behind the colon of NAME:VARIANT, or None
    config   settings that only this task knows, by name
    run_code whether programs that models wrote may be run here
    """

    data: Path | None = None
    n: int | None = None
    seed: int = 0
    chat: bool = False
    numbers: int = 3
    variant: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    run_code: bool = False


class Task(ABC):
    """A set of problems. A task is a class like this in a file of its own, and a line of the registry.

    name            what `moi eval` calls it
    max_new_tokens  the limit used unless the user gives one
    items           the problems; names are unique
    settings        what identifies them in the header of a results file
    takes           which of "variant", "config" and "run_code" it reads; given to another task they are an error
    """

    name: ClassVar[str]
    takes: ClassVar[tuple[str, ...]] = ()
    max_new_tokens: int

    def __init__(self, items: Sequence[Item], seed: int, **more: Any) -> None:
        """`more` is what else identifies the problems, such as the digest of a file."""
        self.items = list(items)
        self.settings: dict[str, Any] = {"name": self.name, **more, "n": len(self.items), "seed": seed}
        self.settings |= questions(self.items)

    @classmethod
    @abstractmethod
    def from_options(cls, options: TaskOptions) -> Task:
        """The problems that a user asks for; ValueError for options the task does not take, ImportError for libraries
        that judging needs and that are missing."""

    @abstractmethod
    def judge(self, item: Item, text: str) -> Verdict:
        """What became of an answer; it must not raise, whatever the text."""

    def baseline(self, max_new_tokens: int) -> tuple[str, float] | None:
        """A trivial method and the share of problems it solves, where there is one."""
        return None

    def check_outputs(self, out: Path, labels: Sequence[str]) -> None:  # noqa: B027 most tasks write nothing
        """Before minutes are spent: OSError if a file that `write_outputs` would write is something else.

        out     the results file
        labels  of the arms
        """

    def write_outputs(self, out: Path, settings: dict[str, Any], samples: Mapping[Key, dict[str, Any]]) -> list[Path]:
        """Files beside the results file for other programs, from the settings and samples of a results file."""
        return []
