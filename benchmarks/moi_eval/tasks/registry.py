"""Which tasks there are: this package's, then those that installed packages bring.

    [project.entry-points."moi.tasks"]
    sums = "my_package.sums:SumsTask"

A task is imported when it is asked for.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

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
    installed = _installed()
    if name not in installed:
        raise ValueError(f"task={name!r} is unknown; allowed: {', '.join(task_names())}")
    return _load(installed[name])


def _installed() -> dict[str, EntryPoint]:
    found = dict[str, EntryPoint]()
    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        if point.name in [*BUILT_IN, *found]:
            raise RuntimeError(f"{_described(point)}: there is a task {point.name!r} already")
        found[point.name] = point
    return found


def _load(point: EntryPoint) -> type[Task]:
    try:
        task = point.load()
    except Exception as error:  # whatever the code of another package raises
        raise RuntimeError(f"{_described(point)} cannot be loaded: {type(error).__name__}: {error}") from error
    if not (isinstance(task, type) and issubclass(task, Task)) or getattr(task, "name", None) != point.name:
        reason = f"must be a moi_eval.tasks.Task class named {point.name!r}, got {task!r}"
        raise RuntimeError(f"{_described(point)} {reason}")
    return task


def _described(point: EntryPoint) -> str:
    package = f" of {point.dist.name}" if point.dist is not None else ""
    return f"task entry point {point.name} = {point.value}{package}"
