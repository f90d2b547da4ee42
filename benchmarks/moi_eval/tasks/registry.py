"""Which tasks there are: this package's, then those that installed packages bring.

    [project.entry-points."moi.tasks"]
    sums = "my_package.sums:SumsTask"

A task is imported when it is asked for.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any

from moi.entry_points import installed, load
from moi.registry import Registry
from moi_eval.tasks.base import Task

GROUP = "moi.tasks"
BUILT_IN = Registry(
    "task",
    {
        "countdown": "moi_eval.tasks.countdown:CountdownTask",
        "aime": "moi_eval.tasks.aime:AIMETask",
        "gpqa": "moi_eval.tasks.gpqa:GPQATask",
        "livecodebench": "moi_eval.tasks.livecodebench:LiveCodeBenchTask",
    },
)


def task_names() -> list[str]:
    """This project's, then those of other packages; RuntimeError if two have one name."""
    return [*BUILT_IN, *_installed()]


def task_named(name: str) -> type[Task]:
    """The named task; ValueError for an unknown name, RuntimeError for an entry point that gives no task."""
    if name in [*BUILT_IN]:
        built_in: type[Task] = BUILT_IN[name]
        return built_in
    points = _installed()
    if name not in points:
        raise ValueError(f"task={name!r} is unknown; allowed: {', '.join(task_names())}")
    task: type[Task] = load(points[name], "task", "a moi_eval.tasks.Task class", _is_task)
    return task


def _installed() -> dict[str, EntryPoint]:
    return installed(GROUP, "task", [*BUILT_IN])


def _is_task(found: Any) -> bool:
    return isinstance(found, type) and issubclass(found, Task)
