"""Names of version 0.1; see `moi_eval.tasks`."""

from moi_eval.tasks.base import Item, Task, Verdict, questions

__all__ = ["Item", "Task", "Verdict", "questions"]
