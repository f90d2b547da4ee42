"""What every engine offers: prompts in, tokens with their entropy and intervention out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from moi import MoIConfig
from moi.config import check_temperature
from moi_engines.unicode import check_unicode

FinishReason = Literal["eos", "stop", "length"]
Prompt = str | Sequence[int]
Progress = Callable[[int, int], None]  # (tokens generated so far, most tokens there can be)
_LEAST_TOP_P = 1e-30  # smaller ones would be 0 in float32, which keeps nothing; all of them keep the best alone


def _check_number(key: str, value: Any, holds: Callable[[Any], bool], allowed: str) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not holds(value):  # NaN holds nowhere
        raise ValueError(f"{key}={value!r} is not allowed; {key} must be {allowed}")


def _check_integer(key: str, value: Any, least: int, most: int | None = None) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least or (most is not None and value > most):
        allowed = f">= {least}" if most is None else f"in {least}..{most}"
        raise ValueError(f"{key}={value!r} is not allowed; {key} must be an integer {allowed}")


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How tokens are chosen from the logits.

    temperature     >= 0; 0 is greedy, and so is all below 1e-6
    top_p, min_p    nucleus and minimum-probability filters, in (0,1] and [0,1]
    top_k           candidates kept, 0 keeps all (not the K of the mixture, which is MoIConfig.top_k)
    max_new_tokens  >= 1
    stop            strings that end a text; they are not part of it
    seed            of the noise stream; row i of a call that shares one SamplingParams uses seed + i
    ignore_eos      go on to max_new_tokens whatever is sampled

    Filters apply in the order temperature, top_k, top_p, min_p. Raises ValueError that names the
    setting, its value and what is allowed.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    max_new_tokens: int = 256
    stop: tuple[str, ...] = ()
    seed: int = 0
    ignore_eos: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "temperature", check_temperature(self.temperature))
        _check_number("top_p", self.top_p, lambda p: 0 < p <= 1, "a number in (0, 1]")
        object.__setattr__(self, "top_p", max(self.top_p, _LEAST_TOP_P))
        _check_number("min_p", self.min_p, lambda p: 0 <= p <= 1, "a number in [0, 1]")
        _check_integer("top_k", self.top_k, 0, most=2**31 - 1)
        _check_integer("max_new_tokens", self.max_new_tokens, 1)
        _check_integer("seed", self.seed, 0)
        if isinstance(self.stop, str) or not all(isinstance(text, str) and text for text in self.stop):
            raise ValueError(f"stop={self.stop!r} is not allowed; stop must be a tuple of non-empty strings")
        for text in self.stop:
            check_unicode("a stop string", text)


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """One generated token of one row.

    text          what it adds to the row's text; may be empty (part of a character or of a stop string)
    entropy       normalised entropy H of the distribution it was sampled from, 0..1
    intervention  share of the next input that is not this token, 0..1; 0 for plain decoding
    mixed         whether the row feeds mixtures back (its policy is not "token")
    """

    row: int
    token_id: int
    text: str
    entropy: float
    intervention: float
    mixed: bool
    finish_reason: FinishReason | None = None


@dataclass(frozen=True, slots=True)
class Generation:
    """One finished row; token_ids include the end-of-sequence token, text leaves special tokens out."""

    text: str
    token_ids: tuple[int, ...]
    entropies: tuple[float, ...]
    interventions: tuple[float, ...]
    mixed_tokens: int
    finish_reason: FinishReason

    @property
    def mean_entropy(self) -> float:
        """Over its tokens, 0..1; 0 of none."""
        return _mean(self.entropies)

    @property
    def mean_intervention(self) -> float:
        """Over its tokens, 0..1; 0 of none."""
        return _mean(self.interventions)

    def to_dict(self) -> dict[str, Any]:
        """The JSON shape of one output of `moi generate --json`."""
        return {
            "text": self.text,
            "token_ids": list(self.token_ids),
            "finish_reason": self.finish_reason,
            "mean_entropy": self.mean_entropy,
            "mean_intervention": self.mean_intervention,
            "mixed_tokens": self.mixed_tokens,
        }


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else 0.0


class Engine(Protocol):
    """A runtime that decodes with MoI.

    prompts are texts or lists of token ids. sampling and moi are one setting for all rows or one per row;
    rows of a call share K, entropy and prior. noise[row][step] in [0,1) replaces the seeds, so that
    engines can be compared token by token. Both methods raise ValueError for bad input before any work.
    tokenizer is the model's, of transformers.
    """

    name: str
    tokenizer: Any

    def stream(
        self,
        prompts: Sequence[Prompt],
        sampling: SamplingParams | Sequence[SamplingParams] = SamplingParams(),
        moi: MoIConfig | Sequence[MoIConfig] = MoIConfig(),
        *,
        noise: Sequence[Sequence[float]] | None = None,
    ) -> Iterator[TokenEvent]:
        """Tokens as they are generated, rows interleaved."""
        ...

    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling: SamplingParams | Sequence[SamplingParams] = SamplingParams(),
        moi: MoIConfig | Sequence[MoIConfig] = MoIConfig(),
        *,
        noise: Sequence[Sequence[float]] | None = None,
        progress: Progress | None = None,
    ) -> list[Generation]:
        """Whole texts, in the order of the prompts."""
        ...

    def plain(self) -> Engine:
        """Plain decoding on the same model, as cheap as this runtime can do it: of policy token alone, and what it
        tells of entropy may be 0. What MoI is measured against; it shares what this engine holds, which stays usable.
        """
        ...

    def close(self) -> None:
        """Give back what the engine holds outside this object; it is not used afterwards."""
        ...
