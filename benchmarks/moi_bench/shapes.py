"""Shapes of models that benchmarks make with random weights: one table for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Shape:
    """A public model's shape with random weights; `billions` of parameters decide what can hold it on disk."""

    architecture: str
    billions: float
    fields: dict[str, Any]


_NARROW: dict[str, Any] = {"hidden_size": 128, "intermediate_size": 256, "initializer_range": 0.02}
# Public configurations of Qwen/QwQ-32B, google/gemma-3-27b-it (its text model), Qwen/Qwen2.5-1.5B, Qwen/Qwen3-0.6B
# and Qwen/Qwen3-8B.
SHAPES: dict[str, Shape] = {
    "qwq-32b": Shape(
        "qwen2",
        32.8,
        {
            **{"hidden_size": 5120, "intermediate_size": 27648, "num_hidden_layers": 64, "num_attention_heads": 40},
            **{"num_key_value_heads": 8, "head_dim": 128, "vocab_size": 152064, "max_position_embeddings": 40960},
            **{"rms_norm_eps": 1e-5},
        },
    ),
    "gemma-3-27b": Shape(
        "gemma3",
        27.0,
        {
            **{"hidden_size": 5376, "intermediate_size": 21504, "num_hidden_layers": 62, "num_attention_heads": 32},
            **{"num_key_value_heads": 16, "head_dim": 128, "vocab_size": 262208, "max_position_embeddings": 32768},
        },
    ),
    "qwen2.5-1.5b": Shape(
        "qwen2",
        1.5,
        {
            **{"hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28, "num_attention_heads": 12},
            **{"num_key_value_heads": 2, "head_dim": 128, "vocab_size": 151936, "max_position_embeddings": 32768},
            **{"initializer_range": 0.02, "tie_word_embeddings": True},
        },
    ),
    "qwen3-0.6b": Shape(
        "qwen3",
        0.6,
        {
            **{"hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28, "num_attention_heads": 16},
            **{"num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936, "max_position_embeddings": 4096},
            **{"initializer_range": 0.02},
        },
    ),
    "qwen3-8b": Shape(
        "qwen3",
        8.2,
        {
            **{"hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 36, "num_attention_heads": 32},
            **{"num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936, "max_position_embeddings": 4096},
            **{"initializer_range": 0.02},
        },
    ),
    # A small vocabulary, Llama 2's and Qwen's on a body that a laptop carries: here the share of MoI is at its largest.
    # Layers as small as those of trained models: wider random ones amplify rounding until tokens turn by chance.
    "narrow-8k": Shape("qwen3", 0.001, {"vocab_size": 8_000, **_NARROW}),
    "narrow-32k": Shape("qwen3", 0.005, {"vocab_size": 32_000, **_NARROW}),
    "narrow-152k": Shape("qwen3", 0.02, {"vocab_size": 151_936, **_NARROW}),
    "tiny": Shape(
        "qwen2",
        0.0001,
        {
            **{"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4},
            **{"num_key_value_heads": 2, "vocab_size": 512, "tie_word_embeddings": True},
        },
    ),
}
# Random weights of larger shapes would have to be written to disk first; SGLang makes them in place.
LARGEST_ON_DISK = 4.0
