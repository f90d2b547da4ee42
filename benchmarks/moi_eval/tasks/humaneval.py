"""HumanEval and files of its layout: functions to complete, judged by running their tests."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from moi_eval import run_code
from moi_eval.jsonl import field
from moi_eval.tasks.base import Item, TaskOptions, Verdict
from moi_eval.tasks.files import FileTask
from moi_eval.tasks.livecodebench import extract_code

# Where a text that goes on after the function leaves it.
_LEAVES = re.compile(r"\n(?=[^\s)\]}])")
_ASK = "Complete this Python function. Write the whole function, with its imports, in ```python fences.\n\n"


class HumanEvalTask(FileTask):
    """`task_id`, `prompt`, `entry_point`, `test` (defines check(candidate)). pass@1 is the share of passing samples.

    chat   ask for the whole function, take the last fenced block; otherwise the text goes on from the prompt and counts
           as far as it is indented
    """

    name = "humaneval"
    max_new_tokens = 2048
    takes = ("run_code",)

    def __init__(self, path: Path, n: int | None, seed: int, *, chat: bool) -> None:
        self._chat = chat
        super().__init__(path, n, seed)

    @classmethod
    def from_options(cls, options: TaskOptions) -> HumanEvalTask:
        """See `Task.from_options`."""
        if not options.run_code:
            raise ValueError(
                "humaneval runs programs that a model wrote: in processes with limits on time, memory and files, but "
                "in no sandbox; say --run-code where that is acceptable"
            )
        if options.data is None:
            raise ValueError("humaneval needs --data FILE.jsonl; docs/evaluate.md has the format")
        return cls(options.data, options.n, options.seed, chat=options.chat)

    def item(self, path: Path, number: int, record: dict[str, Any], seed: int) -> Item:
        """See `FileTask.item`."""
        name, prompt, entry, test = (
            field(path, number, record, (key,)) for key in ("task_id", "prompt", "entry_point", "test")
        )
        if not entry.isidentifier():
            raise ValueError(f"{path} line {number} has entry_point={entry!r:.40}; it must be a name")
        return Item(name, f"{_ASK}```python\n{prompt}\n```" if self._chat else prompt, (prompt, entry, test))

    def judge(self, item: Item, text: str) -> Verdict:
        """See `Task.judge`: the tests pass, in a process of their own, or they do not."""
        prompt, entry, test = item.answer
        code = extract_code(text) if self._chat else _LEAVES.split(text, maxsplit=1)[0]
        if not code.strip():
            return Verdict(False, "no code")
        whole = f"{prompt}\n{code}" if self._chat else prompt + code
        outcome = run_code.run(f"{whole}\n\n{test}\n\ncheck({entry})\n")
        return Verdict(outcome == run_code.PASSED, "solved" if outcome == run_code.PASSED else outcome)
