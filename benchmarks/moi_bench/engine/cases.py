"""What the engine benchmark runs: models by shape, batch sizes and context lengths."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EMBEDDED = "embedded"


@dataclass(frozen=True)
class Shape:
    """A public model's shape with random weights; `billions` of parameters decide what can hold it on disk."""

    architecture: str
    billions: float
    fields: dict[str, Any]


_NARROW: dict[str, Any] = {"hidden_size": 128, "intermediate_size": 256, "initializer_range": 0.02}
# Public configurations of Qwen/QwQ-32B, google/gemma-3-27b-it (its text model) and Qwen/Qwen2.5-1.5B.
SHAPES: dict[str, Shape] = {
    "qwq-32b": Shape(
        "qwen2",
        32.8,
        {
            **{"hidden_size": 5120, "intermediate_size": 27648, "num_hidden_layers": 64, "num_attention_heads": 40},
            **{"num_key_value_heads": 8, "head_dim": 128, "vocab_size": 152064, "max_position_embeddings": 40960},
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
    # A small vocabulary, Llama 2's and Qwen's on a body that a laptop carries: here the share of MoI is at its largest.
    # Layers as small as those of trained models: wider random ones amplify rounding until tokens turn by chance.
    "narrow-8k": Shape("qwen3", 0.001, {"vocab_size": 8_000, **_NARROW}),
    "narrow-32k": Shape("qwen3", 0.005, {"vocab_size": 32_000, **_NARROW}),
    "narrow-152k": Shape("qwen3", 0.02, {"vocab_size": 151_936, **_NARROW}),
}
MODELS = (EMBEDDED, *SHAPES)
# Random weights of larger shapes would have to be written to disk first; SGLang makes them in place.
LARGEST_ON_DISK = 4.0


@dataclass(frozen=True)
class EngineCase:
    """`batch` prompts of `context` random tokens, `new_tokens` generated for each.

    model  a name of `MODELS`, or a real model: a Hugging Face folder
    """

    model: str
    batch: int
    context: int
    new_tokens: int

    @property
    def name(self) -> str:
        return f"{self.label} B={self.batch} context={self.context}"

    @property
    def real(self) -> bool:
        return self.model not in MODELS

    @property
    def label(self) -> str:
        """The model's name, without where it lies."""
        return model_folder(self.model).resolve().name if self.real else self.model


_VOCABULARIES = ("narrow-8k", "narrow-32k", "narrow-152k")
# Each suite varies batch, context and vocabulary with all else the same: the report draws the added time against each.
# On a laptop each model costs every engine a start or an export, so there are two vocabularies.
LAPTOP = (
    *(EngineCase(EMBEDDED, batch, 16, 32) for batch in (1, 8, 32)),
    *(EngineCase(EMBEDDED, 8, context, 32) for context in (128, 448)),
    *(EngineCase(model, 8, 16, 16) for model in _VOCABULARIES[1:]),
)
# Beside the weights of the larger two, 80 GB do not hold 8 x 8192 tokens of keys and values.
H100 = (
    *(
        EngineCase(model, batch, context, 64)
        for model in ("qwen2.5-1.5b", "qwq-32b", "gemma-3-27b")
        for batch, context in ((1, 128), (8, 128), (32, 128), (128, 128), (8, 2048))
    ),
    EngineCase("qwen2.5-1.5b", 8, 8192, 64),
    *(EngineCase(model, 8, 128, 64) for model in _VOCABULARIES),
)
SUITES = {"laptop": LAPTOP, "h100": H100}


def model_folder(name: str) -> Path:
    """The folder of a real model; ValueError if there is none."""
    folder = Path(name)
    if not (folder / "config.json").is_file():
        raise ValueError(f"model={name!r} is unknown; allowed: {', '.join(MODELS)}, or a Hugging Face model folder")
    return folder


def make_model(name: str, folder: Path) -> Path:
    """A model folder for a case; random weights go to `folder`."""
    from moi_engines import embedded_model
    from moi_engines.testing import save_tiny_model

    if name == EMBEDDED:
        return embedded_model()
    if name not in SHAPES:
        return model_folder(name)
    shape = SHAPES[name]
    return save_tiny_model(folder, shape.architecture, **shape.fields)


def vocabulary(name: str) -> int:
    """Ids in the vocabulary of a model."""
    from moi_engines import embedded_model

    if name in SHAPES:
        return int(SHAPES[name].fields["vocab_size"])
    return vocabulary_of(embedded_model() if name == EMBEDDED else model_folder(name))


def vocabulary_of(folder: Path) -> int:
    """Ids in the vocabulary of the model in a folder."""
    config = json.loads((folder / "config.json").read_text())
    return int(config.get("text_config", config)["vocab_size"])
