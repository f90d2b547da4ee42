"""Questions with lettered choices: the layouts of MMLU, ARC and their kin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from moi_eval.choices import SEVERAL, choice
from moi_eval.jsonl import field, lower_keys, optional, text
from moi_eval.tasks.base import Item, Verdict
from moi_eval.tasks.files import FileTask

_ALPHABET = "ABCDEFGHIJ"


class MultipleChoiceTask(FileTask):
    """`question`; `choices`, a list of 2 to 10 texts or {"text": [...], "label": [...]}; `answer` (or `answerkey`): a
    label, a letter, or the number of the choice from 0. Choices keep their order and are lettered from A.
    """

    name = "choice"

    def item(self, path: Path, number: int, record: dict[str, Any], seed: int) -> Item:
        """See `FileTask.item`."""
        where = f"{path} line {number}"
        texts, labels = _choices(path, number, record.get("choices", record.get("options")))
        letters = _ALPHABET[: len(texts)]
        key = "answerkey" if "answerkey" in record else "answer"
        answer = self._answer(record.get(key), letters, labels, f"{where} has {key}")
        listed = "\n".join(f"({letter}) {text}" for letter, text in zip(letters, texts, strict=True))
        question = field(path, number, record, ("question",)).strip()
        how = f"Reason step by step, then end with the line `Answer: X`, X one of {', '.join(letters)}."
        name = optional(path, number, record, ("id",), str(number))
        return Item(name, f"{question}\n\n{listed}\n\n{how}", (answer, letters))

    @staticmethod
    def _answer(given: Any, letters: str, labels: list[str] | None, where: str) -> str:
        if labels is not None and str(given) in labels:
            return letters[labels.index(str(given))]
        if labels is None and isinstance(given, str) and len(given) == 1 and given.upper() in letters:
            return given.upper()
        if labels is None and isinstance(given, int) and not isinstance(given, bool) and 0 <= given < len(letters):
            return letters[given]
        allowed = ", ".join(labels or letters)
        raise ValueError(f"{where}={given!r:.40}; allowed: {allowed}" + ("" if labels else ", or a number from 0"))

    def judge(self, item: Item, text: str) -> Verdict:
        """See `Task.judge`: the letter that the text ends on."""
        answer, letters = item.answer
        found = choice(text, letters)
        if found is None or found == SEVERAL:
            return Verdict(False, "no answer" if found is None else "malformed")
        return Verdict(found == answer, "solved" if found == answer else "wrong choice", found)

    def baseline(self, max_new_tokens: int) -> tuple[str, float] | None:
        """See `Task.baseline`: one choice at random."""
        return "one choice at random", sum(1 / len(item.answer[1]) for item in self.items) / len(self.items)


def _choices(path: Path, number: int, given: Any) -> tuple[list[str], list[str] | None]:
    """The texts, and their labels where they have some."""
    where = f"{path} line {number}"
    named = lower_keys(path, number, given) if isinstance(given, dict) else {"text": given}
    texts, labels = named.get("text"), named.get("label")
    if not isinstance(texts, list) or not 2 <= len(texts) <= len(_ALPHABET):
        raise ValueError(f"{where} has choices={given!r:.80}; it must be a list of 2 to {len(_ALPHABET)} texts")
    if labels is not None and (
        not isinstance(labels, list) or not len(labels) == len(texts) == len(set(map(str, labels)))
    ):
        raise ValueError(f"{where} has label={labels!r:.80}; every choice needs its own")
    read = [text(path, number, "choices", each) for each in texts]
    return read, None if labels is None else [text(path, number, "label", each) for each in labels]
