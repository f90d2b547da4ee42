"""The recipe of the shipped model: its architecture, what it reads and how it is optimised."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from moi_eval.countdown.problems import COUNTDOWN_3, Game
from moi_eval.countdown.tokenizer import CONTEXT, EOS, PAD, vocabulary
from moi_eval.countdown.traces import Search

if TYPE_CHECKING:
    from transformers import Qwen3ForCausalLM


@dataclass(frozen=True, slots=True)
class Architecture:
    """A Qwen3 decoder with tied embeddings; widths in elements."""

    layers: int = 3
    hidden: int = 128
    feed_forward: int = 384
    heads: int = 2
    key_value_heads: int = 1
    # the attention kernels of several runtimes start at 64
    head_size: int = 64


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything training depends on, so that a seed gives the same weights on the same machine.

    steps           optimiser steps; nothing depends on the time they take
    batch_tokens    the most tokens in one step, padding included
    learning_rate   peak; linear warm-up, flat, then linear decay from `decay_from` (share of the steps) to 2 %
    """

    seed: int = 0
    steps: int = 6500
    batch_tokens: int = 2048
    learning_rate: float = 3e-3
    warmup_steps: int = 200
    decay_from: float = 0.6
    weight_decay: float = 0.01
    game: Game = COUNTDOWN_3
    search: Search = field(default_factory=Search)
    architecture: Architecture = field(default_factory=Architecture)

    def __post_init__(self) -> None:
        for name in ("steps", "batch_tokens", "warmup_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} is not allowed; it must be at least 1")

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        warm = min(1.0, (step + 1) / self.warmup_steps)
        left = (1 - step / self.steps) / (1 - self.decay_from)
        return self.learning_rate * warm * max(0.02, min(1.0, left))


def build_model(architecture: Architecture) -> Qwen3ForCausalLM:
    """An untrained float32 model; its weights come from torch's global generator."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    words = vocabulary()
    config = Qwen3Config(
        vocab_size=len(words),
        hidden_size=architecture.hidden,
        intermediate_size=architecture.feed_forward,
        num_hidden_layers=architecture.layers,
        num_attention_heads=architecture.heads,
        num_key_value_heads=architecture.key_value_heads,
        head_dim=architecture.head_size,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        pad_token_id=words.index(PAD),
        eos_token_id=words.index(EOS),
        bos_token_id=None,
    )
    return Qwen3ForCausalLM(config)
