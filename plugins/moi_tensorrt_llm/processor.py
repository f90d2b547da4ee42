"""The logits processor of a request: brings its settings to the worker, changes no logits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from moi import MoIConfig
from moi.config import check_temperature
from moi_serving.settings import check_seed
from moi_tensorrt_llm.worker import worker_state


class MoILogitsProcessor:
    """`SamplingParams(logits_processor=logits_processors(MoIConfig(), temperature=0.8))`

    temperature  of the request's sampling; needed by prior="sampling" alone, TensorRT-LLM does not pass it
    seed         of the random numbers of a policy that draws, an integer in [0, 2^63); later requests with this very
                 processor, children of one with n > 1, take those that follow

    Pickled into the worker with its request, where its first call gives the request a slot and, of the logits as the
    model gave them, its first mixture: so it comes before whatever changes them. Later calls do nothing, but
    TensorRT-LLM makes a list of the text for each: a list of `logits_processors` that holds no other is left empty.
    TensorRT-LLM counts the parameters of the call, so they are exactly its five.
    """

    def __init__(self, config: MoIConfig = MoIConfig(), temperature: float = 1.0, seed: int = 0) -> None:
        self.config = config
        self.temperature = check_temperature(temperature)
        self.seed = check_seed(seed) or 0
        self._processors: list[Any] | None = None
        self._awaited = 1
        self._registered: set[int] = set()

    def __call__(
        self, req_id: int, logits: Tensor, token_ids: list[list[int]], stream_ptr: Any, client_id: int | None
    ) -> None:
        """logits [1,1,V] of one request, before sampling. ValueError for settings that the server cannot follow."""
        if req_id in self._registered:
            return
        if logits.numel() != logits.shape[-1]:
            raise ValueError(f"request {req_id} has {logits.numel() // logits.shape[-1]} beams; MoI needs beam width 1")
        seed, row = (self.seed + len(self._registered)) % 2**63, logits.reshape(1, -1)
        worker_state().register(req_id, self.config, self.temperature, seed, row, len(token_ids[0]))
        self._registered.add(req_id)
        if self._processors is not None and len(self._registered) == self._awaited:
            self._processors.remove(self)

    def leave(self, processors: list[Any], requests: int) -> None:
        """Vanish from this list, which holds no other, once as many requests were seen."""
        self._processors, self._awaited = processors, requests

    def leaves(self, processors: list[Any]) -> bool:
        """Whether it is to vanish from this very list."""
        return self._processors is processors


def logits_processors(
    config: MoIConfig = MoIConfig(),
    temperature: float = 1.0,
    seed: int = 0,
    *,
    others: Iterable[Any] = (),
    n: int = 1,
) -> list[Any]:
    """For `SamplingParams.logits_processor`: ours, which sees the model's own logits, then `others`.

    Without others it leaves the list after its first call. With them it stays: TensorRT-LLM, which calls one after the
    other, would pass over the next.

    n  of the SamplingParams: its children share the list
    """
    processor = MoILogitsProcessor(config, temperature, seed)
    processors = [processor, *others]
    if len(processors) == 1:
        processor.leave(processors, n)
    return processors
