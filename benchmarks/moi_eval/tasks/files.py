"""Tasks on files that users bring, as JSONL (docs/evaluate.md)."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any, TypeVar

from moi_eval.countdown.rules import check_range
from moi_eval.jsonl import digest, records
from moi_eval.tasks.base import Item, Task, TaskOptions

Self = TypeVar("Self", bound="FileTask")


class FileTask(Task):
    """The first `n` problems of a JSONL file (all if None)."""

    max_new_tokens = 16384

    def __init__(self, path: Path, n: int | None, seed: int) -> None:
        self.require()
        lines = records(path)
        if n is not None:
            check_range("n", n, 1, len(lines))
        items = [self.item(path, number, record, seed) for number, record in lines[:n]]
        seen: set[str] = set()
        for item in items:
            if item.id in seen:
                raise ValueError(f"{path} holds the id {item.id!r} twice")
            seen.add(item.id)
        super().__init__(items, seed, file=path.name, sha256=digest(path))

    @classmethod
    def from_options(cls: type[Self], options: TaskOptions) -> Self:
        """See `Task.from_options`."""
        if options.data is None:
            raise ValueError(f"{cls.name} needs --data FILE.jsonl; docs/evaluate.md has the format")
        return cls(options.data, options.n, options.seed)

    def require(self) -> None:
        """ImportError that names the extra for a library that judging needs and that is missing."""

    @abstractmethod
    def item(self, path: Path, number: int, record: dict[str, Any], seed: int) -> Item:
        """The problem on line `number`; keys of `record` are in lower case. ValueError that names file and line."""
