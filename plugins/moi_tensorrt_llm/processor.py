"""The logits processor of a request: reads the logits, changes nothing."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from moi import MoIConfig, uniforms
from moi.config import check_temperature
from moi.policies import policy_named
from moi_serving.pending import PendingMixtures
from moi_serving.settings import check_seed

# One per worker process: the logits processor of a request and the model find each other here.
PENDING = PendingMixtures()


class MoILogitsProcessor:
    """`SamplingParams(logits_processor=MoILogitsProcessor(MoIConfig(), temperature=0.8))`

    temperature  of the request's sampling; needed by prior="sampling" alone, TensorRT-LLM does not pass it
    seed         of the random numbers of a policy that draws, an integer in [0, 2^63)

    Pickled into the worker with its request. TensorRT-LLM counts the parameters of the call, so they are
    exactly its five. Put it last in a list of processors: it reads what the sampler will see.
    """

    def __init__(self, config: MoIConfig = MoIConfig(), temperature: float = 1.0, seed: int = 0) -> None:
        self.config = config
        self.temperature = check_temperature(temperature)
        self.seed = check_seed(seed) or 0

    def __call__(
        self, req_id: int, logits: Tensor, token_ids: list[list[int]], stream_ptr: Any, client_id: int | None
    ) -> None:
        """logits [1,1,V] of one request, before sampling."""
        if logits.numel() != logits.shape[-1]:
            raise ValueError(f"request {req_id} has {logits.numel() // logits.shape[-1]} beams; MoI needs beam width 1")
        drawn = None
        if policy_named(self.config.policy).draws:
            seed, position = torch.tensor([[self.seed], [len(token_ids[0])]], device=logits.device)
            drawn = uniforms(seed, position, self.config.top_k)
        PENDING.compute([req_id], logits.reshape(1, -1), self.config, self.temperature, drawn)
