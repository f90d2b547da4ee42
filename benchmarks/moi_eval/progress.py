"""Progress of a long run on standard error: a bar where somebody watches, a line now and then where it is a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from moi_eval.arms import Arm
from moi_eval.runner import Tick

LOG_SECONDS = 30.0


@contextmanager
def shown(total: int, done: int, out: Path) -> Iterator[Tick]:
    """A function to call for each finished sample; an interrupted run says what is safe and how to go on."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    state = {"done": done, "logged": time.monotonic()}
    if done:
        sys.stderr.write(f"{out}: {done} of {total} samples are on file, {total - done} to go\n")
    try:
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task("", total=total, completed=done)

            def tick(arm: Arm, count: int) -> None:
                state["done"] += count
                bar.update(task, advance=count, description=arm.label)
                if not console.is_terminal and time.monotonic() - state["logged"] > LOG_SECONDS:
                    state["logged"] = time.monotonic()
                    sys.stderr.write(f"{arm.label}: {state['done']} of {total} samples\n")

            yield tick
    except BaseException:
        sys.stderr.write(f"{out}: {state['done']} of {total} samples are safe; the same command goes on from there\n")
        raise
