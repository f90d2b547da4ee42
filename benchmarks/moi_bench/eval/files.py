"""Names of version 0.1; see `moi_eval.tasks`."""

from moi_eval.tasks.aime import AIMETask
from moi_eval.tasks.files import FileTask
from moi_eval.tasks.gpqa import GPQATask
from moi_eval.tasks.livecodebench import LiveCodeBenchTask, extract_code

__all__ = ["AIMETask", "FileTask", "GPQATask", "LiveCodeBenchTask", "extract_code"]
