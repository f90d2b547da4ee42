"""The decoders whose export is tested, and what a step has to know about each."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# model_type of the configuration; what they share: `model` (the layers), `lm_head`, masks taken as given.
ARCHITECTURES = ("qwen2", "qwen3", "llama", "gemma3_text")
# Rotary frequencies that are numbers in the graph; "dynamic" and "longrope" depend on the positions of a call.
STATIC_ROPE = ("default", "linear", "yarn", "llama3", "proportional")


def check_architecture(config: Any) -> None:
    """ValueError for a configuration whose decode step cannot be exported."""
    if config.model_type not in ARCHITECTURES:
        raise ValueError(f"model type {config.model_type!r} cannot be exported; allowed: {', '.join(ARCHITECTURES)}")
    for key in ("attn_logit_softcapping", "use_bidirectional_attention"):
        if getattr(config, key, None):
            raise ValueError(f"{key}={getattr(config, key)!r} of the model cannot be exported; it must be unset")
    for kind in _rope_types(config):
        if kind not in STATIC_ROPE:
            raise ValueError(
                f"rope_type={kind!r} of the model cannot be exported, its frequencies may follow the length of a text; "
                f"allowed: {', '.join(STATIC_ROPE)}"
            )


def _rope_types(config: Any) -> list[str]:
    """Of the model, or of each kind of layer."""
    rope = getattr(config, "rope_parameters", None) or {}
    parts = [rope] if "rope_type" in rope else [part for part in rope.values() if isinstance(part, dict)]
    return [str(part.get("rope_type") or "default") for part in parts]


def layer_kinds(config: Any) -> list[str]:
    """ "full_attention" or "sliding_attention", layer by layer."""
    kinds = getattr(config, "layer_types", None)
    return list(kinds) if kinds else ["full_attention"] * int(config.num_hidden_layers)


def cache_shape(config: Any) -> tuple[int, int]:
    """(key/value heads, width of a head)."""
    heads = int(config.num_key_value_heads)
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return heads, int(width)


def masks_as_taken(config: Any, masks: dict[str, Tensor]) -> Any:
    """The masks by layer kind as the model's forward expects them: Llama takes one, the others a dict."""
    return masks["full_attention"] if config.model_type == "llama" else masks


def output_logits(model: Any, hidden: Tensor) -> Tensor:
    """Logits [B,V] of hidden states [B,D], which 2-D keeps the tied table a single initializer."""
    logits: Tensor = model.lm_head(hidden)
    cap = getattr(model.config, "final_logit_softcapping", None)
    return logits if cap is None else torch.tanh(logits / cap) * cap
