"""What engines share whose host runs in this process, forms its own batches and draws its own random numbers."""

from __future__ import annotations

import atexit
import copy
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from moi_engines.base import RowEngine
from moi_engines.checkpoint import load_config, load_tokenizer
from moi_engines.end_tokens import end_ids
from moi_engines.protocol import FinishReason, TokenEvent
from moi_engines.request import Limits, SequenceState
from moi_engines.weights import check_weights


class Host(ABC):
    """A host in this process, started with the first call; engines that mix and do not mix share it.

    name  as people write it
    """

    name: str

    def __init__(self, folder: Path, options: dict[str, Any]) -> None:
        self._folder, self._options = folder, options
        self._engine: Any = None
        self._shared: tuple[int, str, str] | None = None

    def fix(self, shared: tuple[int, str, str]) -> None:
        """K, entropy and prior of a request; ValueError if others were fixed before."""
        if self._shared not in (None, shared):
            raise ValueError(
                f"top_k, entropy and prior of this engine are {self._shared}, got {shared}; "
                f"they are fixed when {self.name} starts, make another engine"
            )
        self._shared = shared

    def start(self) -> Any:
        """The host's own engine."""
        if self._engine is None:
            assert self._shared is not None
            self._engine = self._launch(dict(zip(("top_k", "entropy", "prior"), self._shared, strict=True)))
            atexit.register(self.close)
        return self._engine

    def close(self) -> None:
        """Stop the host's processes; the next call would start them again."""
        if self._engine is not None:
            atexit.unregister(self.close)
            self._shut_down(self._engine)
            self._engine = None

    @abstractmethod
    def _launch(self, shared: dict[str, Any]) -> Any:
        """The host's engine, with these settings of all requests."""

    @abstractmethod
    def _shut_down(self, engine: Any) -> None:
        """End its processes."""


class HostedEngine(RowEngine):
    """Decodes with a host. Subclasses set name and _host, and call `_load` when they are made."""

    batch_size = sys.maxsize
    takes_noise = False
    _host: Host

    def _load(
        self, model: str | Path, revision: str | None, trust_remote_code: bool, options: dict[str, Any], length: str
    ) -> Path:
        """Tokenizer and limits of a model, and its folder; `length` is the host's option for the most positions."""
        folder, config = load_config(model, revision, trust_remote_code)
        if options.get("load_format") != "dummy":
            check_weights(folder)
        self.tokenizer = load_tokenizer(folder, trust_remote_code)
        text = config.get_text_config()
        positions = options.get(length) or getattr(text, "max_position_embeddings", None)
        self.limits = Limits(text.vocab_size, positions, end_ids(folder, config, self.tokenizer))
        return folder

    def plain(self) -> HostedEngine:
        """Plain requests to the same host, which report nothing."""
        other = copy.copy(self)
        other.mixing = False
        return other

    def close(self) -> None:
        """Stop the host's processes."""
        self._host.close()

    def check(self, row: SequenceState) -> None:
        """See `RowEngine`; K, entropy and prior must be those of the calls before."""
        super().check(row)
        self._host.fix((row.moi.top_k, row.moi.entropy, row.moi.prior))


def events(
    row: SequenceState,
    ids: Sequence[int],
    start: int,
    reason: FinishReason | None,
    entropy: Sequence[float],
    intervention: Sequence[float],
) -> Iterator[TokenEvent]:
    """What the tokens from `start` on add to a row, which ends with the last of them where the host gives a reason."""
    for index in range(start, len(ids)):
        if row.finish_reason is not None:
            return
        event = row.append_token(ids[index], entropy[index], intervention[index])
        if reason is not None and index == len(ids) - 1 and row.finish_reason is None:
            text = event.text + row.end(reason)
            event = replace(event, text=text, finish_reason=row.finish_reason)
        yield event
