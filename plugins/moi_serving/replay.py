"""What the host remembers of a request: the mixture of each token it generated, to replay it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from moi.rows import encode, policy_layout
from moi_serving.mixing_marks import Marks
from moi_serving.row_layout import Rows, is_due
from moi_serving.settings import KEY, RequestSettings
from moi_serving.slots.tables import SlotSettings

_PENDING = 64  # tokens; the array starts with room for as many, and doubles


class RequestState:
    """A request that mixes, or wants its entropies. Lives on the host's object for the request.

    seed  of its random numbers, where its settings name none; the same in every process that decodes the request;
          `drawn_seed` is None where its policy draws none
    """

    __slots__ = (
        *("_begins_open", "_length", "_parameters", "_pending", "_policy", "_rows"),
        *("drawn_seed", "marks", "mixes", "replayed", "seed", "settings"),
    )

    def __init__(self, settings: RequestSettings, marks: Marks, seed: int = 0) -> None:
        self.settings = settings
        self.mixes = settings.mixes
        self.marks = marks
        self.seed = seed if settings.seed is None else settings.seed
        self.drawn_seed = self.seed if settings.draws else None
        self.replayed = 0
        codes, values = encode([settings.moi], policy_layout())
        self._policy, self._parameters = codes[0], tuple(np.array(values[0], np.float32).view(np.int32).tolist())
        self._begins_open: bool | None = None
        self._pending: list[tuple[Rows, int]] = []
        self._rows: Rows | None = None
        self._length = 0

    def settings_after(self, prompt: Sequence[int], output: Sequence[int]) -> SlotSettings:
        """Of its slot, after the tokens of the prompt, which never changes, and those that were generated."""
        if self._begins_open is None:
            self._begins_open = self.marks.open_after(prompt, True)
        policy = self._policy if self.marks.open_after(output, self._begins_open) else 0
        return SlotSettings(policy, self.marks.end, self.marks.start, self._policy, self.seed, self._parameters)

    def append(self, rows: Rows, index: int) -> None:
        """Row `index` of a sampled batch [B,W], which is kept until the next copy: cheaper than a copy each step."""
        self._pending.append((rows, index))
        if len(self._pending) == _PENDING:
            self._copy()

    def truncate(self, length: int) -> None:
        """Forget the rows after the first `length`: of tokens that the host dropped."""
        if length < self._length + len(self._pending):
            self._copy()
            self._length = length

    def __len__(self) -> int:
        return self._length + len(self._pending)

    def rows(self, start: int, end: int) -> Rows:
        """Rows [n,W] of the generated tokens start..end-1."""
        self._copy()
        return np.empty((0, 0), np.int32) if self._rows is None else self._rows[start : min(end, self._length)]

    def _copy(self) -> None:
        if not self._pending:
            return
        length = self._length + len(self._pending)
        if self._rows is None:
            self._rows = np.empty((_PENDING, self._pending[0][0].shape[1]), np.int32)
        if length > len(self._rows):
            self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])
        self._rows[self._length : length] = [rows[index] for rows, index in self._pending]
        self._length = length
        self._pending.clear()


def again(state: RequestState, start: int, length: int) -> tuple[Any, Rows]:
    """What a prefill of `length` tokens, the first of which is generated token `start` (negative: of the prompt), is
    to be fed as mixtures: places int64 in [0,length), and their rows. They count as replayed.
    """
    first = max(start, 0)
    rows = state.rows(first, max(start + length, first)) if state.mixes else ()
    if not len(rows):
        return np.empty(0, np.int64), np.empty((0, 0), np.int32)
    due = np.flatnonzero(is_due(rows))
    state.replayed += len(due)
    return due + (first - start), rows[due]


def seed_of(given: int | None, identity: str) -> int:
    """A request's seed that its settings do not name: that of the host's sampling, else one of the request's id, which
    every rank knows; never negative."""
    if given is not None:
        return int(given) & (2**63 - 1)
    return int.from_bytes(hashlib.blake2b(identity.encode(), digest_size=6).digest(), "little")


def keep_state(req: Any, state: RequestState | None) -> None:
    """On the host's own object for the request, from where it goes with the request."""
    setattr(req, KEY, state)


def state_of(req: Any) -> RequestState | None:
    """Of the host's object for a request; None of one that neither mixes nor reports."""
    state: RequestState | None = getattr(req, KEY, None)
    return state


def mixing(req: Any) -> RequestState | None:
    """The state of a request whose inputs, and hence KV, are not those of its token ids."""
    state = state_of(req)
    return state if state is not None and state.mixes else None
