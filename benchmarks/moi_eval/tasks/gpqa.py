"""GPQA: one of four choices."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from moi_eval.choices import SEVERAL, choice
from moi_eval.jsonl import field, optional
from moi_eval.tasks.base import Item, Verdict
from moi_eval.tasks.files import FileTask

LETTERS = "ABCD"


class GPQATask(FileTask):
    """`question`, `correct answer`, `incorrect answer 1..3`; the order of choices follows from seed and id."""

    name = "gpqa"

    def item(self, path: Path, number: int, record: dict[str, Any], seed: int) -> Item:
        """See `FileTask.item`."""
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
        """See `Task.judge`: the letter of the choice."""
        found = choice(text, LETTERS)
        if found is None or found == SEVERAL:
            return Verdict(False, "no answer" if found is None else "malformed")
        right = found == item.answer
        return Verdict(right, "solved" if right else "wrong choice", found)

    def baseline(self, max_new_tokens: int) -> tuple[str, float] | None:
        """See `Task.baseline`: one choice of four."""
        return "one of four choices at random", 0.25
