"""What the host remembers of a request: the mixture of each token it generated, to replay it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from moi.rows import encode, policy_layout
from moi_serving.mixing_marks import Marks
from moi_serving.row_layout import Rows, is_due, row_width
from moi_serving.settings import KEY, RequestSettings
from moi_serving.slots.tables import SlotSettings


class RequestState:
    """A request that mixes, or wants its entropies. Lives on the host's object for the request.

    seed  of its random numbers, where its settings name none; the same in every process that decodes the request;
          `drawn_seed` is None where its policy draws none
    """

    def __init__(self, settings: RequestSettings, marks: Marks, seed: int = 0) -> None:
        self.settings = settings
        self.marks = marks
        self.seed = seed if settings.seed is None else settings.seed
        self.drawn_seed = self.seed if settings.policy.draws else None
        self.replayed = 0
        (self._policy,), (self._parameters,) = encode([settings.moi], policy_layout())
        self._begins_open: bool | None = None
        self._rows, self._row_bytes = bytearray(), 4 * row_width(settings.moi.top_k)  # arrays would take twice as much

    def settings_after(self, prompt: Sequence[int], output: Sequence[int]) -> SlotSettings:
        """Of its slot, after the tokens of the prompt, which never changes, and those that were generated."""
        if self._begins_open is None:
            self._begins_open = self.marks.open_after(prompt, True)
        policy = self._policy if self.marks.open_after(output, self._begins_open) else 0
        return SlotSettings(policy, self.marks.end, self.marks.start, self._policy, self.seed, self._parameters)

    def append(self, rows: Rows, index: int) -> None:
        """Row `index` of a sampled batch [B,W]."""
        self._rows += rows[index].tobytes()

    def truncate(self, length: int) -> None:
        """Forget the rows after the first `length`: of tokens that the host dropped."""
        del self._rows[length * self._row_bytes :]

    def __len__(self) -> int:
        return len(self._rows) // self._row_bytes

    def rows(self, start: int, end: int) -> Rows:
        """Rows [n,W] of the generated tokens start..end-1."""
        size = self._row_bytes
        return np.frombuffer(self._rows[start * size : end * size], np.int32).reshape(-1, size // 4)


def again(state: RequestState, start: int, length: int) -> tuple[Any, Rows]:
    """What a prefill of `length` tokens, the first of which is generated token `start` (negative: of the prompt), is
    to be fed as mixtures: places int64 in [0,length), and their rows. They count as replayed.
    """
    first = max(start, 0)
    rows = state.rows(first, max(start + length, first))
    due = np.flatnonzero(is_due(rows))
    state.replayed += len(due)
    return due + (first - start), rows[due]


def seed_of(given: int | None, identity: str) -> int:
    """A request's seed that its settings do not name: that of the host's sampling, else one of the request's id, which
    every rank knows; never negative."""
    if given is not None:
        return int(given) & (2**63 - 1)
    return int.from_bytes(hashlib.blake2b(identity.encode(), digest_size=6).digest(), "little")


def state_of(req: Any) -> RequestState | None:
    """Of the host's object for a request; None of one that neither mixes nor reports."""
    state: RequestState | None = getattr(req, KEY, None)
    return state


def mixing(req: Any) -> RequestState | None:
    """The state of a request whose inputs, and hence KV, are not those of its token ids."""
    state = state_of(req)
    return state if state is not None and state.settings.mixes else None
