"""How models embed token ids: with their input embedding alone, or again inside their layers, where a mixture has no
id.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

READS_IDS_ELSEWHERE = (
    *("gemma3n", "gemma4", "gemma4_unified", "longcat_flash_ngram"),
    *("deepseek_v4", "deepseek_v41", "qwen4_exp"),
)
_PER_LAYER_FIELDS = (
    *("hidden_size_per_layer_input", "vocab_size_per_layer_input", "ple_layer_ids"),  # embeddings of each layer
    *("ngram_vocab_size_ratio", "engram_layer_ids"),  # tables of n-grams
    *("num_hash_layers", "n_hash_layers"),  # experts chosen by the id
)


def reads_ids_inside(*configs: Any) -> str | None:
    """Why a model with these configurations of Hugging Face, of the whole model and of its text, cannot be fed
    mixtures, or None. Objects or mappings.
    """
    name = str(_get(configs[0], "model_type"))
    fields = sorted({field for config in configs for field in _PER_LAYER_FIELDS if _get(config, field)})
    if name.removesuffix("_text") in READS_IDS_ELSEWHERE or fields:
        detail = f" ({', '.join(fields)})" if fields else ""
        return f"model type {name!r} reads token ids inside its layers{detail}; a mixture has no token id"
    return None


def looks_up(module: Any, scale: Any = None) -> bool:
    """Whether a module embeds ids [n] as rows of its `weight` [V,D] times `scale`, if any, checked on a few ids."""
    ids = torch.arange(min(4, len(module.weight)), device=module.weight.device)
    rows = module.weight[ids]
    return torch.equal(module(ids), rows if scale is None else rows * scale)


def _get(config: Any, field: str) -> Any:
    return config.get(field) if isinstance(config, Mapping) else getattr(config, field, None)
