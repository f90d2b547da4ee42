"""Evaluations on files that users bring: AIME, GPQA-Diamond and LiveCodeBench as JSONL (docs/benchmarks.md)."""

from __future__ import annotations

import random
import re
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from moi_bench.countdown.rules import check_range
from moi_bench.eval import mathematics
from moi_bench.eval.answers import last_box
from moi_bench.eval.choices import SEVERAL, choice
from moi_bench.eval.integers import integer
from moi_bench.eval.jsonl import digest, field, optional, records
from moi_bench.eval.tasks import Item, Verdict, questions

LETTERS = "ABCD"
_BLOCK = re.compile(r"```[^\n]*\n(.*?)```", re.DOTALL)


class FileTask(ABC):
    """The first `n` problems of a JSONL file (all if None). See `moi_bench.eval.tasks.Task`."""

    name = ""
    max_new_tokens = 16384

    def __init__(self, path: Path, n: int | None, seed: int) -> None:
        self.require()
        lines = records(path)
        if n is not None:
            check_range("n", n, 1, len(lines))
        self.items = [self.item(path, number, record, seed) for number, record in lines[:n]]
        seen: set[str] = set()
        for item in self.items:
            if item.id in seen:
                raise ValueError(f"{path} holds the id {item.id!r} twice")
            seen.add(item.id)
        self.settings: dict[str, Any] = {
            "name": self.name,
            "file": path.name,
            "sha256": digest(path),
            "n": len(self.items),
            "seed": seed,
            **questions(self.items),
        }

    def require(self) -> None:
        """ImportError that names the extra for a library that judging needs and that is missing."""
        return

    @abstractmethod
    def item(self, path: Path, number: int, record: dict[str, Any], seed: int) -> Item:
        """The problem in line `number`, a record of the file; ValueError that names the line if it is none."""

    @abstractmethod
    def judge(self, item: Item, text: str) -> Verdict:
        """What the text is worth as an answer to the item."""

    def baseline(self, max_new_tokens: int) -> tuple[str, float] | None:
        return None


class AIMETask(FileTask):
    """`problem` (or `question`) and `answer`, an integer 0..999; exact match of the last box that is no thought."""

    name = "aime"
    max_new_tokens = 32768

    def item(self, path: Path, number: int, record: dict[str, Any], seed: int) -> Item:
        question = field(path, number, record, ("problem", "question"))
        given = field(path, number, record, ("answer",))
        answer = integer(last_box(given) or given)
        if answer is None or not 0 <= answer <= 999:
            raise ValueError(f"{path} line {number}: answer={given:.40} is not allowed; it must be in 0..999")
        prompt = f"{question}\n\nPlease reason step by step, and put your final answer within \\boxed{{}}."
        return Item(optional(path, number, record, ("id",), str(number)), prompt, answer)

    def require(self) -> None:
        mathematics.require()

    def judge(self, item: Item, text: str) -> Verdict:
        boxed = last_box(text)
        found = None if boxed is None else integer(boxed)
        if found is None:
            return Verdict(False, "no answer" if boxed is None else "malformed")
        return Verdict(found == item.answer, "solved" if found == item.answer else "wrong value")


class GPQATask(FileTask):
    """`question`, `correct answer`, `incorrect answer 1..3`; the order of choices follows from seed and id."""

    name = "gpqa"

    def item(self, path: Path, number: int, record: dict[str, Any], seed: int) -> Item:
        names = ["correct answer", *(f"incorrect answer {i}" for i in (1, 2, 3))]
        choices = [field(path, number, record, (name, name.replace(" ", "_"))).strip() for name in names]
        name = optional(path, number, record, ("record id", "record_id", "id"), str(number))
        order = random.Random(f"{seed}/{name}").sample(range(4), 4)
        listed = "\n".join(f"({letter}) {choices[index]}" for letter, index in zip(LETTERS, order, strict=True))
        question = field(path, number, record, ("question",)).strip()
        prompt = (
            f"{question}\n\n{listed}\n\nReason step by step, then end with the line `Answer: X`, X one of A, B, C, D."
        )
        return Item(name, prompt, LETTERS[order.index(0)])

    def judge(self, item: Item, text: str) -> Verdict:
        found = choice(text, LETTERS)
        if found is None or found == SEVERAL:
            return Verdict(False, "no answer" if found is None else "malformed")
        right = found == item.answer
        return Verdict(right, "solved" if right else "wrong choice")

    def baseline(self, max_new_tokens: int) -> tuple[str, float] | None:
        return "one of four choices at random", 0.25


class LiveCodeBenchTask(FileTask):
    """`question_id`, `question_content`, `starter_code`. Code goes to the official harness and is never run here."""

    name = "livecodebench"

    def item(self, path: Path, number: int, record: dict[str, Any], seed: int) -> Item:
        question = field(path, number, record, ("question_content", "question"))
        starter = optional(path, number, record, ("starter_code",), "")
        how = (
            f"Complete this code:\n```python\n{starter}\n```"
            if starter
            else "Read the input from standard input and write the answer to standard output."
        )
        prompt = (
            f"Write a correct Python program for this problem.\n\n{question}\n\n{how}\nEnclose it in ```python fences."
        )
        return Item(field(path, number, record, ("question_id", "id")), prompt, None)

    def judge(self, item: Item, text: str) -> Verdict:
        return Verdict(None, "code" if extract_code(text) else "no code")


def extract_code(text: str) -> str:
    """The last fenced block of a text, or nothing."""
    blocks: list[str] = _BLOCK.findall(text)
    return blocks[-1].rstrip() if blocks else ""


FILE_TASKS: dict[str, type[FileTask]] = {task.name: task for task in (AIMETask, GPQATask, LiveCodeBenchTask)}
