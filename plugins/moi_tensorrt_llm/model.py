"""TensorRT-LLM's models with mixtures: generation rows that have one are embedded from it, nothing else changes.

Dims: N tokens of a step, R its rows: of each context its last token, then one token of each generation; V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from moi_tensorrt_llm.compatibility import refuse_model
from moi_tensorrt_llm.state import State, tokens_of


def mixed(host: type, state: State) -> type:
    """A subclass of a TensorRT-LLM model class whose generation rows take mixtures.

    Its steps can be captured: what they read of requests is on the device, brought there by `metadata`.
    """

    class Mixed(host):  # type: ignore[misc]
        def __init__(self, model_config: Any, *args: Any, **kwargs: Any) -> None:
            refuse_model(model_config)
            super().__init__(model_config, *args, **kwargs)

        def forward(
            self,
            attn_metadata: Any,
            input_ids: Tensor | None = None,
            position_ids: Tensor | None = None,
            inputs_embeds: Tensor | None = None,
            return_context_logits: bool = False,
            **kwargs: Any,
        ) -> Tensor:
            if mixes := _mixes(attn_metadata, state):
                inputs_embeds = _inputs(self.model.embed_tokens, attn_metadata, state, input_ids, position_ids)
                input_ids = None
            logits: Tensor = super().forward(
                attn_metadata, input_ids, position_ids, inputs_embeds, return_context_logits, **kwargs
            )
            if mixes:
                _keep_mixtures(attn_metadata, state, logits, position_ids, return_context_logits)
            return logits

    Mixed.__name__ = Mixed.__qualname__ = host.__name__
    return Mixed


def _mixes(metadata: Any, state: State) -> bool:
    """Whether some row of the step may mix: any step that a graph holds. ValueError where the host would not tell."""
    if getattr(metadata, "moi_state", None) is not state:
        raise ValueError(f"{type(metadata).__name__} is of an attention backend that MoI does not know; choose another")
    return state.mixing or bool(metadata.is_cuda_graph)


def _inputs(
    embed_tokens: Any, metadata: Any, state: State, input_ids: Tensor | None, position_ids: Tensor | None
) -> Tensor:
    """Input embeddings [N,D] of a step."""
    if input_ids is None or position_ids is None:
        raise ValueError("a step without input_ids or position_ids; MoI needs both")
    contexts, start, end = metadata.num_contexts, metadata.num_ctx_tokens, _token_count(metadata)
    if input_ids.numel() < end:
        raise ValueError(f"{input_ids.numel()} tokens for {end - start} generations; MoI needs one each")
    slots, position = state.device.slots, position_ids.view(-1)[:end].long()
    x: Tensor = embed_tokens(input_ids)
    rows = state.device.rows[:, : metadata.num_seqs]
    if contexts and state.preempted:
        again = tokens_of(rows[:, :contexts], metadata.seq_lens[:contexts].tolist())
        x[:start] = slots.apply(x[:start], embed_tokens, again[0], input_ids[:start], position[:start], again[1])
    at = slice(start, end)
    x[at] = slots.apply(x[at], embed_tokens, rows[0, contexts:], input_ids[at], position[at], rows[1, contexts:])
    return x


def _keep_mixtures(metadata: Any, state: State, logits: Any, position_ids: Any, all_tokens: bool) -> None:
    """Of the logits [R,V] of a step, or [N,V] where those of all tokens were asked for."""
    if not isinstance(logits, Tensor):
        raise ValueError(f"the model returns {type(logits).__name__} for its logits; MoI needs whole rows of them")
    count, device, position = metadata.num_seqs, state.device, position_ids.view(-1).long()
    last = torch.arange(count, device=position.device)
    if metadata.num_contexts:
        last = metadata.seq_lens_cuda[:count].long().cumsum(0) - 1
    rows = logits[last] if all_tokens else logits[:count]
    slots, due = device.rows[0, :count], position[last] + 1
    device.slots.store(slots, device.slots.compute(slots, rows.float(), device.temperature[slots], due), due)


def _token_count(metadata: Any) -> int:
    """N without padding."""
    count: int = metadata.num_ctx_tokens + metadata.num_seqs - metadata.num_contexts
    return count
