"""vLLM's ModelState with mixtures: its inputs come from a buffer that stays where it is, as graphs want.

Dims: T tokens of a batch, D embedding width.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from moi_vllm.host import attach
from moi_vllm.host import worker as host
from moi_vllm.mixing import change_of
from moi_vllm.runtime import Runtime
from moi_vllm.sampling import Sampling


class Mixing:
    """Stands before vLLM's own class, whose methods it extends."""

    moi: Runtime

    def __init__(self, vllm_config: Any, model: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(vllm_config, model, *args, **kwargs)  # type: ignore[call-arg]
        self.moi.start(self, model)
        # The runner asks for embeddings where prompts may bring some or there are images: they then have a buffer.
        self._moi_inputs = None if host.runner_embeds(self) else host.input_buffer(self)

    def add_request(self, req_index: int, new_req_data: Any) -> None:
        """A request is given a slot."""
        super().add_request(req_index, new_req_data)  # type: ignore[misc]
        self.moi.add_request(req_index, new_req_data)

    def apply_staged_writes(self) -> None:
        """After all requests of a step were added."""
        super().apply_staged_writes()  # type: ignore[misc]
        self.moi.apply_staged()

    def custom_sampler(self, sampler: Any) -> Any:
        """The sampler that vLLM made: it is kept, and shows its logits."""
        sampling = Sampling(self.moi)
        attach(sampler, sampling)
        attach(host.thinking_budget(sampler), sampling)
        return super().custom_sampler(sampler)  # type: ignore[misc]

    def prepare_inputs_embeds(self, scheduled_encoder_inputs: Any, input_batch: Any, req_states: Any) -> Any:
        """Where the runner asks for embeddings: vLLM's own, mixed on the way."""

        def own() -> Any:
            return base(scheduled_encoder_inputs, input_batch, req_states)

        base = super().prepare_inputs_embeds  # type: ignore[misc]
        return self.moi.embedding.during(own, change_of(self.moi, input_batch))

    def prepare_inputs(self, input_batch: Any, req_states: Any) -> dict[str, Any]:
        """Elsewhere: what is returned here replaces the ids."""
        inputs: dict[str, Any] = super().prepare_inputs(input_batch, req_states)  # type: ignore[misc]
        if self._moi_inputs is not None:
            ids = host.input_ids(input_batch)[: host.token_count(input_batch)]
            x = self.moi.embedding.embed(ids, change_of(self.moi, input_batch))
            self._moi_inputs[: len(x)].copy_(x)
            inputs |= self._moi_from_buffer(host.padded_count(input_batch))
        return inputs

    def prepare_dummy_inputs(self, num_reqs: int, num_tokens: int) -> dict[str, Any]:
        """Of profiling and of the capture of graphs."""
        inputs: dict[str, Any] = super().prepare_dummy_inputs(num_reqs, num_tokens)  # type: ignore[misc]
        return inputs if self._moi_inputs is None else inputs | self._moi_from_buffer(num_tokens)

    def _moi_from_buffer(self, count: int) -> dict[str, Tensor | None]:
        assert self._moi_inputs is not None
        return {"input_ids": None, "inputs_embeds": self._moi_inputs[:count]}
