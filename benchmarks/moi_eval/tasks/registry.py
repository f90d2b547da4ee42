"""Which tasks there are: this package's, then those that installed packages bring.

    [project.entry-points."moi.tasks"]
    sums = "my_package.sums:SumsTask"

A task is imported when it is asked for.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import EntryPoint
from typing import Any

from moi.entry_points import installed, load
from moi.registry import Registry
from moi_eval.tasks.base import Task, TaskOptions

GROUP = "moi.tasks"
BUILT_IN = Registry(
    "task",
    {
        "countdown": "moi_eval.tasks.countdown:CountdownTask",
        "aime": "moi_eval.tasks.aime:AIMETask",
        "gpqa": "moi_eval.tasks.gpqa:GPQATask",
        "livecodebench": "moi_eval.tasks.livecodebench:LiveCodeBenchTask",
        "rg": "moi_eval.tasks.reasoning_gym:ReasoningGymTask",
        "choice": "moi_eval.tasks.multiple_choice:MultipleChoiceTask",
        "humaneval": "moi_eval.tasks.humaneval:HumanEvalTask",
        "math": "moi_eval.tasks.math:MathTask",
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


def make_task(name: str, options: TaskOptions) -> Task:
    """The task NAME or NAME:VARIANT with its options; ValueError also for options that it does not take."""
    plain, colon, variant = name.partition(":")
    task = task_named(plain)
    options = replace(options, variant=variant if colon else None)
    flags = {"variant": f"{name} is unknown: {plain} has no variants", "config": "--task-config is not for {}"}
    flags["run_code"] = "--run-code is not for {}"
    for key, text in flags.items():
        if getattr(options, key) and key not in task.takes:
            raise ValueError(text.format(plain))
    return task.from_options(options)


def _installed() -> dict[str, EntryPoint]:
    return installed(GROUP, "task", [*BUILT_IN])


def _is_task(found: Any) -> bool:
    return isinstance(found, type) and issubclass(found, Task)
