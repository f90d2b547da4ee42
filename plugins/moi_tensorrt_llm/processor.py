"""The logits processor of a request: reads the logits, changes nothing."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from moi import MoIConfig
from moi.config import check_temperature
from moi_serving.pending import PendingMixtures

# One per worker process: the logits processor of a request and the model find each other here.
PENDING = PendingMixtures()


class MoILogitsProcessor:
    """`SamplingParams(logits_processor=MoILogitsProcessor(MoIConfig(), temperature=0.8))`

    temperature  of the request's sampling; needed by prior="sampling" alone, TensorRT-LLM does not pass it

    Pickled into the worker with its request. TensorRT-LLM counts the parameters of the call, so they are
    exactly its five. Put it last in a list of processors: it reads what the sampler will see.
    """

    def __init__(self, config: MoIConfig = MoIConfig(), temperature: float = 1.0) -> None:
        self.config = config
        self.temperature = check_temperature(temperature)

    def __call__(
        self, req_id: int, logits: Tensor, token_ids: list[list[int]], stream_ptr: Any, client_id: int | None
    ) -> None:
        """logits [1,1,V] of one request, before sampling."""
        if logits.numel() != logits.shape[-1]:
            raise ValueError(f"request {req_id} has {logits.numel() // logits.shape[-1]} beams; MoI needs beam width 1")
        PENDING.compute([req_id], logits.reshape(1, -1), self.config, self.temperature)
