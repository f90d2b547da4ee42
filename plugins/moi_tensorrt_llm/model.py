"""TensorRT-LLM's models with mixtures: generation rows that have one are embedded from it, nothing else changes."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from moi import MoIConfig
from moi.policies import policy_named
from moi_serving.embedding import mix_looked_up
from moi_serving.pending import PendingMixtures
from moi_tensorrt_llm.compatibility import refuse_model, refuse_step
from moi_tensorrt_llm.contract import require_contract
from moi_tensorrt_llm.processor import PENDING

# Architectures whose models start from embed_tokens(input_ids) and nothing else.
ARCHITECTURES = {
    "LlamaForCausalLM": "tensorrt_llm._torch.models.modeling_llama",
    "Qwen2ForCausalLM": "tensorrt_llm._torch.models.modeling_qwen",
    "Qwen3ForCausalLM": "tensorrt_llm._torch.models.modeling_qwen3",
}
# The second reaches the workers of a server that starts them by MPI, which forwards TLLM* and few others.
DEFAULT_VARIABLES = ("MOI_TENSORRT_LLM_DEFAULT", "TLLM_MOI_DEFAULT")
_REGISTERED = "moi_tensorrt_llm.registered_models"


def register_models() -> list[str]:
    """Register the mixed classes under the architectures' own names, once in a process; the names.

    Requests without a MoILogitsProcessor decode plainly, unless one of DEFAULT_VARIABLES holds a MoIConfig as JSON:
    trtllm-serve has no way to hand a logits processor in with a request.

    Raises RuntimeError if this TensorRT-LLM differs from the recorded contract, ValueError for a bad default.
    """
    importlib.import_module(_REGISTERED)
    return list(ARCHITECTURES)


def mixed_models() -> dict[str, type]:
    """The mixed classes by architecture, as `registered_models` holds them; raises what `register_models` does."""
    require_contract()
    default, classes = default_config(os.environ), dict[str, type]()
    for name, module in ARCHITECTURES.items():
        classes[name] = mixed(getattr(importlib.import_module(module), name), default)
        classes[name].__module__ = _REGISTERED
    return classes


def register(name: str, model: type) -> type:
    """A class for an architecture, in place of the host's own; the class."""
    from tensorrt_llm._torch.models.modeling_utils import register_auto_model

    registered: type = register_auto_model(name)(model)
    return registered


def default_config(environ: Mapping[str, str]) -> MoIConfig | None:
    """The server-wide setting, from JSON such as {"beta": 2}; ValueError for anything else, or for two that differ."""
    given = {name: environ[name] for name in DEFAULT_VARIABLES if environ.get(name)}
    if not given:
        return None
    (name, text), *others = given.items()
    if others and others[0][1] != text:
        raise ValueError(f"{name} and {others[0][0]} differ; set one of them")
    try:
        config = MoIConfig.from_dict(json.loads(text))
    except ValueError as error:
        raise ValueError(f"{name}={text!r} is not a JSON object of MoI settings: {error}") from error
    if config.prior == "sampling":
        raise ValueError(f'{name}: prior="sampling" needs each request\'s temperature; use prior="raw"')
    if policy_named(config.policy).draws:
        raise ValueError(f"{name}: policy {config.policy!r} needs each request's seed; use MoILogitsProcessor")
    return config


def mixed(host: type, default: MoIConfig | None = None, pending: PendingMixtures = PENDING) -> type:
    """A subclass of a TensorRT-LLM model class whose generation rows take mixtures."""

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
            if input_ids is not None:
                x = mixed_inputs(self.model.embed_tokens, attn_metadata, input_ids, pending)
                if x is not None:
                    input_ids, inputs_embeds = None, x
            logits: Tensor = super().forward(
                attn_metadata, input_ids, position_ids, inputs_embeds, return_context_logits, **kwargs
            )
            if default is not None and not return_context_logits:
                pending.compute(list(attn_metadata.request_ids)[: len(logits)], logits, default)
            return logits

    Mixed.__name__ = Mixed.__qualname__ = host.__name__
    return Mixed


def mixed_inputs(embed_tokens: Any, attn_metadata: Any, input_ids: Tensor, pending: PendingMixtures) -> Tensor | None:
    """Input embeddings [N,D] of a step, or None where no row has a mixture: then the host embeds as ever.

    Rows of a step are the tokens of all prompts (contexts), then one token for each generation request.
    """
    requests, contexts = list(attn_metadata.request_ids), attn_metadata.num_contexts
    pending.forget(requests[:contexts])
    first, generations = attn_metadata.num_ctx_tokens, requests[contexts:]
    if not any(request in pending for request in generations):
        return None
    refuse_step(attn_metadata)
    if input_ids.numel() - first != len(generations):
        raise ValueError(
            f"{input_ids.numel() - first} tokens for {len(generations)} generation rows; MoI needs one each"
        )
    x: Tensor = embed_tokens(input_ids)
    for rows, mixture in pending.complete(generations, input_ids[first:]):
        x[first + torch.tensor(rows, device=x.device)] = mix_looked_up(embed_tokens, mixture.ids, mixture.weights)
    return x
