"""Tasks of the evaluation, one file each; other packages bring theirs through the entry-point group `moi.tasks`."""

from moi_eval.tasks.base import Item, Task, TaskOptions, Verdict
from moi_eval.tasks.registry import make_task, task_named, task_names

__all__ = ["Item", "Task", "TaskOptions", "Verdict", "make_task", "task_named", "task_names"]
