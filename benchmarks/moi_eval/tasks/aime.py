"""AIME: integers 0..999, the last box counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from moi_eval import mathematics
from moi_eval.answers import last_box
from moi_eval.integers import integer
from moi_eval.jsonl import field, optional
from moi_eval.tasks.base import Item, Verdict
from moi_eval.tasks.files import FileTask


class AIMETask(FileTask):
    """`problem` (or `question`) and `answer`, an integer 0..999; exact match of the last box that is no thought."""

    name = "aime"
    max_new_tokens = 32768

    def item(self, path: Path, number: int, record: dict[str, Any], seed: int) -> Item:
        """See `FileTask.item`."""
        question = field(path, number, record, ("problem", "question"))
        given = field(path, number, record, ("answer",))
        answer = integer(last_box(given) or given)
        if answer is None or not 0 <= answer <= 999:
            raise ValueError(f"{path} line {number}: answer={given:.40} is not allowed; it must be in 0..999")
        prompt = f"{question}\n\nPlease reason step by step, and put your final answer within \\boxed{{}}."
        return Item(optional(path, number, record, ("id",), str(number)), prompt, answer)

    def require(self) -> None:
        """See `Task.require`: math-verify."""
        mathematics.require()

    def judge(self, item: Item, text: str) -> Verdict:
        """See `Task.judge`: by math-verify."""
        boxed = last_box(text)
        found = None if boxed is None else integer(boxed)
        if found is None:
            return Verdict(False, "no answer" if boxed is None else "malformed")
        return Verdict(found == item.answer, "solved" if found == item.answer else "wrong value", str(found))
