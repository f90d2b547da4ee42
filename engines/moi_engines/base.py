"""What engines that decode rows share: requests are checked, cut into batches, and their tokens collected."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

from moi import MoIConfig
from moi_engines.protocol import Engine, Generation, Progress, Prompt, SamplingParams, TokenEvent
from moi_engines.request import Limits, SequenceState, collect, prepare


class RowEngine(ABC):
    """An `Engine` made of `decode_batch`. Subclasses set tokenizer, limits and batch_size.

    batch_size   most rows that `decode_batch` is handed
    mixing       False: rows of policy token alone are taken
    takes_noise  False: random numbers are drawn by the runtime, and `noise` raises ValueError
    """

    name: str
    tokenizer: Any
    limits: Limits
    batch_size: int
    mixing: bool = True
    takes_noise: bool = True

    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling: SamplingParams | Sequence[SamplingParams] = SamplingParams(),
        moi: MoIConfig | Sequence[MoIConfig] = MoIConfig(),
        *,
        noise: Sequence[Sequence[float]] | None = None,
        progress: Progress | None = None,
    ) -> list[Generation]:
        """See `Engine.generate`."""
        rows = self._prepare(prompts, sampling, moi, noise)
        return collect(_told(self._decode(rows), rows, progress), len(rows))

    def stream(
        self,
        prompts: Sequence[Prompt],
        sampling: SamplingParams | Sequence[SamplingParams] = SamplingParams(),
        moi: MoIConfig | Sequence[MoIConfig] = MoIConfig(),
        *,
        noise: Sequence[Sequence[float]] | None = None,
    ) -> Iterator[TokenEvent]:
        """See `Engine.stream`."""
        return self._decode(self._prepare(prompts, sampling, moi, noise))

    def plain(self) -> Engine:
        """Plain decoding on the same model; an engine that has nothing cheaper decodes rows of policy token."""
        return self

    def close(self) -> None:  # noqa: B027  (most engines hold nothing that outlives them)
        """Give back what the engine holds outside this object."""

    def check(self, row: SequenceState) -> None:
        """ValueError for a row that this engine cannot decode."""
        if not self.mixing and row.moi.policy != "token":
            raise ValueError(f"policy={row.moi.policy!r} is not allowed; this engine decodes plainly: use 'token'")

    @abstractmethod
    def decode_batch(self, rows: list[SequenceState]) -> Iterator[TokenEvent]:
        """Tokens of these rows, which were checked, until each has its finish_reason."""

    def _prepare(
        self,
        prompts: Sequence[Prompt],
        sampling: SamplingParams | Sequence[SamplingParams],
        moi: MoIConfig | Sequence[MoIConfig],
        noise: Sequence[Sequence[float]] | None,
    ) -> list[SequenceState]:
        if noise is not None and not self.takes_noise:
            raise ValueError(f"noise is not allowed; the engine {self.name} draws its own random numbers")
        rows = prepare(prompts, sampling, moi, noise, self.tokenizer, self.limits)
        for row in rows:
            self.check(row)
        return rows

    def _decode(self, rows: list[SequenceState]) -> Iterator[TokenEvent]:
        for start in range(0, len(rows), self.batch_size):
            yield from self.decode_batch(rows[start : start + self.batch_size])


def _told(events: Iterator[TokenEvent], rows: list[SequenceState], progress: Progress | None) -> Iterator[TokenEvent]:
    """The events, with `progress` told after each."""
    total = sum(row.sampling.max_new_tokens for row in rows)
    for done, event in enumerate(events, 1):
        yield event
        if progress is not None:
            progress(done, total)
