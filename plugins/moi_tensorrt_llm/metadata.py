"""The attention metadata of a step: what TensorRT-LLM prepares before each step, outside of its graphs."""

from __future__ import annotations

from typing import Any

import torch

from moi_tensorrt_llm.state import State


def tracked(metadata: type, state: State) -> type:
    """A subclass of a backend's Metadata whose steps `state` knows. Copies of an instance are of the subclass, too."""

    class Tracked(metadata):  # type: ignore[misc]
        moi_state = state

        def __post_init__(self) -> None:
            super().__post_init__()
            device = "cuda" if torch.cuda.is_available() else "cpu"
            state.allocate(self.max_num_requests, torch.device(device))

        def prepare(self, *args: Any, **kwargs: Any) -> None:
            super().prepare(*args, **kwargs)
            state.begin(self)

    Tracked.__name__, Tracked.__qualname__, Tracked.__module__ = _names(metadata)
    return Tracked


def track(backend: Any, state: State) -> None:
    """Steps of an attention backend are known to `state` from now on; a second call changes nothing."""
    if getattr(backend.Metadata, "moi_state", None) is None:
        backend.Metadata = tracked(backend.Metadata, state)


def _names(metadata: type) -> tuple[str, str, str]:
    return metadata.__name__, metadata.__qualname__, metadata.__module__
