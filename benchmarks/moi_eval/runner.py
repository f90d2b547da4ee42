"""Decoding what is missing from a results file, batch by batch.

The rows of a batch follow from the settings alone. A batch that was interrupted is decoded again with all its rows,
because a row's rounding depends on its neighbours; samples already on file stay as they are. So the file's content does
not depend on where a run was interrupted. Engines that batch by themselves get the missing rows only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from moi import MoIConfig
from moi_engines import ENGINES, Engine
from moi_engines.protocol import Prompt, TokenEvent
from moi_eval.arms import Arm, sample_seed
from moi_eval.journal import Journal, Key
from moi_eval.tasks.base import Item, Task

Tick = Callable[[Arm, int], None]  # (arm, samples finished)


@dataclass(frozen=True)
class Plan:
    """All samples of an evaluation: arms x problems x samples, in batches of `batch` rows."""

    task: Task
    arms: list[Arm]
    samples: int
    seed: int
    max_new_tokens: int
    batch: int
    base: MoIConfig

    @property
    def total(self) -> int:
        """Samples in all."""
        return len(self.arms) * len(self.task.items) * self.samples

    @property
    def most_new_tokens(self) -> int:
        """The limit of the arm with the highest."""
        return self.max_new_tokens * max(arm.longer for arm in self.arms)

    def batches(self) -> list[tuple[Arm, list[tuple[Item, int]]]]:
        """Samples that are decoded together: (item, number of the sample), arm by arm."""
        rows = [(item, sample) for item in self.task.items for sample in range(self.samples)]
        starts = range(0, len(rows), self.batch)
        return [(arm, rows[start : start + self.batch]) for arm in self.arms for start in starts]


@dataclass
class _Partial:
    """A sample while it is decoded."""

    text: list[str] = field(default_factory=list)
    entropies: list[float] = field(default_factory=list)
    interventions: list[float] = field(default_factory=list)

    def push(self, event: TokenEvent) -> None:
        self.text.append(event.text)
        self.entropies.append(event.entropy)
        self.interventions.append(event.intervention)

    def record(self, task: Task, item: Item, finish: str) -> dict[str, Any]:
        text, count = "".join(self.text), len(self.entropies)
        verdict = task.judge(item, text)
        return {
            "solved": verdict.solved,
            "outcome": verdict.outcome,
            "answer": verdict.answer,
            "tokens": count,
            "finish": finish,
            "entropy": round(sum(self.entropies) / count, 6),
            "intervention": round(sum(self.interventions) / count, 6),
            "text": text,
        }


def run_missing(engine: Engine, prompt: Callable[[str], Prompt], plan: Plan, journal: Journal, tick: Tick) -> None:
    """Decode every sample of the plan that the journal lacks; `prompt` makes what the engine reads of a problem."""
    for arm, rows in plan.batches():
        missing = [row for row in rows if _key(arm, row) not in journal.samples]
        if missing:
            wanted = missing if ENGINES[engine.name].batches_itself else rows
            _decode(engine, prompt, plan, journal, arm, wanted, tick)


def _decode(
    engine: Engine,
    prompt: Callable[[str], Prompt],
    plan: Plan,
    journal: Journal,
    arm: Arm,
    rows: Sequence[tuple[Item, int]],
    tick: Tick,
) -> None:
    sampling = [arm.sampling(plan.max_new_tokens, sample_seed(plan.seed, item.id, sample)) for item, sample in rows]
    partial = [_Partial() for _ in rows]
    left = sum(_key(arm, row) not in journal.samples for row in rows)
    for event in engine.stream([prompt(item.prompt) for item, _ in rows], sampling, arm.config(plan.base)):
        partial[event.row].push(event)
        key = _key(arm, rows[event.row])
        if event.finish_reason is not None and key not in journal.samples:
            journal.append(key, partial[event.row].record(plan.task, rows[event.row][0], event.finish_reason))
            tick(arm, 1)
            left -= 1
            if not left:  # what else is in the batch is on file already
                return


def _key(arm: Arm, row: tuple[Item, int]) -> Key:
    return Key(arm.label, row[0].id, row[1])
