"""Names of version 0.1; see `moi_eval.tasks`."""

from moi_eval.tasks.files import FILE_TASKS, AIMETask, FileTask, GPQATask, LiveCodeBenchTask, extract_code

__all__ = ["FILE_TASKS", "AIMETask", "FileTask", "GPQATask", "LiveCodeBenchTask", "extract_code"]
