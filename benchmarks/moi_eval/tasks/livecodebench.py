"""LiveCodeBench: programs for its own evaluator, which runs them in its sandbox; nothing is run here."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from moi import json_text
from moi.files import check_file, write_file
from moi_eval.journal import Key
from moi_eval.jsonl import field, optional
from moi_eval.tasks.base import Item, Verdict
from moi_eval.tasks.files import FileTask

_BLOCK = re.compile(r"```[^\n]*\n(.*?)```", re.DOTALL)
_WHAT = "generations that moi eval wrote"


class LiveCodeBenchTask(FileTask):
    """`question_id`, `question_content`, `starter_code`. Code goes to the official harness and is never run here."""

    name = "livecodebench"

    def item(self, path: Path, number: int, record: dict[str, Any], seed: int) -> Item:
        """See `FileTask.item`."""
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
        """See `Task.judge`: programs are not run here, so nothing is right or wrong."""
        return Verdict(None, "code" if extract_code(text) else "no code")

    def check_outputs(self, out: Path, labels: Sequence[str]) -> None:
        """See `Task.check_outputs`."""
        for label in labels:
            check_file(_path(out, label), _is_generations, _WHAT)

    def write_outputs(self, out: Path, settings: dict[str, Any], samples: Mapping[Key, dict[str, Any]]) -> list[Path]:
        """One file for each arm that is complete: [{"question_id", "code_list"}]."""
        paths = []
        for arm in settings["arms"]:
            codes = dict[str, list[str]]()
            for key in sorted(key for key in samples if key.arm == arm["label"]):
                codes.setdefault(key.item, []).append(extract_code(samples[key]["text"]))
            if sum(map(len, codes.values())) == settings["task"]["n"] * settings["samples"]:
                paths.append(_path(out, arm["label"]))
                entries = [{"question_id": name, "code_list": texts} for name, texts in codes.items()]
                write_file(paths[-1], json_text.dumps(entries, indent=1) + "\n", _is_generations, _WHAT)
        return paths


def extract_code(text: str) -> str:
    """The last fenced block of a text, or nothing."""
    blocks: list[str] = _BLOCK.findall(text)
    return blocks[-1].rstrip() if blocks else ""


def _path(out: Path, label: str) -> Path:
    slug = re.sub(r"[^a-z0-9.]+", "-", label.lower())
    return out.with_name(f"{out.stem}.{slug}.lcb.json")


def _is_generations(path: Path) -> bool:
    return all(set(entry) == {"question_id", "code_list"} for entry in json.loads(path.read_bytes()))
