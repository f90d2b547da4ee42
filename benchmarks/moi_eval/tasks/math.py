"""Problems of mathematics in the layouts of GSM8K and MATH: any answer that can be written in LaTeX."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from moi_eval import mathematics
from moi_eval.answers import last_box
from moi_eval.arithmetic import last_answer
from moi_eval.formulas import Formulas
from moi_eval.jsonl import field, optional
from moi_eval.tasks.base import Item, Verdict
from moi_eval.tasks.files import FileTask

_MARK = "####"  # what follows is the answer in GSM8K


class MathTask(FileTask):
    """`problem` (or `question`) and `answer` (or `solution`, of which the last box counts); judged by math-verify, the
    last box or <answer>...</answer> of a text.
    """

    name = "math"

    def __init__(self, path: Path, n: int | None, seed: int) -> None:
        self._formulas = Formulas()
        super().__init__(path, n, seed)

    def item(self, path: Path, number: int, record: dict[str, Any], seed: int) -> Item:
        """See `FileTask.item`."""
        question = field(path, number, record, ("problem", "question")).strip()
        prompt = f"{question}\n\nPlease reason step by step, and put your final answer within \\boxed{{}}."
        name = optional(path, number, record, ("id", "unique_id"), str(number))
        return Item(name, prompt, _right(path, number, record))

    def require(self) -> None:
        """See `Task.require`: math-verify."""
        mathematics.require()

    def judge(self, item: Item, text: str) -> Verdict:
        """See `Task.judge`: by math-verify."""
        found = last_box(text) or last_answer(text)
        if found is None:
            return Verdict(False, "no answer")
        compared = self._formulas.compare(item.answer, last_box(found) or found)
        if compared is None:
            return Verdict(False, "malformed")
        same, name = compared
        return Verdict(same, "solved" if same else "wrong value", name)


def _right(path: Path, number: int, record: dict[str, Any]) -> str:
    """The answer alone, of whatever stands in its field."""
    given = field(path, number, record, ("answer", "solution"))
    marked = given.rpartition(_MARK)[2].strip() if _MARK in given else None
    boxed = last_box(given)
    if marked == "" or (marked is None and boxed is None and record.get("answer") in (None, "")):
        raise ValueError(f"{path} line {number}: {given[-40:]!r} ends in no answer; allowed: #### 18 or \\boxed{{18}}")
    return marked or boxed or given.strip()
