"""The state of this process: processors of requests and the models find each other here."""

from __future__ import annotations

import functools
import os

from moi_tensorrt_llm.server_settings import server_settings
from moi_tensorrt_llm.state import State


@functools.cache
def worker_state() -> State:
    """Made at the first call, by the environment as it is then; ValueError for a bad setting in it."""
    return State(server_settings(os.environ))
