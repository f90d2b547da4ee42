"""Attention of a decode step on a CPU: the query heads that share a key are taken as its queries.

transformers copies keys and values for each of those heads where rows are padded, and torch then multiplies a vector
with a matrix for each: most of a step with many rows. Taken together they are one product of two matrices.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

_NAME = "moi_grouped"


def group_queries(model: Any) -> None:
    """Have a loaded model of transformers compute its attention in this way, if it does by torch's own function."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    own = type(model).__module__.startswith("transformers.") and model._can_set_attn_implementation()
    if not own or model.config._attn_implementation != "sdpa":
        return
    AttentionInterface.register(_NAME, grouped_attention)
    AttentionMaskInterface.register(_NAME, sdpa_mask)
    model.set_attn_implementation(_NAME)


def grouped_attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **settings: Any
) -> tuple[Tensor, None]:
    """As transformers' own, of query [B,H,T,D], key and value [B,H/G,N,D]: [B,T,H,D]. Prompts (T > 1) go its way."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    rows, heads, length, width = query.shape
    alike = attention_mask is None or attention_mask.shape[1] == 1  # for all heads
    if length > 1 or heads == key.shape[1] or not alike or settings.get("position_bias") is not None:
        out, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **settings)
        return out, None
    grouped = query.reshape(rows, key.shape[1], -1, width)  # heads h of one key lie side by side
    out = scaled_dot_product_attention(grouped, key, value, attention_mask, scale=settings.get("scaling"))
    return out.reshape(rows, 1, heads, -1), None
