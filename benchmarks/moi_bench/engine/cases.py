"""What the engine benchmark runs: models by shape, batch sizes and context lengths."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moi_bench.shapes import SHAPES
from moi_engines.model_source import model_name

EMBEDDED = "embedded"


MODELS = (EMBEDDED, *SHAPES)


@dataclass(frozen=True)
class EngineCase:
    """`batch` prompts of `context` random tokens, `new_tokens` generated for each.

    model  a name of `MODELS`, or a real model: its Hugging Face folder
    """

    model: str
    batch: int
    context: int
    new_tokens: int

    @property
    def name(self) -> str:
        """Model and shape in words, the key of its rows."""
        return f"{self.label} B={self.batch} context={self.context}"

    @property
    def real(self) -> bool:
        """Whether the model is one that people use, and not made here."""
        return self.model not in MODELS

    @property
    def label(self) -> str:
        """The model's name, without where it lies."""
        return model_name(Path(self.model)) if self.real else self.model


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


def make_model(name: str, folder: Path, **fields: Any) -> Path:
    """A model folder for a case; random weights go to `folder`, of a shape with other `fields` if any are given."""
    from moi_engines import embedded_model
    from moi_engines.testing import save_tiny_model

    if name == EMBEDDED:
        return embedded_model()
    if name not in SHAPES:
        return Path(name)
    shape = SHAPES[name]
    return save_tiny_model(folder, shape.architecture, **{**shape.fields, **fields})


def vocabulary(name: str) -> int:
    """Ids in the vocabulary of a model."""
    from moi_engines import embedded_model

    if name in SHAPES:
        return int(SHAPES[name].fields["vocab_size"])
    return vocabulary_of(embedded_model() if name == EMBEDDED else Path(name))


def vocabulary_of(folder: Path) -> int:
    """Ids in the vocabulary of the model in a folder."""
    config = json.loads((folder / "config.json").read_text())
    return int(config.get("text_config", config)["vocab_size"])
