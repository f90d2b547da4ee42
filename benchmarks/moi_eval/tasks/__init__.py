"""Tasks of the evaluation, one file each; other packages bring theirs through the entry-point group `moi.tasks`."""

from moi_eval.tasks.base import Item, Task, TaskOptions, Verdict
from moi_eval.tasks.registry import task_named, task_names

__all__ = ["Item", "Task", "TaskOptions", "Verdict", "task_named", "task_names"]
