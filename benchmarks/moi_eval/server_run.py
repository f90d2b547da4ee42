"""`moi eval --server`: the samples of a plan from servers, many at a time, each on file when it is there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

from moi_engines.servers import Answer, Pool, Question, Served
from moi_engines.servers.dialects import settings_of
from moi_engines.servers.proof import check_mixed, prove
from moi_eval.arms import Arm, sample_seed
from moi_eval.journal import Journal, Key
from moi_eval.runner import Plan, Tick
from moi_eval.tasks.base import Item, Task

CONCURRENCY = 32
_Wanted = tuple[Arm, Item, int]


def look(urls: Sequence[str], model: str | None, kind: str | None) -> Served:
    """What the servers serve; see `Pool.served`."""

    async def ask() -> Served:
        async with Pool(urls) as pool:
            return await pool.served(model, kind)

    return asyncio.run(ask())


def run_missing(
    pool: Pool, served: Served, plan: Plan, journal: Journal, tick: Tick, *, chat: bool, concurrency: int
) -> None:
    """Get every sample of the plan that the journal lacks, after every server has shown that it mixes.

    pool  not entered yet

    Raises what `Pool.ask` and `check_mixed` do; what was finished is on file by then. Problems that a server refuses
    are a ValueError when nothing else is left to do, or after `concurrency` of them.
    """
    asyncio.run(_run(pool, served, plan, journal, tick, chat, concurrency))


async def _run(
    pool: Pool, served: Served, plan: Plan, journal: Journal, tick: Tick, chat: bool, concurrency: int
) -> None:
    async with pool:
        await prove(pool, served, [_question(plan, (arm, plan.task.items[0], 0), chat) for arm in plan.arms])
        todo = iter(list(_missing(plan, journal)))  # shared: each worker takes the next
        refused = list[tuple[_Wanted, ValueError]]()

        async def work() -> None:
            for wanted in todo:
                question = _question(plan, wanted, chat)
                try:
                    answer = await pool.ask(question, served)
                except ValueError as error:
                    refused.append((wanted, error))
                    return  # so many refusals at most, the others go on
                check_mixed(question, answer, "a server")
                record = await asyncio.to_thread(_record, plan.task, wanted[1], answer)  # code may run for seconds
                journal.append(_key(wanted), record)
                tick(wanted[0], 1)

        await _together([asyncio.create_task(work()) for _ in range(concurrency)])
    if refused:
        (arm, item, _), error = refused[0]
        more = f" ({len(refused)} requests were refused)" if len(refused) > 1 else ""
        raise ValueError(f"problem {item.id!r}, arm {arm.label!r}: {error}{more}")


async def _together(tasks: list[asyncio.Task[None]]) -> None:
    """Wait for all; when one fails, or the user interrupts, the others are cancelled first."""
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _missing(plan: Plan, journal: Journal) -> Iterator[_Wanted]:
    for arm, rows in plan.batches():
        for item, sample in rows:
            if _key((arm, item, sample)) not in journal.samples:
                yield arm, item, sample


def _key(wanted: _Wanted) -> Key:
    arm, item, sample = wanted
    return Key(arm.label, item.id, sample)


def _question(plan: Plan, wanted: _Wanted, chat: bool) -> Question:
    arm, item, sample = wanted
    seed = sample_seed(plan.seed, item.id, sample)
    settings = settings_of(arm.config(plan.base), seed)
    return Question(item.prompt, chat, arm.sampling(plan.max_new_tokens, seed), settings)


def _record(task: Task, item: Item, answer: Answer) -> dict[str, Any]:
    verdict, told = task.judge(item, answer.text), answer.telemetry
    return {
        "solved": verdict.solved,
        "outcome": verdict.outcome,
        "answer": verdict.answer,
        "tokens": answer.tokens,
        "finish": answer.finish,
        "entropy": None if told is None else round(told.mean_entropy, 6),
        "intervention": None if told is None else round(told.mean_intervention, 6),
        "text": answer.text,
    }
