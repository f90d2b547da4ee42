"""Requests: what a user handed to an engine, checked, and the state of a row while it is decoded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from moi import MoIConfig
from moi_engines.noise import noise_stream
from moi_engines.protocol import FinishReason, Generation, Prompt, SamplingParams, TokenEvent
from moi_engines.text import TextStream
from moi_engines.unicode import check_unicode

T = TypeVar("T")
_INT64 = (1 << 63) - 1


@dataclass(frozen=True)
class Limits:
    """What a model can take: vocabulary size, positions (None: unknown) and end-of-sequence ids."""

    vocab: int
    positions: int | None
    eos: frozenset[int]


class SequenceState:
    """One request and what it has generated so far."""

    def __init__(
        self,
        index: int,
        prompt: list[int],
        sampling: SamplingParams,
        moi: MoIConfig,
        noise: Iterator[float],
        seed: int,
        eos: frozenset[int],
        tokenizer: Any,
    ) -> None:
        self.index = index
        self.prompt = prompt
        self.sampling = sampling
        self.moi = moi
        self.noise = noise
        self.seed = seed & _INT64  # of the random numbers of policies that draw
        self.finish_reason: FinishReason | None = None
        self._eos = frozenset() if sampling.ignore_eos else eos
        self._text = TextStream(tokenizer, sampling.stop)
        self._count = 0

    @property
    def position(self) -> int:
        """Where the token that comes next will be fed."""
        return len(self.prompt) + self._count

    def append_token(self, token_id: int, entropy: float, intervention: float) -> TokenEvent:
        """Take the next token; sets `finish_reason` when it is the last."""
        self._count += 1
        text, stopped = self._text.push(token_id)
        if stopped:
            self.finish_reason = "stop"
        elif token_id in self._eos:
            self.finish_reason = "eos"
        elif self._count == self.sampling.max_new_tokens:
            self.finish_reason = "length"
        if self.finish_reason in ("eos", "length"):
            text += self._last_text()
        mixed = self.moi.policy != "token"
        return TokenEvent(self.index, token_id, text, entropy, intervention, mixed, self.finish_reason)

    def end(self, reason: FinishReason) -> str:
        """The row ends after the token it took last, for a reason of its host; returns the rest of the text."""
        self.finish_reason = reason
        return self._last_text()

    def _last_text(self) -> str:
        text = self._text.flush()
        if self._text.stopped:  # a stop string that waited for tokens after it
            self.finish_reason = "stop"
        return text


def prepare(
    prompts: Sequence[Prompt],
    sampling: SamplingParams | Sequence[SamplingParams],
    moi: MoIConfig | Sequence[MoIConfig],
    noise: Sequence[Sequence[float]] | None,
    tokenizer: Any,
    limits: Limits,
) -> list[SequenceState]:
    """Rows of a call; ValueError that names the prompt or the setting for anything that cannot be decoded."""
    if isinstance(prompts, str):
        raise ValueError("prompts must be a list of prompts; got a single string")
    samplings = _per_row("sampling", sampling, SamplingParams, len(prompts))
    shared = isinstance(sampling, SamplingParams)
    seeds = [params.seed + index * shared for index, params in enumerate(samplings)]
    streams = [noise_stream(seed) for seed in seeds] if noise is None else _given_noise(noise, samplings)
    configs = _per_row("moi", moi, MoIConfig, len(prompts))
    _check_shared(configs, limits)
    rows = []
    for index, prompt in enumerate(prompts):
        ids = _prompt_ids(index, prompt, tokenizer, limits, samplings[index].max_new_tokens)
        own = samplings[index], configs[index], streams[index], seeds[index]
        rows.append(SequenceState(index, ids, *own, limits.eos, tokenizer))
    return rows


def collect(events: Iterable[TokenEvent], count: int) -> list[Generation]:
    """The generations of `count` rows from all their events."""
    rows: list[list[TokenEvent]] = [[] for _ in range(count)]
    for event in events:
        rows[event.row].append(event)
    return [_generation(row) for row in rows]


def _generation(events: list[TokenEvent]) -> Generation:
    reason = events[-1].finish_reason
    assert reason is not None, "the engine ended a row without a reason"
    return Generation(
        "".join(event.text for event in events),
        tuple(event.token_id for event in events),
        tuple(event.entropy for event in events),
        tuple(event.intervention for event in events),
        # The last token is never fed back, so neither is its mixture.
        sum(event.mixed for event in events[:-1]),
        reason,
    )


def _per_row(key: str, value: T | Sequence[T], kind: type[T], count: int) -> list[T]:
    if isinstance(value, kind):
        return [value] * count
    values = list(value) if isinstance(value, Sequence) else [value]
    for item in values:
        if not isinstance(item, kind):
            raise ValueError(f"{key} must be a {kind.__name__} or one per prompt, got {item!r}")
    if len(values) != count:
        raise ValueError(f"{key} has {len(values)} entries for {count} prompts")
    return values


def _given_noise(noise: Sequence[Sequence[float]], samplings: list[SamplingParams]) -> list[Iterator[float]]:
    if len(noise) != len(samplings):
        raise ValueError(f"noise has {len(noise)} rows for {len(samplings)} prompts")
    for index, (values, params) in enumerate(zip(noise, samplings, strict=True)):
        if len(values) < params.max_new_tokens or not all(0 <= value < 1 for value in values):
            raise ValueError(
                f"noise[{index}] must hold at least {params.max_new_tokens} numbers in [0, 1), got {len(values)}"
            )
    return [iter(values) for values in noise]


def _check_shared(configs: list[MoIConfig], limits: Limits) -> None:
    shared = {(config.top_k, config.entropy, config.prior) for config in configs}
    if len(shared) > 1:
        raise ValueError(f"moi: rows of one call must share top_k, entropy and prior, got {sorted(shared)}")
    for config in configs[:1]:
        if config.top_k > limits.vocab:
            raise ValueError(f"top_k={config.top_k} is not allowed; the model's vocabulary has {limits.vocab} ids")


def _prompt_ids(index: int, prompt: Prompt, tokenizer: Any, limits: Limits, new_tokens: int) -> list[int]:
    if isinstance(prompt, str):
        check_unicode(f"prompt {index}", prompt)
    ids = list(tokenizer(prompt, verbose=False)["input_ids"]) if isinstance(prompt, str) else list(prompt)
    if not ids:
        raise ValueError(f"prompt {index} is empty; a prompt must hold at least one token")
    for token_id in ids:
        if isinstance(token_id, bool) or not isinstance(token_id, int) or not 0 <= token_id < limits.vocab:
            raise ValueError(f"prompt {index} holds the token id {token_id!r}; allowed: 0..{limits.vocab - 1}")
    if limits.positions is not None and len(ids) + new_tokens > limits.positions:
        raise ValueError(
            f"prompt {index} has {len(ids)} tokens and max_new_tokens is {new_tokens}; "
            f"the model has {limits.positions} positions"
        )
    return ids
